"""Workers of one process that die or break whenever a test likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from voxport.runtime.corpus.workers import Event, Finished, Lost, Started
from voxport.runtime.recordings.files import Recording
from voxport.runtime.recordings.outcome import Answer, Outcome

# Of both parities, in no order.
MIXED = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]


def recordings(count: int) -> list[Recording]:
    return [Recording(f"{n}.wav", str(n), str(n)) for n in range(count)]


@dataclass
class FakeWorkers:
    """Workers that choose what happens next by numbers that a test gives, and check their use.

    Files of ``poison`` always kill. ``accidents`` more deaths hit whoever is chosen; a worker of
    ``never`` dies before it starts. One of ``broken`` answers everything with an error that may
    be its own, after it has done ``lasts`` files since its start, and files of ``defects`` have
    any worker do so.
    """

    count: int
    files_at_once: int
    choices: Iterator[int]
    poison: frozenset[int] = frozenset()
    accidents: int = 0
    never: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()
    lasts: int = 0
    defects: frozenset[int] = frozenset()
    works_left: dict[int, int] = field(default_factory=dict)
    starting: set[int] = field(default_factory=set)
    ready: set[int] = field(default_factory=set)
    under_way: dict[int, dict[int, Recording]] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    most: int = 0
    restarts: int = 0

    def __post_init__(self) -> None:
        self.starting = set(range(self.count))
        self.under_way = {worker: {} for worker in range(self.count)}
        self.works_left = dict.fromkeys(range(self.count), self.lasts)

    def submit(self, worker: int, ticket: int, recording: Recording) -> None:
        held = self.under_way[worker]
        assert worker in self.ready
        assert len(held) < self.files_at_once
        suspects = [r for r in (*held.values(), recording) if self.deaths[r.stem]]
        assert not suspects or not held, "a suspect must be alone"
        held[ticket] = recording
        self.most = max(self.most, sum(map(len, self.under_way.values())))

    def next_event(self) -> Event:
        able = sorted([*self.starting, *(w for w, held in self.under_way.items() if held)])
        assert able, "waited for nothing"
        worker = able[next(self.choices) % len(able)]
        if worker in self.starting:
            return self._start(worker)
        held = self.under_way[worker]
        if self.accidents and next(self.choices) % 3 == 0:
            self.accidents -= 1
            return self._die(worker)
        ticket = sorted(held)[next(self.choices) % len(held)]
        if int(held[ticket].stem) in self.poison:
            return self._die(worker)
        return Finished(worker, ticket, self._outcome(worker, held.pop(ticket)))

    def _outcome(self, worker: int, recording: Recording) -> Outcome:
        is_broken = worker in self.broken and not self.works_left[worker]
        if is_broken or int(recording.stem) in self.defects:
            self.deaths[recording.stem] += 1
            problem = recording.problem("CUDA failure 719")
            return Outcome(recording, None, problem, may_be_workers=True)
        self.works_left[worker] -= worker in self.broken
        return Outcome(recording, Answer({"rttm": recording.stem}))

    def _start(self, worker: int) -> Event:
        self.starting.remove(worker)
        if worker in self.never:
            return Lost(worker, "cannot start")
        self.ready.add(worker)
        return Started(worker)

    def _die(self, worker: int) -> Event:
        self.deaths.update(each.stem for each in self.under_way[worker].values())
        self.under_way[worker] = {}
        self.ready.remove(worker)
        return Lost(worker, "killed")

    def restart(self, worker: int) -> None:
        assert worker not in self.starting
        self.stop(worker)
        self.restarts += 1
        self.starting.add(worker)

    def stop(self, worker: int) -> None:
        assert not self.under_way[worker], "others are to finish first"
        self.ready.discard(worker)
        self.works_left[worker] = self.lasts

    def close(self) -> None:
        raise AssertionError("whoever made the workers closes them")


def forever(numbers: list[int]) -> Iterator[int]:
    """The numbers, again and again, never all the same."""
    n = 0
    while True:
        yield (numbers[n % len(numbers)] if numbers else 0) + n // max(1, len(numbers))
        n += 1


def all_started(workers: FakeWorkers) -> FakeWorkers:
    """Workers that all start before anything else happens."""
    usual, first = workers.next_event, sorted(workers.starting)

    def next_event() -> Event:
        return workers._start(first.pop()) if first else usual()

    workers.next_event = next_event  # type: ignore[method-assign]
    return workers
