"""A stage of fixed cost in place of the networks: how fast an engine hands out recordings.

The stage sleeps, so that more workers than cores are no slower. All begin together: every worker
waits where it is opened until the last one is. The driver does all that it does in earnest: it
looks at files, hands them out, writes results and records, each atomically.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from voxport.runtime.corpus.engines import Engine
from voxport.runtime.corpus.report import CorpusReport, Tally
from voxport.runtime.corpus.run import run_corpus
from voxport.runtime.corpus.workers import Lost
from voxport.runtime.recordings.files import Recording
from voxport.runtime.recordings.outcome import Answer, Work

# Of about a quarter of an hour of conversation: 6 kB of RTTM.
_NUM_TURNS = 100
_POLL_S = 0.005


@contextmanager
def standing_in(cost_s: float, gate: str, num_workers: int) -> Iterator[Work]:
    """A work that takes ``cost_s``, and may be entered when ``num_workers`` processes want to."""
    turns = [(10.0 * n, 10.0 * n + 9.0, f"SPEAKER_{n % 4:02}") for n in range(_NUM_TURNS)]
    line = "SPEAKER {} 1 {:.3f} 9.000 <NA> <NA> {} <NA> <NA>\n"
    record = {"duration_s": 1000.0, "seconds": {"stage": cost_s}, "turns": turns, "artifacts": []}
    Path(gate, str(os.getpid())).touch()
    while len(os.listdir(gate)) < num_workers:  # noqa: PTH208 -- names are enough
        time.sleep(_POLL_S)

    def work(recording: Recording, _audio: object, _bar: object) -> Answer:
        time.sleep(cost_s)
        rttm = "".join(line.format(recording.file_id, start, who) for start, _, who in turns)
        return Answer({"rttm": rttm}, record=record)

    yield work


@dataclass
class Rate:
    """What came of a simulation.

    Attributes:
        files_per_s: from the moment all workers were there to the last result.
        driver_ms: CPU time of the driver for each file after the first.
        start_s: until all workers were there.
    """

    files_per_s: float
    driver_ms: float
    start_s: float


@dataclass
class _Clock:
    """The ``Watcher`` of a simulation: when, and after how much CPU time, files ended."""

    times: list[tuple[float, float]] = field(default_factory=list)

    def ended(self, _tally: Tally, _total: int) -> None:
        self.times.append((time.time(), time.process_time()))

    def failed(self, problem: str, trace: str) -> None:
        raise SystemExit(f"{trace}{problem}")

    def lost(self, lost: Lost) -> None:
        raise SystemExit(f"a worker died: {lost.reason}")

    def concluded(self, _report: CorpusReport) -> None:
        """Nothing that the clock does not know."""


def rate(folder: Path, engine: Engine, num_workers: int, cost_s: float, num_files: int) -> Rate:
    """Run ``num_files`` through an engine; ``folder`` must be empty."""
    corpus, gate = folder / "corpus", folder / "gate"
    corpus.mkdir()
    gate.mkdir()
    for number in range(num_files):
        (corpus / f"{number:06}.wav").write_bytes(b"nothing that is read")
    clock = _Clock()
    opened = functools.partial(standing_in, cost_s, str(gate), num_workers)
    begun_s = time.time()
    run_corpus([str(corpus)], folder / "out", opened, {}, engine=engine, watcher=clock)
    ready_s = max(path.stat().st_mtime for path in gate.iterdir())
    last_s, last_cpu_s = clock.times[-1]
    spent_s = last_cpu_s - clock.times[0][1]
    return Rate(
        files_per_s=num_files / (last_s - ready_s),
        driver_ms=1000 * spent_s / max(1, num_files - 1),
        start_s=ready_s - begun_s,
    )
