"""Figures from traces of a card and of the CPU, computed by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from profile_samples import STAGE, calls
from voxport.runtime.profiling import Parts, StageProfile
from voxport.runtime.profiling.distribution import (
    KERNEL_EVENTS,
    OPERATORS,
    OUTSIDE,
    SYNCHRONISED,
    distribution,
)
from voxport.runtime.profiling.measuring import ProfiledCalls, Round
from voxport.runtime.profiling.profiler import divided, scaled_operators
from voxport.runtime.profiling.trace import NodeEvent, RunEvent, Trace, parse_trace

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def cuda_trace(count: int, *, kernels: bool) -> Trace:
    return parse_trace(json.dumps(calls(count, kernels=kernels)), "profile")


def ms(value: float) -> object:
    return pytest.approx(value * 1e-3, abs=1e-12)


def with_efficiency(percent: int) -> StageProfile:
    """A stage of 100 ms, so many of which the device computes."""
    device_s = percent / 100
    return replace(STAGE, parts=Parts(0.0, 0.0, 0.0, device_s, 0.0, 1 - device_s))


# Traces


def test_a_card_with_its_own_events() -> None:
    found = distribution(cuda_trace(1, kernels=True), on_gpu=True)
    assert found.basis == KERNEL_EVENTS
    assert found.run_s == ms(1.0)
    assert found.device_s == ms(0.450 + 0.150)
    assert found.copies_s == ms(0.030 + 0.020 + 0.010)
    assert found.cpu_operators_s == ms(0.060)
    assert found.launch_s == ms(0.040 + 0.030)
    assert found.num_device_nodes == 2
    # Of the card's allocator: the CPU's node has the largest peak of all.
    assert found.peak_device_bytes == 9_000_000


def test_operators_of_a_card_with_its_own_events() -> None:
    found = distribution(cuda_trace(2, kernels=True), on_gpu=True).operators
    assert [(one.op, one.provider, one.count) for one in found] == [
        ("Conv", _CUDA, 4),
        ("Shape", _CPU, 2),
        ("MemcpyFromHost", _CUDA, 2),
        ("MemcpyToHost", _CUDA, 2),
        (OUTSIDE, "", 2),
    ]
    device_s = [one.device_s for one in found]
    assert device_s == [ms(2 * 0.650), None, ms(2 * 0.030), ms(2 * 0.020), ms(2 * 0.010)]
    host_s = [one.host_s for one in found]
    assert host_s == [ms(2 * 0.070), ms(2 * 0.060), ms(2 * 0.020), ms(2 * 0.700), 0]


def test_a_card_without_its_own_events() -> None:
    found = distribution(cuda_trace(2, kernels=False), on_gpu=True)
    assert found.basis == SYNCHRONISED
    # The 700 us of MemcpyToHost are mostly waiting for kernels: part of what may be computing.
    assert found.device_s == ms(2 * (1.0 - 0.060))
    assert found.copies_s == 0
    assert found.cpu_operators_s == ms(2 * 0.060)
    assert found.launch_s == ms(2 * 0.070)
    assert {one.device_s for one in found.operators} == {None}
    assert [one.op for one in found.operators][:2] == ["MemcpyToHost", "Conv"]


def test_copies_alone_are_no_kernels() -> None:
    events = [event for event in calls(1, kernels=True) if "gemm" not in event["name"]]
    events = [event for event in events if event["name"] != "bias"]
    found = distribution(parse_trace(json.dumps(events), "profile"), on_gpu=True)
    assert found.basis == SYNCHRONISED


def test_the_cpu() -> None:
    nodes = (
        NodeEvent("if", "If", _CPU, 1, 10, 100),
        NodeEvent("inside", "Conv", _CPU, 1, 20, 80),
        NodeEvent("beside", "Conv", _CPU, 2, 90, 40),
        NodeEvent("after", "Add", _CPU, 1, 140, 5),
    )
    found = distribution(Trace((RunEvent(0, 200),), nodes, ()), on_gpu=False)
    assert found.basis == OPERATORS
    assert found.run_s == ms(0.2)
    # 10 to 130 on two threads, 140 to 145.
    assert found.device_s == ms(0.125)
    assert (found.copies_s, found.cpu_operators_s, found.launch_s) == (0, 0, 0)
    assert found.peak_device_bytes is None
    told = [(one.op, one.count, one.host_s, one.device_s) for one in found.operators]
    assert told == [
        ("Conv", 2, ms(0.120), ms(0.120)),
        ("If", 1, ms(0.020), ms(0.020)),
        ("Add", 1, ms(0.005), ms(0.005)),
    ]


def test_equal_operators_are_in_the_order_of_their_names() -> None:
    nodes = tuple(NodeEvent(op, op, _CPU, 1, 10 * i, 5) for i, op in enumerate("CBA"))
    found = distribution(Trace((RunEvent(0, 30),), nodes, ()), on_gpu=False)
    assert [one.op for one in found.operators] == ["A", "B", "C"]


# From profiled calls to a warm round


def profiled(*, kernels: bool) -> ProfiledCalls:
    """Two calls of 2 ms, of which ONNX Runtime takes 1 ms and the checks of inputs 0.2 ms."""
    return ProfiledCalls(cuda_trace(2, kernels=kernels), 4e-3, 0.4e-3, 8)


def test_a_round_on_a_card_by_its_own_clock() -> None:
    calls_ = profiled(kernels=True)
    # Twice the windows, in 6 ms: unprofiled calls take 3/4 of the time of profiled ones.
    warm = Round(1e-3, 2e-3, 6e-3, 4, 16, 160)
    parts = divided(warm, calls_, distribution(calls_.trace, on_gpu=True))
    assert (parts.audio_s, parts.windows_s) == (1e-3, 2e-3)
    # The card's times do not change with the profiler: 2 calls' times, times 2.
    assert parts.device_s == ms(4 * 0.600)
    # Around the calls the host copies for 4 - 2 - 0.4 ms, times 6 / 4.
    assert parts.copies_s == ms(4 * 0.060 + 1.6 * 1.5)
    assert parts.cpu_operators_s == ms(2 * 0.060 * 1.5)
    assert parts.wall_s == ms(9.0)


def test_a_round_on_a_card_by_the_hosts_clock() -> None:
    calls_ = profiled(kernels=False)
    warm = Round(0.0, 0.0, 2e-3, 2, 8, 80)
    parts = divided(warm, calls_, distribution(calls_.trace, on_gpu=True))
    assert parts.device_s == ms(2 * 0.940 / 2)
    assert parts.copies_s == ms(1.6 / 2)
    assert parts.cpu_operators_s == ms(2 * 0.060 / 2)
    assert parts.host_s == ms(0.4 / 2)


def test_parts_never_exceed_the_calls() -> None:
    calls_ = profiled(kernels=True)
    warm = Round(0.0, 0.0, 1e-3, 2, 8, 80)
    parts = divided(warm, calls_, distribution(calls_.trace, on_gpu=True))
    assert (parts.device_s, parts.copies_s, parts.host_s) == (1e-3, 0.0, 0.0)


def test_a_round_on_the_cpu_copies_nothing() -> None:
    trace = Trace((RunEvent(0, 800),), (NodeEvent("a", "Conv", _CPU, 1, 0, 600),), ())
    calls_ = ProfiledCalls(trace, 1e-3, 0.0, 4)
    warm = Round(0.0, 0.0, 0.5e-3, 1, 4, 40)
    found = distribution(trace, on_gpu=False)
    assert divided(warm, calls_, found) == Parts(0.0, 0.0, 0.0, ms(0.3), 0.0, ms(0.2))  # type: ignore[arg-type]
    (conv,) = scaled_operators(warm, calls_, found)
    assert (conv.count, conv.host_s, conv.device_s) == (1, ms(0.3), ms(0.3))


def test_operators_of_a_round() -> None:
    calls_ = profiled(kernels=True)
    warm = Round(0.0, 0.0, 6e-3, 4, 16, 160)
    conv, shape, *_ = scaled_operators(warm, calls_, distribution(calls_.trace, on_gpu=True))
    assert (conv.count, conv.host_s, conv.device_s) == (8, ms(0.140 * 1.5), ms(4 * 0.650))
    assert (shape.count, shape.host_s, shape.device_s) == (4, ms(0.120 * 1.5), None)


# Figures of a stage


def test_figures_of_a_stage() -> None:
    assert STAGE.wall_s == pytest.approx(0.2)
    assert STAGE.cold_s == 2.0
    assert STAGE.efficiency == pytest.approx(0.5)
    assert STAGE.share_of_copies == pytest.approx(0.15)
    assert STAGE.rtfx == pytest.approx(3200)
    assert STAGE.windows_per_s == pytest.approx(320)
    assert replace(STAGE, audio_duration_s=None).rtfx is None


@pytest.mark.parametrize(
    ("percent", "gpu", "cpu"),
    [
        (100, "GPU OPTIMIZED", "CPU: COMPUTING"),
        (81, "GPU OPTIMIZED", "CPU: COMPUTING"),
        (80, "MIXED", "CPU: MIXED"),
        (50, "MIXED", "CPU: MIXED"),
        (49, "CPU BOTTLENECK", "CPU: OVERHEAD"),
        (0, "CPU BOTTLENECK", "CPU: OVERHEAD"),
    ],
)
def test_status(percent: int, gpu: str, cpu: str) -> None:
    stage = with_efficiency(percent)
    assert stage.status == gpu
    assert replace(stage, basis=SYNCHRONISED).status == gpu
    assert replace(stage, basis=OPERATORS, device="cpu").status == cpu


def test_a_stage_of_no_time() -> None:
    stage = replace(STAGE, parts=Parts(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    assert (stage.efficiency, stage.share_of_copies, stage.rtfx) == (0, 0, None)


# Warnings


def small(device_s: float, **changes: object) -> tuple[str, ...]:
    parts = replace(STAGE.parts, device_s=device_s)
    return replace(STAGE, parts=parts, num_device_nodes=1, **changes).warnings  # type: ignore[arg-type]


def test_nothing_speaks_against_a_large_stage() -> None:
    assert STAGE.warnings == ()
    assert small(0.41e-3) == ()


def test_calls_too_small_for_a_gpu() -> None:
    # Two calls of 0.19 ms.
    (warning,) = small(0.38e-3)
    assert warning.startswith("too small to be worth a GPU: a call computes for 0.190 ms")
    (bound,) = small(0.38e-3, basis=SYNCHRONISED)
    assert "at most 0.190 ms" in bound
    assert small(0.38e-3, basis=OPERATORS) == (warning,)


def test_operators_too_small_for_a_gpu() -> None:
    # 100 ms over so many operators.
    (warning,) = replace(STAGE, num_device_nodes=25_000).warnings
    assert "an operator computes for 4.0 us on average" in warning
    assert replace(STAGE, num_device_nodes=20_000).warnings == ()
    assert replace(STAGE, num_device_nodes=25_000, basis=OPERATORS).warnings == ()


def test_a_gpu_that_may_wait_for_launches() -> None:
    stage = replace(STAGE, basis=SYNCHRONISED, launch_share=0.9)
    (warning,) = stage.warnings
    assert "launching operators takes the host 90% of the calls" in warning
    # With its own events the card's waiting is in the efficiency.
    assert replace(stage, basis=KERNEL_EVENTS).warnings == ()
    assert replace(stage, launch_share=0.8).warnings == ()
