"""Sessions on ONNX Runtime: calls, batches, options, memory that is not there, closing."""

from __future__ import annotations

import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from environments import ENVIRONMENTS
from fake_session import FakeSession, twice
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from tiny_artifacts import WEIGHT, WINDOW, demo_artifacts, description, graph, linear
from voxport.runtime import (
    InputError,
    Options,
    OutOfMemoryError,
    SessionClosedError,
    TensorSpec,
    VoxportError,
    plan_device,
)
from voxport.runtime.batching import BatchPlan
from voxport.runtime.inputs import Arrays, checked_inputs
from voxport.runtime.onnx_session import CPU_PLAN, OnnxSession
from voxport.runtime.session import memory_error
from voxport.runtime.synthetic import example_inputs

X = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]], np.float32)
CUDA_STRICT = plan_device("cuda", ENVIRONMENTS["card"])


def session(**choices: Any) -> OnnxSession:
    return OnnxSession(linear()[1], "net.onnx", **choices)


class Spy:
    """ONNX Runtime's session, and what it was given and gave."""

    def __init__(self, owner: OnnxSession) -> None:
        self._session = owner._session
        owner._session = self
        self.fed: list[Arrays] = []
        self.gave: list[Any] = []

    def run(self, names: list[str], inputs: Arrays) -> Any:
        self.fed.append(inputs)
        self.gave.append(self._session.run(names, inputs))
        return self.gave[-1]


# Calls


@given(st.lists(st.tuples(st.integers(2, 9), st.integers(0, 100)), max_size=40))
def test_calls_from_threads_equal_sequential_ones(calls: list[tuple[int, int]]) -> None:
    loaded = session()
    batches = [
        np.random.default_rng(seed).standard_normal((rows, 3)).astype(np.float32)
        for rows, seed in calls
    ]
    expected = [loaded.run(x=batch)["y"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: loaded.run(x=batch)["y"], batches))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


# Batches, through ONNX Runtime


def test_run_batched_gives_what_run_gives() -> None:
    loaded = OnnxSession(twice(), "net.onnx", batch_size=4)
    items = [np.full(3, index, np.float32) for index in range(11)]
    found = [output["y"] for output in loaded.run_batched(iter(items))]
    np.testing.assert_array_equal(found, loaded.run(x=np.stack(items))["y"])


def test_what_has_no_batch_axis_cannot_be_batched() -> None:
    loaded = session()
    assert loaded.batch_size == 1
    with pytest.raises(InputError, match="linear: nothing can be batched, x, y have no batch axis"):
        loaded.run_batched([X])


def test_buckets_of_the_options() -> None:
    choices = Options(batch_buckets=(2, 4))
    loaded = OnnxSession(twice(), "net.onnx", options=choices, batch_size=64)
    assert loaded.batch_size == 4
    spy = Spy(loaded)
    items = [np.full(3, index, np.float32) for index in range(9)]
    assert len(list(loaded.run_batched(items))) == 9
    assert [len(fed["x"]) for fed in spy.fed] == [4, 4, 2]


# Warming up


@pytest.mark.parametrize(
    ("batch", "sizes"),
    [
        (BatchPlan(8), [8]),
        (BatchPlan(8, (1, 4, 8, 16)), [1, 4, 8]),
        (BatchPlan(6, pads=True), [1, 2, 4, 6]),
    ],
)
def test_warming_up_runs_every_size(batch: BatchPlan, sizes: list[int]) -> None:
    loaded = FakeSession(batch=batch)
    assert loaded.warmup() is loaded
    assert loaded.sizes == sizes
    loaded.warmup([3, 5])
    assert loaded.sizes == [*sizes, 3, 5]
    loaded.sizes.clear()
    loaded._warmup_calls = 2
    loaded.warmup([3, 5])
    assert loaded.sizes == [3, 3, 5, 5]


def test_optimising_for_a_card_warms_up_there_only() -> None:
    on_cpu, on_card = FakeSession(), FakeSession(plan=CUDA_STRICT)
    assert on_cpu.optimize_for_gpu(16) is on_cpu
    assert (on_cpu.batch_size, on_cpu.sizes) == (16, [])
    assert on_card.optimize_for_gpu().optimize_for_gpu(16) is on_card
    assert (on_card.batch_size, on_card.sizes) == (16, [8, 16])
    with pytest.raises(InputError, match="a whole number from 1, got 0"):
        on_card.optimize_for_gpu(0)


def test_warming_up_takes_windows_of_the_recipe() -> None:
    loaded = OnnxSession(demo_artifacts()[0][1], "net.onnx", batch_size=4)
    spy = Spy(loaded)
    loaded.warmup()
    assert [fed["waveform"].shape for fed in spy.fed] == [(4, 1, WINDOW)]


def test_example_inputs_keep_to_what_the_artifact_takes() -> None:
    described = replace(
        description(
            "any",
            [
                TensorSpec("waveform", "float32", ("batch", 1, "samples")),
                TensorSpec("masks", "float32", ("batch", "speakers", "frames")),
                TensorSpec("indices", "int64", ("batch", "database")),
                TensorSpec("other", "float32", ("unknown", 7)),
            ],
            [],
            window_frames=100,
        ),
        sizes={"samples": (800, 1600)},
        maximums={"speakers": 2},
        minimums={"database": 9},
    )
    inputs = example_inputs(described, 5)
    assert {name: array.shape for name, array in inputs.items()} == {
        "waveform": (5, 1, 800),
        "masks": (5, 2, 100),
        "indices": (5, 9),
        "other": (1, 7),
    }
    assert [array.dtype for array in inputs.values()] == ["float32", "float32", "int64", "float32"]
    assert checked_inputs(described, inputs).keys() == inputs.keys()


# Options


def test_options_reach_onnx_runtime() -> None:
    def configured(**changes: Any) -> Any:
        return session(options=Options(**changes))._session.get_session_options()

    plain = configured()
    assert plain.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert plain.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert plain.log_severity_level == 3
    assert configured(intra_op_threads=3).intra_op_num_threads == 3
    parallel = configured(inter_op_threads=2)
    assert parallel.inter_op_num_threads == 2
    assert parallel.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL


@pytest.mark.parametrize(
    ("level", "name"),
    [
        ("off", "ORT_DISABLE_ALL"),
        ("basic", "ORT_ENABLE_BASIC"),
        ("extended", "ORT_ENABLE_EXTENDED"),
        ("all", "ORT_ENABLE_ALL"),
    ],
)
def test_graph_optimisation(level: Any, name: str) -> None:
    loaded = session(options=Options(graph_optimisation=level))
    found = loaded._session.get_session_options().graph_optimization_level
    assert found == getattr(onnxruntime.GraphOptimizationLevel, name)
    np.testing.assert_array_equal(loaded.run(x=X)["y"], X @ WEIGHT)


# Memory


@pytest.mark.parametrize(
    "message",
    [
        "bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 1073741824",
        "Available memory of 1024 is smaller than requested bytes of 4096",
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; expr=cudaMalloc",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
        "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "std::bad_alloc",
        "bad allocation",
        "Unable to allocate 4.00 TiB for an array with shape (1,)",
    ],
)
def test_messages_about_memory(message: str) -> None:
    error = memory_error(message)
    assert isinstance(error, OutOfMemoryError)
    assert message[:40] in str(error)


@pytest.mark.parametrize(
    "message",
    ["Got invalid dimensions for input: x", "CUDA failure 700: an illegal memory access", ""],
)
def test_messages_about_other_things(message: str) -> None:
    assert memory_error(message) is None


def expanding(size: int) -> OnnxSession:
    """y is x repeated ``size`` times."""
    described = description(
        "expanding",
        [TensorSpec("x", "float32", ("batch", 1))],
        [TensorSpec("y", "float32", ("batch", size))],
    )
    nodes = [helper.make_node("Expand", ["x", "shape"], ["y"])]
    return OnnxSession(graph(described, nodes, {"shape": np.array([1, size], np.int64)}), "n.onnx")


def test_memory_that_onnx_runtime_does_not_get() -> None:
    with pytest.raises(OutOfMemoryError, match=r"^expanding failed on \{'x': \(1, 1\)\}: out of m"):
        expanding(2**42).run(x=np.ones((1, 1), np.float32))


class Failing:
    """An engine that raises the same on every call."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, *_: Any) -> Any:
        raise self._error


def test_memory_that_python_does_not_get() -> None:
    loaded = session()
    loaded._session = Failing(MemoryError("std::bad_alloc"))
    with pytest.raises(OutOfMemoryError, match=r"linear failed on .*bad_alloc"):
        loaded.run(x=X)


def test_out_of_memory_halves_the_batch_of_a_real_session() -> None:
    loaded = OnnxSession(twice(), "net.onnx", batch_size=8)
    real = loaded._session
    full = loaded._errors[0]("Failed to allocate memory for requested buffer of size 96")

    class Small:
        def run(self, names: list[str], inputs: Arrays) -> Any:
            if len(inputs["x"]) > 3:
                raise full
            return real.run(names, inputs)

    loaded._session = Small()
    items = [np.full(3, index, np.float32) for index in range(21)]
    found = [output["y"] for output in loaded.run_batched(items)]
    np.testing.assert_array_equal(found, 2 * np.stack(items))
    assert loaded.batch_size == 2


# Closing


def test_a_closed_session_does_not_run() -> None:
    with session() as loaded:
        assert loaded.run(x=X)["y"].shape == (2, 2)
    for _ in range(2):
        loaded.close()
        with pytest.raises(SessionClosedError, match="linear: the session was closed"):
            loaded.run(x=X)
    with pytest.raises(SessionClosedError):
        loaded.warmup()
    # What it was can still be told.
    assert repr(loaded).startswith("<linear fp32 on cpu: ")


def test_closing_releases_once_and_after_errors_too() -> None:
    loaded = FakeSession()
    with pytest.raises(RuntimeError, match="lost"), loaded:
        raise RuntimeError("lost")
    loaded.close()
    assert loaded.released == 1


def test_closing_gives_the_graph_back() -> None:
    loaded = session()
    gone = threading.Event()

    class Marker:
        def __del__(self) -> None:
            gone.set()

    loaded._session = Marker()
    loaded.close()
    gc.collect()
    assert gone.is_set()


def test_a_session_that_is_closed_during_a_call() -> None:
    loaded = session()
    real = loaded._session

    class Closing:
        def run(self, names: list[str], inputs: Arrays) -> Any:
            loaded.close()
            return real.run(names, inputs)

    loaded._session = Closing()
    # The call that is under way ends well.
    np.testing.assert_array_equal(loaded.run(x=X)["y"], X @ WEIGHT)
    # One that had been let in before is refused as any other.
    loaded._closed = False
    with pytest.raises(SessionClosedError, match="the session was closed"):
        loaded.run(x=X)


# Profiles


def test_a_profile_is_written(tmp_path: Path) -> None:
    loaded = session(profile_to=tmp_path / "profile")
    loaded.run(x=X)
    path = loaded.end_profiling()
    assert path.parent == tmp_path
    assert path.name.startswith("profile")
    events = json.loads(path.read_text(encoding="utf-8"))
    assert any("MatMul" in json.dumps(event) for event in events)


def test_no_profile_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session().run(x=X)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_session_has_no_profile(tmp_path: Path) -> None:
    loaded = session(profile_to=tmp_path / "profile")
    loaded.close()
    with pytest.raises(SessionClosedError):
        loaded.end_profiling()


def test_other_errors_are_told_with_the_shapes() -> None:
    loaded = session()
    loaded._session = Failing(loaded._errors[0]("Non-zero status code"))
    with pytest.raises(
        VoxportError, match=r"^linear failed on \{'x': \(2, 3\)\}: Non-zero"
    ) as found:
        loaded.run(x=X)
    assert type(found.value) is VoxportError


def test_identity_tells_files_apart() -> None:
    other = OnnxSession(twice(), "net.onnx")
    assert session().identity == session(plan=replace(CPU_PLAN, strict=False)).identity
    assert len(session().identity) == 64
    assert session().identity != other.identity
