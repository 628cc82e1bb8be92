"""Who gets which recording, with workers that die whenever Hypothesis likes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import pytest
from fake_workers import MIXED, FakeWorkers, all_started, forever, recordings
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import DeviceError, ServerError, WorkersError
from voxport.runtime.corpus.dispatch import MAX_DEATHS, outcomes
from voxport.runtime.corpus.workers import Event, Finished, Lost, Started, Workers
from voxport.runtime.recordings.files import Recording
from voxport.runtime.recordings.outcome import Answer, Outcome


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
    workers = FakeWorkers(count, at_once, forever(choices), frozenset(poison), accidents)
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
    workers = FakeWorkers(1, 4, forever([0]), poison=frozenset({2}))
    ended = {
        each.recording.stem: each.answer is not None for each in outcomes(workers, recordings(8))
    }
    assert ended == {str(n): n != 2 for n in range(8)}
    # The four that were there at the first death are tried one by one, and only one is to blame.
    assert workers.deaths["2"] == 3
    assert all(count == 1 for stem, count in workers.deaths.items() if stem != "2")


def test_what_was_lost_comes_before_what_is_new() -> None:
    workers = FakeWorkers(1, 1, forever([0]), accidents=1)
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


# Workers that live, and are broken


@given(
    st.integers(2, 4),
    st.integers(1, 4),
    st.integers(0, 40),
    # With three, a recording may meet one after another.
    st.sets(st.integers(1, 3), max_size=MAX_DEATHS - 1),
    st.integers(0, 3),
    st.lists(st.integers(0, 1000), max_size=60),
)
def test_a_broken_worker_costs_no_recording(
    count: int, at_once: int, total: int, broken: set[int], lasts: int, choices: list[int]
) -> None:
    fake = FakeWorkers(count, at_once, forever(choices), broken=frozenset(broken), lasts=lasts)
    workers = all_started(fake)
    deaths: list[Lost] = []
    ended = list(outcomes(workers, recordings(total), deaths.append))
    assert sorted(int(each.recording.stem) for each in ended) == list(range(total))
    # Worker 0 is whole.
    assert all(each.answer is not None for each in ended)
    if not lasts:
        # Thrice, and as often as it is not known yet that others can do it.
        assert workers.restarts <= (3 + count) * len(broken)
    given_up = [each.worker for each in deaths if each.is_given_up]
    assert len(given_up) == len(set(given_up))
    assert set(given_up) <= broken


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.sets(st.integers(0, 24), max_size=6),
    st.sets(st.integers(0, 24), max_size=3),
    st.lists(st.integers(0, 1000), max_size=60),
)
def test_what_breaks_any_worker_fails_with_its_own_error(
    count: int, at_once: int, defects: set[int], poison: set[int], choices: list[int]
) -> None:
    workers = FakeWorkers(
        count, at_once, forever(choices), frozenset(poison), defects=frozenset(defects - poison)
    )
    ended = list(outcomes(workers, recordings(25)))
    assert sorted(int(each.recording.stem) for each in ended) == list(range(25))
    failed = {int(each.recording.stem): each for each in ended if each.answer is None}
    assert failed.keys() == defects | poison
    for number in defects - poison:
        assert workers.deaths[str(number)] == MAX_DEATHS
        assert failed[number].problem == f"{number}.wav: CUDA failure 719"


_NUMBERS = st.sets(st.integers(0, 24), max_size=4)


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.tuples(_NUMBERS, _NUMBERS, st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3))),
    st.integers(0, 2),
    st.integers(0, 4),
    st.lists(st.integers(0, 1000), max_size=60),
)
def test_whatever_comes_together_nothing_is_lost_or_doubled(
    count: int,
    at_once: int,
    faults: tuple[set[int], ...],
    lasts: int,
    accidents: int,
    choices: list[int],
) -> None:
    poison, defects, broken, never = map(frozenset, faults)
    workers = FakeWorkers(
        count,
        at_once,
        forever(choices),
        poison=poison,
        accidents=accidents,
        never=never,
        broken=broken,
        lasts=lasts,
        defects=defects - poison,
    )
    ended: list[int] = []
    try:
        for outcome in outcomes(workers, recordings(25)):
            ended.append(int(outcome.recording.stem))
            if outcome.answer is None:
                assert workers.deaths[outcome.recording.stem] == MAX_DEATHS
    except WorkersError:
        assert never >= set(range(count)) - broken
    else:
        assert sorted(ended) == list(range(25))
    assert len(ended) == len(set(ended))
    assert all(deaths <= MAX_DEATHS for deaths in workers.deaths.values())


def test_a_worker_that_answers_at_once_with_errors_is_given_up() -> None:
    workers = all_started(FakeWorkers(2, 1, forever(MIXED), broken=frozenset({0})))
    deaths: list[Lost] = []
    ended = list(outcomes(workers, recordings(200), deaths.append))
    assert len(ended) == 200
    assert all(each.answer is not None for each in ended)
    why = Lost(0, "CUDA failure 719")
    assert deaths == [why] * (len(deaths) - 1) + [Lost(0, why.reason, is_given_up=True)]
    assert len(deaths) <= 5


def test_those_beside_a_broken_answer_are_finished_first() -> None:
    workers = FakeWorkers(1, 4, forever([0]), defects=frozenset({1}))
    ended = [each.recording.stem for each in outcomes(workers, recordings(8))]
    assert sorted(ended) == [str(n) for n in range(8)]
    # `stop` of the fake fails otherwise. Nobody beside it is held to be the cause, either.
    assert workers.deaths == {"1": MAX_DEATHS}


def test_suspects_do_not_wait_for_the_end() -> None:
    """With several at once a worker never has nothing to do, unless it is kept free."""
    workers = all_started(FakeWorkers(2, 3, forever(MIXED), poison=frozenset({0})))
    order = [each.recording.stem for each in outcomes(workers, recordings(100))]
    assert sorted(order, key=int) == [str(n) for n in range(100)]
    assert max(order.index(str(n)) for n in range(3)) < 50


# Workers that do not live


def test_a_worker_that_never_starts_is_given_up() -> None:
    workers = FakeWorkers(2, 1, repeat(0), never=frozenset({0}))
    deaths: list[Lost] = []
    ended = list(outcomes(workers, recordings(5), deaths.append))
    assert all(each.answer is not None for each in ended)
    assert len(ended) == 5
    assert workers.restarts == 2
    last = Lost(0, "cannot start", is_given_up=True)
    assert deaths == [*[Lost(0, "cannot start")] * 2, last]


def test_no_worker_that_starts_is_the_end() -> None:
    workers = FakeWorkers(2, 1, forever([0, 1]), never=frozenset({0, 1}))
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


class Unreliable(FakeWorkers):
    """Its worker 1 starts once; afterwards it finds no server."""

    problem = ServerError("the server does not answer")
    num_starts = 0

    def _start(self, worker: int) -> Event:
        self.num_starts += worker == 1
        if worker == 0 or self.num_starts == 1:
            return super()._start(worker)
        self.starting.remove(worker)
        return Lost(worker, str(self.problem), self.problem)


def test_what_opened_raised_later_ends_that_worker_only() -> None:
    workers = all_started(Unreliable(2, 1, forever([0, 1]), broken=frozenset({1}), lasts=2))
    deaths: list[Lost] = []
    ended = list(outcomes(workers, recordings(50), deaths.append))
    assert len(ended) == 50
    assert all(each.answer is not None for each in ended)
    reason = str(Unreliable.problem)
    assert [each.reason for each in deaths] == ["CUDA failure 719", *[reason] * 3]
    assert [each.is_given_up for each in deaths] == [False, False, False, True]


def test_what_opened_raised_in_the_last_worker_comes_as_it_is() -> None:
    class Alone(FakeWorkers):
        def _start(self, worker: int) -> Event:
            if not self.restarts:
                return super()._start(worker)
            self.starting.remove(worker)
            return Lost(worker, str(Unreliable.problem), Unreliable.problem)

    workers = Alone(1, 1, forever([0]), broken=frozenset({0}), lasts=2)
    ended = outcomes(workers, recordings(9))
    assert [next(ended).recording.stem for _ in range(2)] == ["0", "1"]
    with pytest.raises(ServerError) as raised:
        next(ended)
    assert raised.value is Unreliable.problem
    # Started after its error, and twice after what that raised.
    assert workers.restarts == 3
