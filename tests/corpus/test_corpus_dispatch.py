"""Who gets which recording, with workers that die whenever Hypothesis likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import DeviceError, WorkersError
from voxport.runtime.corpus.dispatch import MAX_DEATHS, outcomes
from voxport.runtime.corpus.workers import Event, Finished, Lost, Started, Workers
from voxport.runtime.recordings.files import Recording
from voxport.runtime.recordings.outcome import Answer, Outcome


def recordings(count: int) -> list[Recording]:
    return [Recording(f"{n}.wav", str(n), str(n)) for n in range(count)]


@dataclass
class FakeWorkers:
    """Workers that choose what happens next by numbers that a test gives, and check their use.

    Files of ``poison`` always kill. ``accidents`` more deaths hit whoever is chosen; a worker of
    ``never`` dies before it starts.
    """

    count: int
    files_at_once: int
    choices: Iterator[int]
    poison: frozenset[int] = frozenset()
    accidents: int = 0
    never: frozenset[int] = frozenset()
    starting: set[int] = field(default_factory=set)
    ready: set[int] = field(default_factory=set)
    under_way: dict[int, dict[int, Recording]] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    most: int = 0
    restarts: int = 0

    def __post_init__(self) -> None:
        self.starting = set(range(self.count))
        self.under_way = {worker: {} for worker in range(self.count)}

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
        recording = held.pop(ticket)
        return Finished(worker, ticket, Outcome(recording, Answer({"rttm": recording.stem})))

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
        assert worker not in self.ready | self.starting
        self.restarts += 1
        self.starting.add(worker)

    def close(self) -> None:
        raise AssertionError("whoever made the workers closes them")


def _forever(numbers: list[int]) -> Iterator[int]:
    """The numbers, again and again, never all the same."""
    n = 0
    while True:
        yield (numbers[n % len(numbers)] if numbers else 0) + n // max(1, len(numbers))
        n += 1


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 25),
    st.sets(st.integers(0, 24), max_size=4),
    st.integers(0, 2),
    st.lists(st.integers(0, 1000), max_size=60),
)
def test_every_recording_ends_exactly_once(
    count: int, at_once: int, total: int, poison: set[int], accidents: int, choices: list[int]
) -> None:
    workers = FakeWorkers(count, at_once, _forever(choices), frozenset(poison), accidents)
    satisfied: Workers = workers
    taken = 0

    def asked_for() -> Iterator[Recording]:
        nonlocal taken
        for recording in recordings(total):
            # Never before there is room for it.
            assert sum(map(len, workers.under_way.values())) < count * at_once
            taken += 1
            yield recording

    ended = list(outcomes(satisfied, asked_for()))

    assert sorted(int(each.recording.stem) for each in ended) == list(range(total))
    assert taken == total
    assert workers.most <= count * at_once
    failed = {int(each.recording.stem) for each in ended if each.answer is None}
    # Who is beside a poisoned file is alone later; two accidents on top of that may kill thrice.
    poisoned = {each for each in poison if each < total}
    assert failed == poisoned or (accidents == 2 and failed > poisoned)
    for each in ended:
        if each.answer is None:
            assert workers.deaths[each.recording.stem] == MAX_DEATHS
            reason = f"its worker died {MAX_DEATHS} times: killed"
            assert each.problem == f"{each.recording.label}: {reason}"


def test_nobody_beside_a_poisoned_file_fails() -> None:
    workers = FakeWorkers(1, 4, _forever([0]), poison=frozenset({2}))
    ended = {
        each.recording.stem: each.answer is not None for each in outcomes(workers, recordings(8))
    }
    assert ended == {str(n): n != 2 for n in range(8)}
    # The four that were there at the first death are tried one by one, and only one is to blame.
    assert workers.deaths["2"] == 3
    assert all(count == 1 for stem, count in workers.deaths.items() if stem != "2")


def test_what_was_lost_comes_before_what_is_new() -> None:
    workers = FakeWorkers(1, 1, _forever([0]), accidents=1)
    order = [each.recording.stem for each in outcomes(workers, recordings(3))]
    assert order == ["0", "1", "2"]


def test_late_news_of_a_lost_worker_count_for_nothing() -> None:
    (recording,) = recordings(1)
    done = Outcome(recording, Answer({}))
    events: list[Event] = [
        *(Started(0), Lost(0, "killed"), Finished(0, 1, done), Started(0), Finished(0, 1, done)),
    ]

    class Scripted(FakeWorkers):
        def submit(self, worker: int, ticket: int, recording: Recording) -> None:
            assert (worker, ticket, recording.stem) == (0, 1, "0")

        def next_event(self) -> Event:
            return events.pop(0)

        def restart(self, worker: int) -> None:
            assert worker == 0

    assert list(outcomes(Scripted(1, 1, iter(())), [recording])) == [done]
    assert events == []


# Workers that do not live


def test_a_worker_that_never_starts_is_given_up() -> None:
    workers = FakeWorkers(2, 1, repeat(0), never=frozenset({0}))
    deaths: list[Lost] = []
    ended = list(outcomes(workers, recordings(5), deaths.append))
    assert all(each.answer is not None for each in ended)
    assert len(ended) == 5
    assert workers.restarts == 2
    assert deaths == [Lost(0, "cannot start")] * 3


def test_no_worker_that_starts_is_the_end() -> None:
    workers = FakeWorkers(2, 1, _forever([0, 1]), never=frozenset({0, 1}))
    with pytest.raises(WorkersError, match="no worker stays alive: cannot start"):
        list(outcomes(workers, recordings(5)))


def test_what_opened_raised_comes_as_it_is() -> None:
    problem = DeviceError("no such card")

    class Refused(FakeWorkers):
        def next_event(self) -> Event:
            return Lost(0, str(problem), problem)

    with pytest.raises(DeviceError) as raised:
        list(outcomes(Refused(1, 1, iter(())), recordings(2)))
    assert raised.value is problem
