"""Calls of several threads as one: nobody waits while the device is idle, everybody has his own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fake_devices import POISON, FakeDevice, batch, together, until
from fake_session import DOUBLING
from hypothesis import given, settings
from hypothesis import strategies as st
from voxport.runtime import (
    Description,
    OutOfMemoryError,
    SessionClosedError,
    TensorSpec,
    VoxportError,
)
from voxport.runtime.batching import BatchPlan
from voxport.runtime.inputs import Arrays
from voxport.runtime.several.shared_calls import SharedCalls

Run = Callable[[Any], Arrays]


def shared(**kind: Any) -> FakeDevice:
    device = FakeDevice(**{"batch": BatchPlan(8), **kind})
    device.share_calls()
    return device


def while_busy(device: FakeDevice, release: threading.Event, calls: Sequence[Any]) -> list[Any]:
    """The outcomes of calls that come, one after the other, while another one is under way."""
    waiting = device._shared._waiting  # type: ignore[union-attr]
    with ThreadPoolExecutor(len(calls) + 1) as pool:
        first = pool.submit(device.run, x=batch(1000))
        until(lambda: device.seen)
        futures: list[Future[Arrays]] = []
        for number, x in enumerate(calls, 1):
            futures.append(pool.submit(device.run, x=x))
            until(lambda least=number: len(waiting) >= least)
        release.set()
        assert first.result()["y"][0, 0] == 2000
        return [each.exception() or each.result()["y"] for each in futures]


def test_a_call_alone_runs_as_it_is() -> None:
    device = shared(batch=BatchPlan(8, pads=True))
    for number in (1, 2, 3):
        device.run(x=batch(*range(1, number + 1)))
    assert device.sizes == [1, 2, 3]


def test_calls_that_come_meanwhile_are_one() -> None:
    release = threading.Event()
    device = shared(hold=release)
    calls = [batch(1), batch(2, 3), batch(4)]
    found = while_busy(device, release, calls)
    assert device.seen == [[1000], [1, 2, 3, 4]]
    for x, y in zip(calls, found, strict=True):
        np.testing.assert_array_equal(y, 2 * x)
        assert y.base is None  # no view of what belongs to others


def test_no_more_than_a_batch_in_the_order_of_coming() -> None:
    release = threading.Event()
    device = shared(hold=release, batch=BatchPlan(4))
    calls = [batch(1, 2, 3), batch(4, 5), batch(6), batch(7, 8, 9, 10, 11), batch(12)]
    found = while_busy(device, release, calls)
    # The third fills up the first group; the fourth is larger than any batch and goes alone.
    assert device.seen == [[1000], [1, 2, 3, 6], [4, 5, 12], [7, 8, 9, 10, 11]]
    for x, y in zip(calls, found, strict=True):
        np.testing.assert_array_equal(y, 2 * x)


def test_together_they_have_a_size_that_is_used_in_any_case() -> None:
    release = threading.Event()
    device = shared(hold=release, batch=BatchPlan(8, (2, 8)))
    calls = [batch(1), batch(2), batch(3)]
    found = while_busy(device, release, calls)
    assert device.seen == [[1000], [1, 2, 3, 0, 0, 0, 0, 0]]
    for x, y in zip(calls, found, strict=True):
        np.testing.assert_array_equal(y, 2 * x)


def test_one_bad_caller_spoils_nobody_else() -> None:
    release = threading.Event()
    device = shared(hold=release, refuses=POISON)
    calls = [batch(1), batch(POISON, 2), batch(3)]
    found = while_busy(device, release, calls)
    np.testing.assert_array_equal(found[0], [[2, 2]])
    np.testing.assert_array_equal(found[2], [[6, 6]])
    assert type(found[1]) is VoxportError
    assert "doubling failed on {'x': (2, 2)}: cuda:0 cannot divide by zero" in str(found[1])
    assert device.seen == [[1000], [1, POISON, 2, 3], [1], [POISON, 2], [3]]


def test_what_does_not_fit_is_halved_for_good(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    device = shared(hold=release, fits=2)
    calls = [batch(number) for number in range(1, 5)] + [batch(5, 6, 7)]
    found = while_busy(device, release, calls)
    for x, y in zip(calls[:4], found, strict=False):
        np.testing.assert_array_equal(y, 2 * x)
    assert isinstance(found[4], OutOfMemoryError)  # nobody else's rows are in it
    whole = [1, 2, 3, 4, 5, 6, 7]
    parts = [whole, whole[:2], whole[2:], [3], whole[3:], [4], whole[4:]]
    assert device.seen[1:] == parts
    assert "the card is full; calls share batches of 2 at most from now on" in caplog.messages
    release.clear()
    device.seen.clear()
    while_busy(device, release, [batch(1), batch(2), batch(3)])
    assert device.seen == [[1000], [1, 2], [3]]


def test_closing_meanwhile_tells_each_caller() -> None:
    release = threading.Event()
    device = shared(hold=release)
    device._compute = _closed_after_first(device._compute)  # type: ignore[method-assign]
    device.share_calls()
    found = while_busy(device, release, [batch(1), batch(2)])
    assert [type(each) for each in found] == [SessionClosedError] * 2
    assert found[0] is not found[1]


def _closed_after_first(compute: Run) -> Run:
    def run(inputs: Arrays) -> Arrays:
        if inputs["x"][0, 0] != 1000:
            raise SessionClosedError("the session was closed")
        return compute(inputs)

    return run


# What can be one call


TWO_INPUTS = Description(
    "sum",
    "fp32",
    (
        TensorSpec("a", "float32", ("batch", "samples")),
        TensorSpec("b", "float32", (2, "batch")),
    ),
    (TensorSpec("c", "float32", ("samples", "batch")),),
)


def test_only_calls_of_the_same_sizes() -> None:
    release, sizes = threading.Event(), []

    def run(inputs: Arrays) -> Arrays:
        sizes.append(inputs["a"].shape)
        assert release.wait(10)
        return {"c": (inputs["a"] + inputs["b"].sum(axis=0)[:, None]).T}

    calls = SharedCalls(TWO_INPUTS, run, lambda: BatchPlan(8), lambda: 1)
    rng = np.random.default_rng(5)
    inputs = [
        {
            "a": rng.standard_normal((rows, samples)).astype(np.float32),
            "b": rng.standard_normal((2, rows)).astype(np.float32),
        }
        for rows, samples in [(1, 3), (1, 3), (2, 4), (3, 3), (1, 4)]
    ]
    with ThreadPoolExecutor(5) as pool:
        futures = []
        for number, each in enumerate(inputs):
            futures.append(pool.submit(calls, each))
            until(lambda least=number: len(sizes) + len(calls._waiting) > least)
        release.set()
        for each, future in zip(inputs, futures, strict=True):
            expected = (each["a"] + each["b"].sum(axis=0)[:, None]).T
            np.testing.assert_array_equal(future.result()["c"], expected)
    assert sizes == [(1, 3), (4, 3), (3, 4)]


def test_without_a_batch_axis_nothing_is_shared() -> None:
    described = Description(
        "rows", "fp32", (TensorSpec("x", "float32", ("rows", 2)),), DOUBLING.outputs
    )
    device = FakeDevice()
    device.description = described
    assert device.share_calls()._shared is None


# Any number of threads


CALLS = st.lists(st.sampled_from([1.0, 2.0, 5.0, POISON]), min_size=1, max_size=5)


@settings(max_examples=40)
@given(
    st.lists(CALLS, max_size=30),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(2, 6),
)
def test_everybody_has_his_own_answer(
    calls: list[list[float]], size: int, at_once: int, fits: int
) -> None:
    device = shared(
        batch=BatchPlan(size), calls_at_once=at_once, fits=fits, refuses=POISON, delay_s=0.0002
    )

    def run(values: list[float]) -> bool:
        try:
            return bool(np.array_equal(device.run(x=batch(*values))["y"], 2 * batch(*values)))
        except OutOfMemoryError:
            return len(values) > fits
        except VoxportError:
            return POISON in values

    logging.getLogger("voxport").setLevel(logging.ERROR)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(run, calls))
    finally:
        logging.getLogger("voxport").setLevel(logging.NOTSET)
    assert device.most_at_once <= at_once
    assert device._shared is not None
    assert device._shared._running == 0


def test_over_several_sessions() -> None:
    release = threading.Event()
    devices = [FakeDevice(index, hold=release, batch=BatchPlan(8)) for index in range(2)]
    several = together(*devices)
    several.share_calls()
    shared_calls = several._shared
    assert shared_calls is not None
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(several.run, x=batch(number)) for number in range(1, 7)]
        until(lambda: len(shared_calls._waiting) >= 4)
        release.set()
        assert [each.result()["y"][0, 0] for each in futures] == [2, 4, 6, 8, 10, 12]
    # Two began at once, one on each; the four who waited went to whichever was free first.
    seen = sorted(len(call) for device in devices for call in device.seen)
    assert sum(seen) == 6
    assert seen[:2] == [1, 1]
    assert len(seen) <= 4


def test_an_interrupted_thread_holds_up_nobody() -> None:
    """A thread that leads a group is interrupted: the others are run by one of theirs."""
    release, begun = threading.Event(), threading.Event()

    def run(inputs: Arrays) -> Arrays:
        begun.set()
        assert release.wait(10)
        if inputs["x"][0, 0] == 1:
            raise KeyboardInterrupt
        return {"y": 2 * inputs["x"]}

    calls = SharedCalls(DOUBLING, run, lambda: BatchPlan(2), lambda: 1)
    with ThreadPoolExecutor(5) as pool:
        futures = []
        for number in range(5):
            futures.append(pool.submit(calls, {"x": batch(number)}))
            until(lambda least=number: begun.is_set() and len(calls._waiting) >= least)
        release.set()
        errors = [future.exception(10) for future in futures]
        # The second one led a group of two, and was interrupted in it.
        assert isinstance(errors.pop(1), KeyboardInterrupt)
        assert errors == [None] * 4
        assert futures[2].result()["y"][0, 0] == 4
    assert calls._running == 0
