"""Recordings of a corpus whose content says what happens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus_works import StandIn
from voxport.runtime.corpus.engines import Engine
from voxport.runtime.corpus.report import CorpusReport
from voxport.runtime.corpus.run import run_corpus
from voxport.runtime.corpus.workers import Lost

CONFIGURATION = {"made by": "a stand-in"}


def corpus(folder: Path, contents: Mapping[str, str]) -> Path:
    """A folder with NAME.wav for each content."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.wav").write_text(content)
    return folder


class Heard:
    """A watcher that keeps what it was told."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.traces: list[str] = []
        self.deaths: list[Lost] = []
        self.reports: list[CorpusReport] = []

    def ended(self, tally: Any, total: int) -> None:
        assert tally.num_ended <= total

    def failed(self, problem: str, trace: str) -> None:
        self.problems.append(problem)
        self.traces += [trace] if trace else []

    def lost(self, lost: Lost) -> None:
        self.deaths.append(lost)

    def concluded(self, report: CorpusReport) -> None:
        self.reports.append(report)


def run(
    where: Path | str | list[str],
    output: Path,
    *,
    jobs: int = 1,
    files_at_once: int = 1,
    work: StandIn | None = None,
    configuration: Mapping[str, Any] | None = None,
    redo: bool = False,
    watcher: Heard | None = None,
) -> CorpusReport:
    """Run the stand-in over a corpus."""
    return run_corpus(
        where if isinstance(where, list) else [str(where)],
        output,
        (work or StandIn()).opened,
        CONFIGURATION if configuration is None else configuration,
        engine=Engine(jobs=jobs, files_at_once=files_at_once),
        redo=redo,
        watcher=watcher or Heard(),
    )


def results(folder: Path) -> dict[str, bytes]:
    """What a run gives, by name: not how it went."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "report.json" and path.parent == folder
    }


def counts(report: CorpusReport) -> tuple[int, int, int, int]:
    """Done, skipped, failed, not done."""
    return report.num_done, report.num_skipped, report.num_failed, report.num_not_done
