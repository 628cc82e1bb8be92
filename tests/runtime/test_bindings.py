"""Buffers on a device, tried with the CPU as the device; and page-locked memory."""

from __future__ import annotations

import ctypes
import gc
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_artifacts import WEIGHT, demo_artifacts, linear, reshaping
from voxport.runtime import pinned
from voxport.runtime.bindings import BoundCalls
from voxport.runtime.pinned import pinned_empty

CPU = ["CPUExecutionProvider"]


class Allocator:
    """Host memory as ``pinned_empty`` gives it; keeps what it gave."""

    def __init__(self) -> None:
        self.given: list[np.ndarray] = []

    def __call__(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        self.given.append(np.empty(shape, dtype))
        return self.given[-1]


class CountingOrt:
    """``onnxruntime`` that keeps the device memory it gave, and every run's options."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.options: list[Any] = []
        self.OrtValue = self

    def ortvalue_from_shape_and_type(self, *args: Any) -> Any:
        self.values.append(onnxruntime.OrtValue.ortvalue_from_shape_and_type(*args))
        return self.values[-1]

    def RunOptions(self) -> Any:  # noqa: N802 -- ONNX Runtime's name
        self.options.append(onnxruntime.RunOptions())
        return self.options[-1]

    def graph_ids(self) -> list[str]:
        return [options.get_run_config_entry("gpu_graph_id") for options in self.options]


def bound(
    content: bytes, ort: Any = onnxruntime, allocate: Any = np.empty, graphs: bool = False
) -> BoundCalls:
    session = onnxruntime.InferenceSession(content, providers=CPU)
    return BoundCalls(ort, session, ("cpu", 0), allocate, graphs)


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3)).astype(np.float32)


# Results


def test_the_results_are_those_of_the_session() -> None:
    rng = np.random.default_rng(0)
    for described, content in demo_artifacts():
        calls, session = bound(content), onnxruntime.InferenceSession(content, providers=CPU)
        sizes = {"batch": 2, "samples": 160, "frames": 10, "speakers": 3, "size": 4, "database": 5}
        for _ in range(3):  # the first call of a shape goes another way than later ones
            inputs = {
                spec.name: rng.standard_normal(
                    [axis if isinstance(axis, int) else sizes[axis] for axis in spec.axes]
                ).astype(np.float32)
                for spec in described.inputs
            }
            found = calls.run(inputs)
            names = [spec.name for spec in described.outputs]
            assert list(found) == names
            for name, expected in zip(names, session.run(names, inputs), strict=True):
                np.testing.assert_array_equal(found[name], expected)


@pytest.mark.parametrize("graphs", [False, True])
def test_outputs_belong_to_the_caller(graphs: bool) -> None:
    calls = bound(linear()[1], CountingOrt(), graphs=graphs)
    inputs = [rows(4, seed) for seed in range(5)]
    outputs = [calls.run({"x": x})["y"] for x in inputs]
    calls.clear()
    del calls
    gc.collect()
    for x, y in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(y, x @ WEIGHT, rtol=1e-6)
        assert y.flags.writeable
    assert len({y.ctypes.data for y in outputs}) == 5


def test_an_axis_without_entries() -> None:
    calls = bound(linear()[1])
    for _ in range(3):
        assert calls.run({"x": rows(0)})["y"].shape == (0, 2)


# Buffers


def test_buffers_are_allocated_once_for_each_shape() -> None:
    ort, allocator = CountingOrt(), Allocator()
    calls = bound(linear()[1], ort, allocator)
    for seed in range(20):
        for count in (2, 5):
            x = rows(count, seed)
            np.testing.assert_allclose(calls.run({"x": x})["y"], x @ WEIGHT, rtol=1e-6)
    assert [array.shape for array in allocator.given] == [(2, 3), (5, 3)]
    # An input and an output each; the inputs went through this very memory.
    assert [value.shape() for value in ort.values] == [[2, 3], [2, 2], [5, 3], [5, 2]]
    np.testing.assert_array_equal(allocator.given[1], rows(5, 19))
    np.testing.assert_array_equal(ort.values[2].numpy(), rows(5, 19))
    np.testing.assert_allclose(ort.values[3].numpy(), rows(5, 19) @ WEIGHT, rtol=1e-6)


def test_shapes_that_were_not_used_for_long_are_let_go() -> None:
    allocator = Allocator()
    calls = bound(linear()[1], allocate=allocator)
    for count in (1, 2, 3, 4, 5, 6, 7, 8, 1, 9):  # 9 takes the place of 2
        calls.run({"x": rows(count)})
    assert len(allocator.given) == 9
    calls.run({"x": rows(1)})
    assert len(allocator.given) == 9
    calls.run({"x": rows(2)})
    assert len(allocator.given) == 10


def test_an_error_lets_all_buffers_go() -> None:
    allocator = Allocator()
    calls = bound(reshaping()[1], allocate=allocator)
    good = {"x": np.arange(8, dtype=np.float32)}
    calls.run(good)
    with pytest.raises(Exception, match="Reshape"):
        calls.run({"x": np.zeros(7, np.float32)})
    assert calls.run(good)["y"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [array.shape for array in allocator.given] == [(8,), (7,), (8,)]


def test_memory_that_cannot_be_had_lets_all_buffers_go() -> None:
    allocator = Allocator()
    calls = bound(linear()[1], allocate=allocator)
    calls.run({"x": rows(2)})

    def full(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        raise MemoryError(f"no room for {shape}")

    calls._allocate = full
    with pytest.raises(MemoryError, match="no room"):
        calls.run({"x": rows(3)})
    calls._allocate = allocator
    calls.run({"x": rows(2)})
    assert [array.shape for array in allocator.given] == [(2, 3), (2, 3)]


# Threads


class Meeting:
    """A session whose first ``parties`` calls are under way at once."""

    def __init__(self, session: Any, parties: int) -> None:
        self._session, self._barrier = session, threading.Barrier(parties)
        self._left = parties
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        with self._lock:
            self._left -= 1
            meets = self._left >= 0
        if meets:
            self._barrier.wait(timeout=60)
        self._session.run_with_iobinding(binding, options)


def test_calls_at_once_have_buffers_of_their_own() -> None:
    allocator = Allocator()
    session = Meeting(onnxruntime.InferenceSession(linear()[1], providers=CPU), 4)
    calls = BoundCalls(onnxruntime, session, ("cpu", 0), allocator, False)
    inputs = [rows(4, seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda x: calls.run({"x": x})["y"], inputs))
    for x, y in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(y, x @ WEIGHT, rtol=1e-6)
    # And no more than that.
    assert len(allocator.given) == 4


@given(st.lists(st.integers(2, 12), max_size=40), st.booleans())
def test_calls_from_threads_equal_sequential_ones(counts: list[int], graphs: bool) -> None:
    calls = bound(linear()[1], CountingOrt(), graphs=graphs)
    inputs = [rows(count, seed) for seed, count in enumerate(counts)]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda x: calls.run({"x": x})["y"], inputs))
    for x, y in zip(inputs, outputs, strict=True):
        np.testing.assert_allclose(y, x @ WEIGHT, rtol=1e-6)


# CUDA graphs


def test_a_shape_is_recorded_from_its_second_call_on() -> None:
    ort = CountingOrt()
    calls = bound(linear()[1], ort, graphs=True)
    for count in (2, 2, 2, 5, 5, 2):
        calls.run({"x": rows(count)})
    # -1 neither records nor replays; each set of buffers has a number of its own.
    assert ort.graph_ids() == ["-1", "1", "1", "-1", "2", "1"]


def test_buffers_that_come_again_are_recorded_anew() -> None:
    ort = CountingOrt()
    calls = bound(linear()[1], ort, graphs=True)
    for _ in range(2):
        for _ in range(2):
            calls.run({"x": rows(2)})
        calls.clear()
    assert ort.graph_ids() == ["-1", "1", "-1", "2"]


def test_without_graphs_there_are_no_options() -> None:
    ort = CountingOrt()
    calls = bound(linear()[1], ort)
    calls.run({"x": rows(2)})
    calls.run({"x": rows(2)})
    assert ort.options == []


def test_graphs_are_run_by_one_thread() -> None:
    seen: set[int] = set()

    class Watched(Meeting):
        def run_with_iobinding(self, binding: Any, options: Any) -> None:
            seen.add(threading.get_ident())
            super().run_with_iobinding(binding, options)

    session = Watched(onnxruntime.InferenceSession(linear()[1], providers=CPU), 0)
    calls = BoundCalls(CountingOrt(), session, ("cpu", 0), np.empty, True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: calls.run({"x": rows(3, seed)}), range(20)))
    assert len(seen) == 1


# Page-locked memory


class FakeCudart:
    """CUDA's runtime as ctypes gives it: page-locks what it is told to."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.locked: dict[int, int] = {}
        self.last_error = 0

    def cudaHostRegister(  # noqa: N802 -- CUDA's name
        self, pointer: ctypes.c_void_p, size: ctypes.c_size_t, flags: int
    ) -> int:
        assert isinstance(pointer, ctypes.c_void_p)
        assert isinstance(size, ctypes.c_size_t)
        assert flags == 1
        if self.code == 0:
            self.locked[pointer.value or 0] = size.value
        self.last_error = self.code
        return self.code

    def cudaHostUnregister(self, pointer: ctypes.c_void_p) -> int:  # noqa: N802
        del self.locked[pointer.value or 0]
        return 0

    def cudaGetLastError(self) -> int:  # noqa: N802
        error, self.last_error = self.last_error, 0
        return error


@pytest.fixture
def cudart(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCudart]:
    fake = FakeCudart()
    monkeypatch.setattr(pinned, "_cudart", lambda: fake)
    yield fake
    gc.collect()


def test_memory_is_page_locked_as_long_as_it_lives(cudart: FakeCudart) -> None:
    array = pinned_empty((4, 3), np.float32)
    assert (array.shape, array.dtype) == ((4, 3), np.float32)
    assert cudart.locked == {array.ctypes.data: 48}
    view = array[1:]
    del array
    gc.collect()
    assert len(cudart.locked) == 1
    del view
    gc.collect()
    assert cudart.locked == {}


def test_memory_of_no_size_is_not_page_locked(cudart: FakeCudart) -> None:
    assert pinned_empty((0, 3), np.float32).shape == (0, 3)
    assert cudart.locked == {}


def test_memory_that_may_not_be_page_locked_is_ordinary(
    cudart: FakeCudart, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "voxport")
    cudart.code = 712
    array = pinned_empty((4,), np.float32)
    array[:] = 1
    assert caplog.messages == ["16 bytes could not be page-locked: CUDA error 712"]
    # The error is not left for the next one who asks.
    assert cudart.last_error == 0
    del array
    gc.collect()  # nothing is unlocked that was not locked


def test_without_cuda_memory_is_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    pinned._cudart.cache_clear()
    try:
        array = pinned_empty((2, 2), np.float32)
    finally:
        pinned._cudart.cache_clear()
    array[:] = 1
    assert array.sum() == 4


def test_the_library_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def found(name: str) -> FakeCudart:
        asked.append(name)
        if name == "libcudart.so.13":
            raise OSError("not this one")
        return FakeCudart()

    monkeypatch.setattr(ctypes, "CDLL", found)
    pinned._cudart.cache_clear()
    try:
        kept = [pinned_empty((2,), np.float32) for _ in range(3)]
    finally:
        pinned._cudart.cache_clear()
    assert asked == ["libcudart.so.13", "libcudart.so.12"]
    del kept


def test_bound_calls_unlock_what_they_let_go(cudart: FakeCudart) -> None:
    calls = bound(linear()[1], allocate=pinned_empty)
    for count in range(2, 6):
        calls.run({"x": rows(count)})
    assert sorted(cudart.locked.values()) == [24, 36, 48, 60]
    calls.clear()
    gc.collect()
    assert cudart.locked == {}
