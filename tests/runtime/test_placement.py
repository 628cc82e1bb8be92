"""Where nodes run: what ONNX Runtime tells, and what a plan makes of it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
from environments import ENVIRONMENTS
from tiny_artifacts import demo_artifacts
from voxport.runtime import DeviceError, DevicePlan, plan_device
from voxport.runtime.placement import (
    COMPUTE_OPS,
    CPU_PROVIDER,
    actual_plan,
    check_placement,
    read_placement,
)

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", CPU_PROVIDER
STRICT = plan_device("cuda", ENVIRONMENTS["card"])
LENIENT = plan_device("auto", ENVIRONMENTS["card"])
ON_CPU = plan_device("cpu", ENVIRONMENTS["linux"])
BEYOND = plan_device("tensorrt", ENVIRONMENTS["card, TensorRT"], fallback=True)


def fake_session(parts: list[tuple[str, list[str]]]) -> Any:
    """What tells of assignments as ``onnxruntime.InferenceSession`` does, part by part."""
    assignments = [
        SimpleNamespace(
            ep_name=provider,
            get_nodes=lambda ops=ops: [SimpleNamespace(op_type=op) for op in ops],
        )
        for provider, ops in parts
    ]
    return SimpleNamespace(get_provider_graph_assignment_info=lambda: assignments)


# Reading


def test_nodes_are_counted_by_provider_and_operator() -> None:
    parts = [(CUDA, ["Conv", "Relu", "Conv"]), (CPU, ["Gather"]), (CUDA, ["Conv", "MatMul"])]
    found = read_placement(fake_session(parts))
    assert found == {CUDA: {"Conv": 3, "Relu": 1, "MatMul": 1}, CPU: {"Gather": 1}}
    assert read_placement(fake_session([])) == {}


def test_an_onnx_runtime_that_does_not_tell() -> None:
    assert read_placement(object()) is None


def test_a_real_session() -> None:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    _, content = demo_artifacts()[0]
    session = onnxruntime.InferenceSession(content, options, providers=[CPU])
    found = read_placement(session)
    assert found is not None
    assert list(found) == [CPU]
    assert set(found[CPU]) & COMPUTE_OPS


# Checking


@pytest.mark.parametrize(
    ("plan", "providers", "placement"),
    [
        (STRICT, [CUDA, CPU], {CUDA: {"Conv": 9, "LSTM": 4}}),
        # Shapes and indices belong on the CPU.
        (STRICT, [CUDA, CPU], {CUDA: {"Conv": 9}, CPU: {"Gather": 3, "Shape": 2, "Concat": 1}}),
        (STRICT, [CUDA, CPU], {}),
        (STRICT, [CUDA, CPU], None),
        (ON_CPU, [CPU], {CPU: {"Conv": 9}}),
        (BEYOND, [TENSORRT, CUDA, CPU], {TENSORRT: {"Conv": 9}, CUDA: {"MatMul": 1}}),
    ],
)
def test_all_is_where_it_should_be(plan: DevicePlan, providers: list[str], placement: Any) -> None:
    assert check_placement(plan, providers, placement, "net.onnx") == ()
    assert actual_plan(plan, providers, ()) is plan


def test_compute_nodes_on_the_cpu() -> None:
    placement = {CUDA: {"Conv": 9}, CPU: {"LSTM": 4, "Gather": 7, "Softmax": 1}}
    problem = "5 compute nodes run on the CPU (LSTM 4, Softmax 1)"
    with pytest.raises(DeviceError) as caught:
        check_placement(STRICT, [CUDA, CPU], placement, "net.onnx")
    assert str(caught.value) == (
        f"net.onnx: cuda:0 was asked for, but {problem}. Use device='auto' or fallback=True to "
        "accept that; `voxport doctor` may tell why."
    )
    remarks = check_placement(LENIENT, [CUDA, CPU], placement, "net.onnx")
    assert remarks == (problem,)
    # Slow, but on the card.
    assert actual_plan(LENIENT, [CUDA, CPU], remarks) is LENIENT


@pytest.mark.parametrize("op", sorted(COMPUTE_OPS))
def test_every_compute_operator_counts(op: str) -> None:
    with pytest.raises(DeviceError, match=rf"1 compute nodes run on the CPU \({op} 1\)"):
        check_placement(STRICT, [CUDA, CPU], {CPU: {op: 1}}, "net.onnx")


@pytest.mark.parametrize("placement", [None, {CPU: {"Conv": 1}}])
def test_a_missing_provider(placement: Any) -> None:
    problem = f"the session runs on {CPU} without {CUDA}"
    with pytest.raises(DeviceError, match=f"cuda:0 was asked for, but {problem}"):
        check_placement(STRICT, [CPU], placement, "net.onnx")
    remarks = check_placement(LENIENT, [CPU], placement, "net.onnx")
    assert remarks == (problem,)
    plan = actual_plan(LENIENT, [CPU], remarks)
    assert (plan.device, plan.is_fallback, plan.requested) == ("cpu", True, "auto")
    assert plan.providers == ((CPU, {}),)
    assert plan.reasons[0] == f"cuda:0 failed: {problem}"


def test_tensorrt_falls_back_to_cuda_or_the_cpu() -> None:
    second = replace(BEYOND, device="tensorrt:1")
    remarks = check_placement(second, [CUDA, CPU], {CUDA: {"Conv": 1}}, "net.onnx")
    assert remarks == (f"the session runs on {CUDA}, {CPU} without {TENSORRT}",)
    plan = actual_plan(second, [CUDA, CPU], remarks)
    assert (plan.device, [name for name, _ in plan.providers]) == ("cuda:1", [CUDA, CPU])
    assert actual_plan(second, [CPU], remarks).device == "cpu"
