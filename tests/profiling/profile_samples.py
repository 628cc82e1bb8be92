"""What the tests of profiles share: a tiny network, figures of a stage, and profiles as ONNX
Runtime writes them for a session on a card, hand-written, with and without the card's events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx
import tiny_artifacts
from voxport.runtime import Description
from voxport.runtime.manifest import METADATA_KEY
from voxport.runtime.profiling import OperatorTime, Parts, StageProfile
from voxport.runtime.profiling.distribution import KERNEL_EVENTS

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


STAGE = StageProfile(
    name="segmentation",
    precision="fp32",
    device="cuda:0",
    basis=KERNEL_EVENTS,
    batch_size=32,
    num_windows=64,
    num_calls=2,
    audio_duration_s=640.0,
    rounds=3,
    load_s=0.5,
    first_call_s=1.5,
    parts=Parts(0.01, 0.02, 0.03, 0.1, 0.015, 0.025),
    operators=(OperatorTime("Conv", "CUDAExecutionProvider", 6, 0.01, 0.1),),
    num_device_nodes=100,
    launch_share=0.2,
    peak_host_bytes=300_000_000,
    peak_device_bytes=None,
)


def network() -> tuple[Description, bytes]:
    """The tiny segmentation with a checkpoint: a network, which ``all`` takes."""
    described, content = tiny_artifacts.demo_artifacts()[0]
    checkpoint = {"name": "tiny", "origin": "a test", "licence": "MIT", "sha256": "0" * 64}
    described = replace(described, checkpoints=(checkpoint,))
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    return described, model.SerializeToString()


def _event(category: str, name: str, ts: int, dur: int, **arguments: str) -> dict[str, Any]:
    thread = -1 if category == "Kernel" else 21
    event = {"cat": category, "pid": thread, "tid": thread, "dur": dur, "ts": ts, "ph": "X"}
    return {**event, "name": name, "args": arguments}


def _node(name: str, op: str, ts: int, dur: int, provider: str, peak: int) -> dict[str, Any]:
    told = {"op_name": op, "provider": provider, "mem_in_use_peak": str(peak)}
    return _event("Node", f"{name}_kernel_time", ts, dur, **told)


def _kernel(name: str, op: str, ts: int, dur: int) -> dict[str, Any]:
    told = {"stream": "7", "grid_x": "1", "block_x": "256"}
    if op:
        told |= {"op_name": op, "parent_name": f"{op}_kernel_time"}
    return _event("Kernel", name, ts, dur, **told)


def call(at_us: int, *, kernels: bool) -> list[dict[str, Any]]:
    """One call of 1,000 us; the card's clock runs 40,000 us ahead.

    Kernels compute in 450 us (two streams, 50 us of overlap) and 150 us; copies take 30 us within
    operators, 20 us back, and 10 us outside any operator. A node on the CPU takes 60 us.
    """
    card = at_us + 40_000
    events = [
        _event("Session", "model_run", at_us, 1000),
        _kernel("MemcpyHostToDevice", "", card + 2, 10),
        _event("Session", "SequentialExecutor::Execute", at_us + 5, 950),
        _node("up", "MemcpyFromHost", at_us + 10, 20, _CUDA, 5_000_000),
        _kernel("MemcpyHostToDevice", "MemcpyFromHost", card + 12, 30),
        _node("first", "Conv", at_us + 40, 40, _CUDA, 9_000_000),
        _kernel("implicit_gemm", "Conv", card + 50, 400),
        _kernel("bias", "Conv", card + 400, 100),
        _node("shape", "Shape", at_us + 90, 60, _CPU, 77_000_000),
        _node("second", "Conv", at_us + 160, 30, _CUDA, 8_000_000),
        _kernel("implicit_gemm", "Conv", card + 600, 150),
        _node("down", "MemcpyToHost", at_us + 200, 700, _CUDA, 8_000_000),
        _kernel("MemcpyDeviceToHost", "MemcpyToHost", card + 800, 20),
    ]
    return events if kernels else [event for event in events if event["cat"] != "Kernel"]


def calls(count: int, *, kernels: bool) -> list[dict[str, Any]]:
    """A session's profile with so many calls."""
    events = [_event("Session", "session_initialization", 10, 5000)]
    for index in range(count):
        events += call(10_000 + 2_000 * index, kernels=kernels)
    return events
