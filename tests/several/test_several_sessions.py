"""Several sessions behind one interface: who takes a call, in which order, and how many at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_devices import FakeDevice, answers, batch, items, together, until
from hypothesis import given, settings
from hypothesis import strategies as st
from voxport.runtime import InputError, OutOfMemoryError, SessionClosedError
from voxport.runtime.batching import BatchPlan
from voxport.runtime.several.session import SeveralSessions

DEVICES = st.lists(
    st.builds(
        dict,
        delay_s=st.sampled_from([0.0, 0.0005, 0.002]),
        calls_at_once=st.integers(1, 2),
        breaks_at=st.none() | st.integers(0, 4),
    ),
    max_size=4,
)
# Of two who stumble over one call nobody could tell that it was not the call's fault.
STUMBLES = st.frozensets(st.integers(0, 6), max_size=3)


@settings(max_examples=60)
@given(DEVICES, STUMBLES, st.integers(0, 40), st.integers(1, 5))
def test_every_item_once_and_in_order_whatever_breaks(
    kinds: list[dict[str, object]], fails_at: frozenset[int], count: int, size: int
) -> None:
    sound = FakeDevice(9, delay_s=0.001)
    devices = [FakeDevice(index, **kind) for index, kind in enumerate(kinds)]  # type: ignore[arg-type]
    devices.append(FakeDevice(8, fails_at=fails_at))
    several = together(*devices, sound)
    assert answers(several, count, batch_size=size) == list(range(1, count + 1))
    assert sound in several.sessions
    for device in devices:
        assert device.most_at_once <= device.concurrency
        if device in several.sessions:
            assert not device.broken
    taken_out = [device for device in devices if device not in several.sessions]
    assert len(several.remarks) == len(taken_out)


@settings(max_examples=30)
@given(DEVICES, st.integers(1, 12))
def test_calls_of_many_threads_have_their_own_answers(
    kinds: list[dict[str, object]], count: int
) -> None:
    devices = [FakeDevice(index, **kind) for index, kind in enumerate(kinds)]  # type: ignore[arg-type]
    several = together(*devices, FakeDevice(9))
    inputs = [batch(*range(number, number + 3)) for number in range(1, count + 1)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda x: several.run(x=x)["y"], inputs))
    for x, y in zip(inputs, found, strict=True):
        np.testing.assert_array_equal(y, 2 * x)


# Who takes a call


def test_calls_go_to_whoever_is_free_and_wait_for_nobody_else() -> None:
    slow, quick = threading.Event(), threading.Event()
    quick.set()
    held, free = FakeDevice(0, hold=slow), FakeDevice(1, hold=quick)
    several = together(held, free)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(several.run, x=batch(1))
        until(lambda: held.seen)
        for _ in range(3):
            several.run(x=batch(2))
        slow.set()
        first.result()
    assert held.seen == [[1]]
    assert free.seen == [[2]] * 3


def test_a_call_waits_while_all_are_busy() -> None:
    release = threading.Event()
    devices = [FakeDevice(index, hold=release, calls_at_once=1 + index) for index in range(2)]
    several = together(*devices)
    assert several.concurrency == 3
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(several.run, x=batch(number)) for number in range(1, 9)]
        until(lambda: sum(device.at_once for device in devices) >= 3)
        release.set()
        for number, call in enumerate(calls, 1):
            assert call.result()["y"][0, 0] == 2 * number
    assert [device.most_at_once for device in devices] == [1, 2]


def test_the_least_busy_takes_the_call() -> None:
    release = threading.Event()
    one, four = FakeDevice(0, hold=release), FakeDevice(1, hold=release, calls_at_once=4)
    several = together(one, four)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(several.run, x=batch(number)) for number in (1, 2, 3)]
        until(lambda: one.at_once + four.at_once >= 3)
        # The second one is at a quarter of what it takes when the first is full.
        assert (one.at_once, four.at_once) == (1, 2)
        release.set()
        assert [call.result()["y"][0, 0] for call in calls] == [2, 4, 6]


def test_batches_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def coming() -> Iterator[np.ndarray]:
        for number, item in enumerate(items(1000)):
            taken.append(number)
            yield item

    devices = [FakeDevice(index, calls_at_once=2) for index in range(2)]
    outputs = together(*devices).run_batched(coming(), batch_size=4)
    next(outputs)
    # A batch for each of four calls, and one more.
    assert len(taken) == 20
    outputs.close()  # type: ignore[attr-defined]


# Batches


def test_the_smallest_batch_is_that_of_all() -> None:
    several = together(FakeDevice(0, batch=BatchPlan(8)), FakeDevice(1, batch=BatchPlan(2)))
    assert several.batch_size == 2
    assert several.use_batch_size(3).batch_size == 3
    with pytest.raises(InputError, match="a batch size is a whole number from 1"):
        several.use_batch_size(0)


def test_out_of_memory_halves_the_batch_for_all(caplog: pytest.LogCaptureFixture) -> None:
    roomy, narrow = FakeDevice(0, delay_s=0.002), FakeDevice(1, fits=2, delay_s=0.001)
    several = together(roomy, narrow)
    several.use_batch_size(8)
    assert answers(several, 40) == list(range(1, 41))
    assert several.batch_size == 2
    assert several.sessions == (roomy, narrow)
    assert "going on with batches of 4, not 8" in caplog.text
    assert max(narrow.sizes[-3:]) <= 2


def test_a_single_item_that_fits_nowhere() -> None:
    several = together(FakeDevice(0, fits=0), FakeDevice(1, fits=0))
    with pytest.raises(OutOfMemoryError, match="the card is full"):
        answers(several, 3)
    assert len(several.sessions) == 2


# All of them


def test_each_is_warmed_up() -> None:
    devices = [FakeDevice(index, batch=BatchPlan(4, pads=True)) for index in range(3)]
    several = together(*devices)
    several.warmup()
    assert [device.sizes for device in devices] == [[1, 2, 4]] * 3
    several.warmup([3])
    several.optimize_for_gpu(2)
    assert [device.sizes for device in devices] == [[1, 2, 4, 3, 1, 2]] * 3


def test_closing_closes_each_and_wakes_those_who_wait() -> None:
    release = threading.Event()
    devices = [FakeDevice(index, hold=release) for index in range(2)]
    several = together(*devices)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(several.run, x=batch(number)) for number in range(1, 5)]
        until(lambda: sum(device.at_once for device in devices) >= 2)
        several.close()
        several.close()
        release.set()
        errors = [call.exception(10) for call in calls]
    # Those who were under way come to an end: the engine holds what they need.
    assert sum(isinstance(error, SessionClosedError) for error in errors) == 2
    assert errors.count(None) == 2
    assert [device.released for device in devices] == [1, 1]
    with pytest.raises(SessionClosedError, match="the session was closed"):
        several.run(x=batch(1))


def test_remarks_name_the_device() -> None:
    odd = FakeDevice(1)
    odd.remarks = ("runs on the CPU",)
    several = SeveralSessions([FakeDevice(0), odd], odd.plan, ["cuda:2 was left out: gone"])
    assert several.remarks == ("cuda:2 was left out: gone", "cuda:1: runs on the CPU")


def test_wrong_inputs_reach_no_device() -> None:
    device = FakeDevice(0)
    several = together(device, FakeDevice(1))
    with pytest.raises(InputError, match="unknown"):
        several.run(x=batch(1), z=batch(1))
    assert device.seen == []
