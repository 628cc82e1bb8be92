"""Which providers a session asks for, and what it says where it does not get them."""

from __future__ import annotations

import logging
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from environments import ENVIRONMENTS
from fake_session import twice
from tiny_artifacts import WEIGHT, linear
from voxport.runtime import (
    DeviceError,
    Options,
    plan_device,
)
from voxport.runtime.batching import BatchPlan
from voxport.runtime.onnx_session import OnnxSession

X = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]], np.float32)
CPU = "CPUExecutionProvider"
CUDA_STRICT = plan_device("cuda", ENVIRONMENTS["card"])
CUDA_LENIENT = plan_device("auto", ENVIRONMENTS["card"])


def session(**choices: Any) -> OnnxSession:
    return OnnxSession(linear()[1], "net.onnx", **choices)


class Recorder:
    """An ONNX Runtime with CUDA: what it is asked for, and sessions that have ``active``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *active: str) -> None:
        self.asked: list[Any] = []
        self.preloads = 0
        real = onnxruntime.InferenceSession

        def made(content: bytes, options: Any, *, providers: Any, enable_fallback: bool) -> Any:
            self.asked.append(providers)
            assert not enable_fallback
            opened = real(content, options, providers=[CPU])
            monkeypatch.setattr(opened, "get_providers", lambda: list(active))
            assignments = [SimpleNamespace(ep_name=active[0], get_nodes=list)]
            monkeypatch.setattr(
                opened, "get_provider_graph_assignment_info", lambda: assignments, raising=False
            )
            return opened

        monkeypatch.setattr(onnxruntime, "InferenceSession", made)
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU]
        )
        monkeypatch.setattr(onnxruntime, "preload_dlls", self._preload, raising=False)

    def _preload(self) -> None:
        self.preloads += 1


def test_providers_are_asked_for_in_order_with_their_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder(monkeypatch, "CUDAExecutionProvider", CPU)
    loaded = session(plan=CUDA_STRICT)
    assert recorder.asked == [list(CUDA_STRICT.providers)]
    assert [name for name, _ in recorder.asked[0]] == ["CUDAExecutionProvider", CPU]
    assert recorder.asked[0][0][1]["use_tf32"] == "0"
    assert recorder.preloads == 1
    assert (loaded.device, loaded.remarks, loaded.plan) == ("cuda:0", (), CUDA_STRICT)
    assert loaded._workers == 2
    batches = OnnxSession(twice(), "net.onnx", plan=CUDA_STRICT, batch_size=64)
    assert batches._batch == BatchPlan(64, None, pads=True)


def test_cuda_graphs_run_one_call_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    Recorder(monkeypatch, "CUDAExecutionProvider", CPU)
    choices = Options(cuda_graphs=True, batch_buckets=(1, 8))
    loaded = session(plan=CUDA_STRICT, options=choices)
    assert (loaded._workers, loaded._warmup_calls) == (1, 2)


def test_the_cpu_needs_no_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch, CPU)
    session()
    assert (recorder.preloads, recorder.asked) == (0, [[(CPU, {})]])


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="a build with CUDA"
)
def test_a_build_without_the_provider(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DeviceError, match=r"net\.onnx: cuda:0 was asked for, but .* without CUDAE"):
        session(plan=CUDA_STRICT)
    assert caplog.records == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # ONNX Runtime's own
        loaded = session(plan=CUDA_LENIENT)
    problem = f"the session runs on {CPU} without CUDAExecutionProvider"
    assert (loaded.device, loaded.remarks) == ("cpu", (problem,))
    assert (loaded.plan.device, loaded.plan.is_fallback) == ("cpu", True)
    assert caplog.messages == [f"net.onnx: {problem}"]
    np.testing.assert_array_equal(loaded.run(x=X)["y"], X @ WEIGHT)
    # The batch size of a card is not that of the CPU it fell back to.
    fallen = OnnxSession(twice(), "net.onnx", plan=CUDA_LENIENT, batch_size=64)
    assert fallen._batch == BatchPlan(8)


@pytest.mark.parametrize("plan", [CUDA_STRICT, CUDA_LENIENT])
def test_a_provider_that_onnx_runtime_left_out(
    plan: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Its library could not be loaded: it logs that, and gives a session on the CPU.
    Recorder(monkeypatch, CPU)
    if plan.strict:
        with pytest.raises(DeviceError, match="cuda:0 was asked for"):
            session(plan=plan)
        return
    assert session(plan=plan).device == "cpu"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_file_that_does_not_load_on_a_card_is_the_cards_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Recorder(monkeypatch, "CUDAExecutionProvider", CPU)
    with pytest.raises(DeviceError, match=r"cannot load it on cuda:0: .*`voxport doctor`"):
        OnnxSession(b"garbage", "net.onnx", plan=CUDA_STRICT)


def test_nodes_on_the_cpu_of_a_card(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Recorder(monkeypatch, "CUDAExecutionProvider", CPU)
    placed = {CPU: {"LSTM": 1}}
    monkeypatch.setattr("voxport.runtime.onnx_session.read_placement", lambda _: placed)
    with pytest.raises(DeviceError, match=r"1 compute nodes run on the CPU \(LSTM 1\)"):
        session(plan=CUDA_STRICT)
    loaded = session(plan=CUDA_LENIENT)
    assert (loaded.device, loaded.placement) == ("cuda:0", placed)
    assert loaded.remarks == ("1 compute nodes run on the CPU (LSTM 1)",)
    assert caplog.messages == ["net.onnx: 1 compute nodes run on the CPU (LSTM 1)"]


def test_placement_on_the_cpu() -> None:
    assert session().placement == {CPU: {"MatMul": 1}}
