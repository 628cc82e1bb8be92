"""A corpus from end to end: what is there, what is to be done, and what came of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from ..errors import CorpusError, VoxportError
from ..in_order import map_in_order
from ..recordings.files import Found, Recording, check_names
from ..recordings.outcome import Answer, Opened, Outcome, failure
from ..recordings.writing import NoSpaceError, make_folder
from . import report, table
from .arrow import import_pyarrow
from .engines import Engine
from .facts import UNCHANGED, score_facts, stamp, with_facts
from .inputs import find_corpus
from .records import Record, Records, Standing, configuration_sha256
from .report import CorpusReport, Failure, Tally
from .urls import is_url
from .workers import Lost

# Recordings that are looked at at the same time, ahead of the workers: mostly to wait for a disk or
# a server.
_LOOKING = 8
# A recording to do, or one that is done, with its record and score.
_LookedAt = tuple[Recording, tuple[Record, dict[str, Any]] | None]

COMPLETE, INTERRUPTED, STOPPED = "complete", "interrupted", "stopped"


class Watcher(Protocol):
    """Who is told how a run goes, while it goes."""

    def ended(self, tally: Tally, total: int) -> None:
        """Another recording has been dealt with."""

    def failed(self, problem: str, trace: str) -> None:
        """Something failed; ``trace`` is of a defect only."""

    def lost(self, lost: Lost) -> None:
        """A worker died, or broke; it is started again unless it is given up."""

    def concluded(self, report: CorpusReport) -> None:
        """The end, whatever came before it."""


def run_corpus(  # noqa: PLR0913 -- what, with what, how, and where to
    inputs: Iterable[str],
    output: Path,
    opened: Opened,
    configuration: Mapping[str, Any],
    *,
    engine: Engine | None = None,
    redo: bool = False,
    watcher: Watcher | None = None,
) -> CorpusReport:
    """Do a work on every recording of a corpus; results, ``turns.parquet`` and ``report.json``.

    What is wrong with a recording is in the report, and the others are done. Recordings whose
    results are there, of the same content and configuration, are skipped. Where results cannot
    be written any more the run stops; what is finished stays.

    Args:
        inputs: files, folders, globs, manifests and URLs; see ``find_corpus``.
        output: folder for the results.
        opened: makes the work; picklable unless the engine is this process alone. Its answers'
            records have ``duration_s``, ``seconds``, ``turns`` and ``artifacts``.
        configuration: all that results depend on, besides their content; JSON can hold it.
        engine: who does it where; None: this process.
        redo: skip nothing.
        watcher: is told how it goes.

    Raises:
        OptionsError: two recordings with one id, or standard input.
        CorpusError: a manifest or place that cannot be used.
        MissingDependencyError: pyarrow, fsspec or the engine is not installed.
        VoxportError: no folder, or what ``opened()`` raises: no networks, no such device.
        WorkersError: no worker lives, or the engine is gone.
        KeyboardInterrupt: as it came; after that, as after a WorkersError, a report is there.
    """
    import_pyarrow()
    found = find_corpus(inputs)
    check_names(found.recordings)
    make_folder(output)
    chosen = dict(configuration)
    records = Records(output, configuration_sha256(chosen))
    run = _CorpusRun(found, chosen, records, engine or Engine(), redo, watcher)
    return run.run(opened)


@dataclass
class _CorpusRun:
    found: Found
    configuration: dict[str, Any]
    records: Records
    engine: Engine
    redo: bool
    watcher: Watcher | None
    tally: Tally = field(default_factory=Tally)
    finished: list[Recording] = field(default_factory=list)
    num_workers: int = 0

    def run(self, opened: Opened) -> CorpusReport:
        self._tell()
        for problem in self.found.problems:
            source, _, reason = problem.partition(": ")
            self._fail(Failure(source, reason), problem)
        status = STOPPED
        try:
            status = self._all(opened)
        except KeyboardInterrupt:
            status = INTERRUPTED
            raise
        finally:
            made = self._conclude(status)
            if self.watcher is not None:
                self.watcher.concluded(made)
        return made

    def _all(self, opened: Opened) -> str:
        with closing(self._to_do()) as to_do:
            first = next(to_do, None)
            if first is None:
                # Nothing is loaded for what is done.
                return COMPLETE
            with self.engine.started(partial(with_facts, opened), self._lost) as crew:
                self.num_workers = crew.num_workers
                for outcome in crew.outcomes(chain((first,), to_do)):
                    if not self._settle(outcome):
                        return STOPPED
        return COMPLETE

    def _to_do(self) -> Generator[Recording]:
        """One by one what is not done yet; asked for when somebody has room for it."""
        with closing(map_in_order(self._look_at, self.found.recordings, _LOOKING)) as looked_at:
            for recording, done in looked_at:
                if done is None:
                    yield recording
                else:
                    self._end(recording, *done, is_skipped=True)

    def _look_at(self, recording: Recording) -> _LookedAt:
        """On any thread: nothing of the run is changed."""
        now = _stamp(recording)
        record = None if self.redo else self.records.read(recording)
        standing = self.records.standing(record, recording, now)
        if record is not None and standing is Standing.DONE:
            return recording, (record, _scored(recording, record))
        known = record.content_sha256 if record and standing is Standing.TO_COMPARE else None
        seen = None if recording.url is None else now
        return replace(_anywhere(recording), known_sha256=known, stamp=seen), None

    def _settle(self, outcome: Outcome) -> bool:
        """Write what there is to write; False if nothing can be written any more."""
        if outcome.answer is not None:
            try:
                self._write(outcome.recording, outcome.answer)
            except NoSpaceError as error:
                self._fail_outcome(failure(outcome.recording, error))
                return False
            except Exception as error:
                outcome = failure(outcome.recording, error)
        if outcome.answer is None:
            self._fail_outcome(outcome)
        return True

    def _write(self, recording: Recording, answer: Answer) -> None:
        if answer.record.get(UNCHANGED):
            record = self.records.read(recording)
            if record is None:
                raise CorpusError("its record was removed meanwhile: run it again")
            record = self.records.renew(recording, record, answer.record)
            self._end(recording, record, _scored(recording, record), is_skipped=True)
            return
        named = answer.named(recording)
        if report.NAME in {name.casefold() for name in named}:
            raise CorpusError(f"{report.NAME} is the run's own: give the recording another id")
        record = self.records.write(recording, answer.record, named)
        self._end(recording, record, dict(answer.record), is_skipped=False)

    def _end(
        self, recording: Recording, record: Record, facts: dict[str, Any], *, is_skipped: bool
    ) -> None:
        self.finished.append(recording)
        self.tally.add(record, facts, is_skipped=is_skipped)
        self._tell()

    def _fail_outcome(self, outcome: Outcome) -> None:
        label, problem = outcome.recording.label, outcome.problem
        self.tally.num_failed += 1
        reason = problem.removeprefix(f"{label}: ")
        self._fail(Failure(label, reason, outcome.recording.file_id), problem, outcome.trace)

    def _fail(self, failed: Failure, problem: str, trace: str = "") -> None:
        self.tally.failures.append(failed)
        if self.watcher is not None:
            self.watcher.failed(problem, trace)
        self._tell()

    def _tell(self) -> None:
        if self.watcher is not None:
            self.watcher.ended(self.tally, len(self.found.recordings))

    def _lost(self, lost: Lost) -> None:
        counts = self.tally.given_up if lost.is_given_up else self.tally.restarts
        counts[lost.reason] = counts.get(lost.reason, 0) + 1
        if self.watcher is not None:
            self.watcher.lost(lost)

    def _conclude(self, status: str) -> CorpusReport:
        """The table, where all is done that can be, and the report."""
        if status == COMPLETE:
            status = self._attempt(self._write_table, table.NAME) or status
        made = self._report(status)
        if self._attempt(made.write, report.NAME):
            made = self._report(STOPPED)
        return made

    def _attempt(self, write: Any, name: str) -> str | None:
        try:
            write()
        except VoxportError as error:
            self._fail(Failure(name, str(error)), f"{name}: {error}")
            return STOPPED
        return None

    def _write_table(self) -> None:
        ordered = sorted(self.finished, key=lambda each: each.file_id)
        records = map(self._kept, ordered)
        sha256 = self.records.configuration_sha256
        table.write_table(self.records.output, records, self.configuration, sha256)

    def _kept(self, recording: Recording) -> Record:
        record = self.records.read(recording)
        if record is None:
            raise CorpusError(f"{recording.label}: its record was removed meanwhile: run it again")
        return record

    def _report(self, status: str) -> CorpusReport:
        tally = self.tally
        return CorpusReport(
            output=self.records.output,
            status=status,
            num_done=tally.num_done,
            num_skipped=tally.num_skipped,
            num_failed=tally.num_failed,
            num_not_done=len(self.found.recordings) - tally.num_ended,
            audio_s=tally.audio_s,
            skipped_audio_s=tally.skipped_audio_s,
            wall_s=tally.elapsed_s,
            failures=list(tally.failures),
            seconds=dict(tally.seconds),
            scores=dict(tally.scores),
            reference_problems=dict(tally.reference_problems),
            restarts=dict(tally.restarts),
            given_up=dict(tally.given_up),
            engine={**self.engine.described(), "workers": self.num_workers},
            configuration=self.configuration,
            configuration_sha256=self.records.configuration_sha256,
            versions={"voxport": version("voxport"), "python": platform.python_version()},
        )


def _stamp(recording: Recording) -> tuple[int | None, str] | None:
    try:
        return stamp(recording)
    except VoxportError:
        # Whoever reads it will say what is wrong with it.
        return None


def _scored(recording: Recording, record: Record) -> dict[str, Any]:
    # The reference may be another by now.
    return score_facts(recording, record.turns)


def _anywhere(recording: Recording) -> Recording:
    """The recording as a process in another folder finds it."""
    reference = recording.reference
    if reference is not None and not is_url(reference):
        reference = os.path.abspath(reference)  # noqa: PTH100 -- Path keeps ..
    path = None if recording.path is None else recording.path.absolute()
    return replace(recording, path=path, reference=reference)
