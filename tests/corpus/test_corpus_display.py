"""What is told and counted of workers that are lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from corpus_files import Heard, corpus, run
from voxport.runtime.corpus.dispatch import OnLost
from voxport.runtime.corpus.display import Display
from voxport.runtime.corpus.engines import Crew, Engine
from voxport.runtime.corpus.workers import Lost
from voxport.runtime.recordings.outcome import Opened, attempt
from voxport.runtime.recordings.progress_bar import ProgressBar

_LOST = [Lost(1, "no server"), Lost(1, "no server"), Lost(1, "no server", is_given_up=True)]


def test_a_worker_that_is_given_up_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(quiet=True)
    for each in _LOST[1:]:
        display.lost(each)
    assert capsys.readouterr().err == (
        "voxport: worker 1: no server\nvoxport: worker 1: no server; it is given up\n"
    )


def test_workers_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def started(_: Engine, opened: Opened, on_lost: OnLost) -> Iterator[Crew]:
        for each in _LOST:
            on_lost(each)
        with opened() as work:
            yield Crew(5, lambda given: (attempt(work, each, ProgressBar(None)) for each in given))

    monkeypatch.setattr(Engine, "started", started)
    here, heard = corpus(tmp_path / "in", {"a": "one"}), Heard()
    report = run(here, tmp_path / "out", watcher=heard)
    assert heard.deaths == _LOST
    assert (report.restarts, report.given_up) == ({"no server": 2}, {"no server": 1})
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["engine"]["workers"] == 5
    assert written["given_up"] == {"no server": 1}
    # Nothing is started for what is done.
    assert run(here, tmp_path / "out").engine["workers"] == 0
