"""Batches: every item comes out once and in order, whatever the sizes and the memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny_artifacts
from fake_session import FakeSession
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import InputError, OutOfMemoryError, SessionClosedError, TensorSpec
from voxport.runtime.batching import Batcher, BatchPlan, batch_plan, cuda_batch_size
from voxport.runtime.inputs import Arrays

GIB = 2**30
# Batch axes in different places, an output that has no other axis.
DESCRIBED = tiny_artifacts.description(
    "sums",
    [TensorSpec("x", "float32", ("batch", "samples")), TensorSpec("w", "float32", (3, "batch"))],
    [
        TensorSpec("y", "float32", ("batch", "samples")),
        TensorSpec("w2", "float32", (3, "batch")),
        TensorSpec("total", "float32", ("batch",)),
    ],
)


class Network:
    """Runs ``DESCRIBED`` in a memory for ``fits`` items; keeps what it was given."""

    def __init__(self, fits: int = 1000) -> None:
        self.fits = fits
        self.calls: list[Arrays] = []

    @property
    def sizes(self) -> list[int]:
        return [len(call["x"]) for call in self.calls]

    def __call__(self, inputs: Arrays) -> Arrays:
        x, w = inputs["x"], inputs["w"]
        assert w.shape == (3, len(x))
        self.calls.append(inputs)
        if len(x) > self.fits:
            raise OutOfMemoryError("the card is full")
        return {"y": x + 1, "w2": 2 * w, "total": x.sum(axis=1)}


def items(count: int, samples: int = 2) -> list[Arrays]:
    """Items that can be told apart, none of them zero."""
    return [
        {
            "x": np.full(samples, index + 1, np.float32),
            "w": np.full(3, -index - 1, np.float32),
        }
        for index in range(count)
    ]


def check_outputs(outputs: list[Arrays], count: int) -> None:
    assert len(outputs) == count
    for item, output in zip(items(count), outputs, strict=True):
        assert list(output) == ["y", "w2", "total"]
        np.testing.assert_array_equal(output["y"], item["x"] + 1)
        np.testing.assert_array_equal(output["w2"], 2 * item["w"])
        assert isinstance(output["total"], np.ndarray)
        assert output["total"] == item["x"].sum()


def batch_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("voxport-batch")]


# Order, sizes, memory


@given(
    count=st.integers(0, 40),
    size=st.integers(1, 16),
    buckets=st.none() | st.sets(st.integers(1, 16), min_size=1),
    pads=st.booleans(),
    fits=st.integers(1, 20),
    workers=st.integers(1, 2),
)
def test_no_item_is_lost_or_doubled(
    count: int, size: int, buckets: set[int] | None, pads: bool, fits: int, workers: int
) -> None:
    network = Network(fits)
    allowed = tuple(sorted(buckets)) if buckets else None
    plan = batch_plan(size, DESCRIBED, allowed, pads=pads)
    batcher = Batcher(DESCRIBED, network, plan, workers=workers)
    if count and min(buckets or {1}) > fits:
        with pytest.raises(OutOfMemoryError):
            list(batcher.outputs(items(count)))
        return
    check_outputs(list(batcher.outputs(items(count))), count)
    assert all(each <= max(plan.size, *(buckets or {1})) for each in network.sizes)
    if buckets:
        assert set(network.sizes) <= buckets
    # It halves for what did not fit only, and does not try the same again.
    failed = [each for each in network.sizes if each > fits]
    assert (batcher.plan.size < plan.size) == bool(failed)
    assert len(failed) <= workers * len(set(failed))
    assert batch_threads() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_out_of_memory_halves_with_a_warning(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    network = Network(fits=3)
    batcher = Batcher(DESCRIBED, network, BatchPlan(8), workers=workers)
    check_outputs(list(batcher.outputs(items(30))), 30)
    assert batcher.plan.size == 2
    # Whichever worker meets it, each size is given up once.
    assert [record.getMessage() for record in caplog.records] == [
        "sums: the card is full; going on with batches of 4, not 8",
        "sums: the card is full; going on with batches of 2, not 4",
    ]
    assert {(r.name, r.levelno) for r in caplog.records} == {("voxport", logging.WARNING)}
    # Those that follow are small from the beginning.
    network.calls.clear()
    check_outputs(list(batcher.outputs(items(6))), 6)
    assert network.sizes == [2, 2, 2]


def test_workers_that_run_out_of_memory_together_halve_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network, both = Network(fits=4), threading.Barrier(2)

    def meeting(inputs: Arrays) -> Arrays:
        if len(inputs["x"]) == 8:
            both.wait(timeout=60)
        return network(inputs)

    batcher = Batcher(DESCRIBED, meeting, BatchPlan(8), workers=2)
    check_outputs(list(batcher.outputs(items(16))), 16)
    assert sorted(network.sizes) == [4, 4, 4, 4, 8, 8]
    assert caplog.messages == ["sums: the card is full; going on with batches of 4, not 8"]


def test_an_item_that_does_not_fit_is_an_error() -> None:
    outputs = Batcher(DESCRIBED, Network(fits=0), BatchPlan(8)).outputs(items(9))
    with pytest.raises(OutOfMemoryError, match="the card is full"):
        list(outputs)
    assert batch_threads() == []


def test_a_tail_that_does_not_fit_is_not_tried_again() -> None:
    network = Network(fits=2)
    batcher = Batcher(DESCRIBED, network, BatchPlan(64, pads=True))
    check_outputs(list(batcher.outputs(items(3))), 3)
    assert network.sizes == [4, 2, 1]
    lonely = Network(fits=0)
    with pytest.raises(OutOfMemoryError):
        list(Batcher(DESCRIBED, lonely, BatchPlan(64)).outputs(items(1)))
    assert lonely.sizes == [1]


# Padding


@pytest.mark.parametrize(
    ("plan", "count", "sizes"),
    [
        (BatchPlan(4), 10, [4, 4, 2]),
        (BatchPlan(4), 3, [3]),
        (BatchPlan(4, pads=True), 11, [4, 4, 4]),
        (BatchPlan(4, pads=True), 9, [4, 4, 1]),
        (BatchPlan(6, pads=True), 11, [6, 6]),
        (BatchPlan(8, (1, 2, 8)), 11, [8, 8]),
        (BatchPlan(8, (1, 2, 8)), 9, [8, 1]),
        (BatchPlan(2, (1, 2, 8)), 3, [2, 1]),
        (BatchPlan(4, (4,)), 5, [4, 4]),
    ],
)
def test_the_tail_is_padded_with_zeros(plan: BatchPlan, count: int, sizes: list[int]) -> None:
    network = Network()
    check_outputs(list(Batcher(DESCRIBED, network, plan).outputs(items(count))), count)
    assert network.sizes == sizes
    x = np.concatenate([call["x"] for call in network.calls])
    w = np.concatenate([call["w"] for call in network.calls], axis=1)
    assert (x[count:] == 0).all()
    assert (w[:, count:] == 0).all()
    assert (x[:count] != 0).all()


@pytest.mark.parametrize(
    ("plan", "sizes"),
    [
        (BatchPlan(8), (8,)),
        (BatchPlan(1), (1,)),
        (BatchPlan(8, pads=True), (1, 2, 4, 8)),
        (BatchPlan(6, pads=True), (1, 2, 4, 6)),
        (BatchPlan(8, (1, 4, 8, 16)), (1, 4, 8)),
        (BatchPlan(4, (4, 8)), (4,)),
    ],
)
def test_the_sizes_of_calls_are_known(plan: BatchPlan, sizes: tuple[int, ...]) -> None:
    assert plan.call_sizes() == sizes
    if plan.pads or plan.buckets:
        assert {plan.padded(count) for count in range(1, plan.size + 1)} == set(sizes)


@pytest.mark.parametrize(
    ("plan", "smaller"),
    [
        (BatchPlan(8), BatchPlan(4)),
        (BatchPlan(3, pads=True), BatchPlan(1, pads=True)),
        (BatchPlan(1), None),
        (BatchPlan(32, (1, 8, 32)), BatchPlan(8, (1, 8, 32))),
        (BatchPlan(4, (4, 8)), None),
    ],
)
def test_halving(plan: BatchPlan, smaller: BatchPlan | None) -> None:
    assert plan.halved() == smaller


def test_outputs_do_not_keep_the_batch_in_memory() -> None:
    for output in Batcher(DESCRIBED, Network(), BatchPlan(4)).outputs(items(8)):
        assert all(array.base is None for array in output.values())


# The iterable


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_taken_a_batch_ahead_and_no_more(workers: int) -> None:
    taken = 0

    def counted() -> Iterator[Arrays]:
        nonlocal taken
        for item in items(50):
            taken += 1
            yield item

    batcher = Batcher(DESCRIBED, Network(), BatchPlan(4), workers=workers)
    for index, _ in enumerate(batcher.outputs(counted())):
        batches = index // 4 + 1 + workers
        assert taken == min(4 * batches, 50)


@pytest.mark.parametrize("workers", [1, 2])
def test_whoever_stops_early_leaves_nothing_behind(workers: int) -> None:
    network = Network()
    endless = iter(lambda: items(1)[0], None)
    outputs = Batcher(DESCRIBED, network, BatchPlan(4), workers=workers).outputs(endless)
    next(outputs)
    outputs.close()  # type: ignore[attr-defined]  # it is a generator
    assert batch_threads() == []
    assert len(network.calls) <= workers + 1


def test_an_iterable_that_fails() -> None:
    def failing() -> Iterator[Arrays]:
        yield from items(6)
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        list(Batcher(DESCRIBED, Network(), BatchPlan(4)).outputs(failing()))
    assert batch_threads() == []


def test_a_network_that_fails() -> None:
    def failing(inputs: Arrays) -> Arrays:
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        list(Batcher(DESCRIBED, failing, BatchPlan(4), workers=2).outputs(items(20)))
    assert batch_threads() == []


# What a caller may get wrong


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.zeros(2, np.float32), "each item must be a dict of x, w"),
        ({"x": np.zeros(2, np.float32)}, r"an item has \['x'\]; the inputs, here without"),
        ({**items(1)[0], "z": 1}, r"an item has \['w', 'x', 'z'\]"),
        ({**items(1)[0], "x": [1.0, 2.0]}, r"an array of x: float32\[batch, samples\].*got list"),
        ({**items(1)[0], "x": np.zeros((1, 2), np.float32)}, r"got shape \(1, 2\)"),
        ({**items(1)[0], "w": np.float32(1)}, "without its batch axis, got float32"),
    ],
)
def test_items_that_do_not_fit(item: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(Batcher(DESCRIBED, Network(), BatchPlan(4)).outputs([*items(1), item]))


def test_items_of_different_shapes_or_dtypes() -> None:
    batcher = Batcher(DESCRIBED, Network(), BatchPlan(2))
    with pytest.raises(InputError, match=r"x of one batch comes as float32\[2\], float32\[3\]"):
        list(batcher.outputs([*items(1), *items(1, samples=3)]))
    other = {**items(1)[0], "w": np.zeros(3)}
    with pytest.raises(InputError, match=r"w of one batch comes as float32\[3\], float64\[3\]"):
        list(batcher.outputs([*items(1), other]))
    # In batches of their own they may differ.
    mixed = [*items(2), *items(2, samples=3)]
    found = [output["y"].shape for output in batcher.outputs(mixed)]
    assert found == [(2,), (2,), (3,), (3,)]


@pytest.mark.parametrize("size", [0, -1, True, 2.0, "8", None])
def test_what_is_no_batch_size(size: Any) -> None:
    with pytest.raises(InputError, match="sums: a batch size is a whole number from 1, got "):
        batch_plan(size, DESCRIBED)


def test_plans_keep_to_what_the_artifact_takes() -> None:
    fixed = replace(DESCRIBED, sizes={"batch": (32, 1)})
    assert batch_plan(8, fixed) == BatchPlan(1, (1, 32))
    assert batch_plan(64, fixed) == BatchPlan(32, (1, 32))
    assert batch_plan(64, fixed, (32,)) == BatchPlan(32, (32,))
    with pytest.raises(InputError, match=r"takes batches of \(32, 1\), not of \(1, 8\)"):
        batch_plan(8, fixed, (1, 8))
    assert batch_plan(5, DESCRIBED, (4, 8)) == BatchPlan(4, (4, 8))
    assert batch_plan(2, DESCRIBED, (4, 8)) == BatchPlan(4, (4, 8))
    assert batch_plan(48, DESCRIBED, pads=True) == BatchPlan(48, None, pads=True)
    unbatched = replace(DESCRIBED, outputs=(TensorSpec("y", "float32", ("samples",)),))
    with pytest.raises(InputError, match="nothing can be batched, y have no batch axis"):
        batch_plan(8, unbatched)


@pytest.mark.parametrize(
    ("gib", "size"),
    [
        *((141, 64), (24, 64), (23.6, 64), (22, 64), (21.9, 32), (16, 32), (12, 32), (11.6, 32)),
        *((10, 16), (8, 16), (7.6, 16), (6, 8), (4, 8), (0, 8)),
    ],
)
def test_batch_sizes_of_cards(gib: float, size: int) -> None:
    assert cuda_batch_size(int(gib * GIB)) == size


# Of a session


def pairs(count: int) -> list[np.ndarray]:
    return [np.full(2, index, np.float32) for index in range(count)]


def check_doubled(outputs: list[Arrays], count: int) -> None:
    found = [output["y"] for output in outputs]
    np.testing.assert_array_equal(np.reshape(found, (-1, 2)), 2 * np.reshape(pairs(count), (-1, 2)))


def test_a_session_remembers_what_fits() -> None:
    session = FakeSession(fits=4)
    check_doubled(list(session.run_batched(pairs(20))), 20)
    assert (session.batch_size, session.sizes) == (4, [8, 4, 4, 4, 4, 4])
    session.sizes.clear()
    check_doubled(list(session.run_batched(pairs(6))), 6)
    assert session.sizes == [4, 2]


def test_a_session_remembers_what_fits_if_its_caller_stops_early() -> None:
    session = FakeSession(fits=4)
    outputs = session.run_batched(pairs(20))
    next(outputs)
    outputs.close()  # type: ignore[attr-defined]  # it is a generator
    assert session.batch_size == 4


def test_a_batch_size_for_one_run() -> None:
    session = FakeSession(fits=4)
    check_doubled(list(session.run_batched(pairs(20), batch_size=16)), 20)
    assert session.sizes[:3] == [16, 8, 4]
    assert session.batch_size == 8


def test_a_larger_batch_does_not_come_back_from_a_run_that_began_with_it() -> None:
    session = FakeSession()
    outputs = session.run_batched(pairs(20))
    next(outputs)
    session.use_batch_size(2)
    assert len(list(outputs)) == 19
    assert session.batch_size == 2


def test_errors_come_before_the_first_item_is_asked_for() -> None:
    session = FakeSession()
    with pytest.raises(InputError, match="a batch size is a whole number from 1, got 0"):
        session.run_batched(pairs(3), batch_size=0)
    with pytest.raises(InputError, match="a batch size is a whole number from 1, got 0"):
        session.use_batch_size(0)
    assert session.batch_size == 8


def test_items_are_checked_like_inputs() -> None:
    with pytest.raises(InputError, match="doubling: x holds NaN"):
        list(FakeSession().run_batched([np.full(2, np.nan, np.float32)]))
    with pytest.raises(InputError, match="got dtype float64"):
        list(FakeSession().run_batched([np.zeros(2)]))


def test_a_session_that_is_closed_meanwhile() -> None:
    session = FakeSession()
    outputs = session.run_batched(pairs(100))
    next(outputs)
    session.close()
    with pytest.raises(SessionClosedError, match="doubling: the session was closed"):
        list(outputs)
    assert batch_threads() == []
