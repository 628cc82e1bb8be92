"""Where the nodes of a loaded graph run, and whether that is where they were meant to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .availability import CPU_PROVIDER, CUDA_PROVIDER
from .devices import DevicePlan
from .errors import DeviceError

__all__ = [
    "COMPUTE_OPS",
    "CPU_PROVIDER",
    "Placement",
    "actual_plan",
    "check_placement",
    "read_placement",
]

# By provider, then by operator: how many nodes.
Placement = Mapping[str, Mapping[str, int]]

# What work on tensors looks like. Everything else that ONNX Runtime leaves on the CPU of a CUDA
# session computes shapes and indices, a few numbers at a time.
COMPUTE_OPS = frozenset(
    {
        *("Conv", "ConvTranspose", "FusedConv", "ConvInteger", "QLinearConv", "NhwcConv"),
        *("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "Einsum"),
        *("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM", "Attention", "MultiHeadAttention"),
        *("InstanceNormalization", "BatchNormalization", "LayerNormalization", "LpNormalization"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
        *("LogSoftmax", "Softmax", "LeakyRelu", "Relu", "Sigmoid", "Tanh", "Abs", "Log", "Exp"),
        *("ArgMax", "ReduceMean", "ReduceL2", "CumSum", "Resize", "Pad", "Tile"),
    }
)


def read_placement(session: Any) -> Placement | None:
    """Nodes by provider and operator of an ``onnxruntime.InferenceSession``.

    None where this version of ONNX Runtime does not tell (before 1.24). The session must have been
    opened with ``session.record_ep_graph_assignment_info`` set to 1.
    """
    assignments = getattr(session, "get_provider_graph_assignment_info", None)
    if assignments is None:
        return None
    counts: dict[str, Counter[str]] = {}
    for part in assignments():
        by_op = counts.setdefault(part.ep_name, Counter())
        by_op.update(node.op_type for node in part.get_nodes())
    return {provider: dict(by_op.most_common()) for provider, by_op in counts.items()}


def check_placement(
    plan: DevicePlan, providers: list[str], placement: Placement | None, source: str
) -> tuple[str, ...]:
    """What is not where the plan wants it; empty if all is.

    Args:
        plan: with at least one provider.
        providers: those that the session has, in order.
        placement: see ``read_placement``.
        source: names the artifact.

    Raises:
        DeviceError: the plan is strict and something is not where it wants it.
    """
    problems = tuple(_problems(plan, providers, placement))
    if problems and plan.strict:
        raise DeviceError(
            f"{source}: {plan.device} was asked for, but {'; '.join(problems)}. Use "
            "device='auto' or fallback=True to accept that; `voxport doctor` may tell why."
        )
    return problems


def actual_plan(plan: DevicePlan, providers: list[str], problems: tuple[str, ...]) -> DevicePlan:
    """The plan as it came out: of another device where ONNX Runtime left a provider out.

    Args:
        plan: what was wanted.
        providers: those that the session has.
        problems: see ``check_placement``.
    """
    if plan.providers[0][0] in providers:
        return plan
    index = plan.device.rpartition(":")[2]
    device = f"cuda:{index}" if CUDA_PROVIDER in providers else "cpu"
    reasons = (f"{plan.device} failed: {'; '.join(problems)}", *plan.reasons)
    kept = tuple(provider for provider in plan.providers if provider[0] in providers)
    return replace(plan, device=device, providers=kept, reasons=reasons, is_fallback=True)


def _problems(plan: DevicePlan, providers: list[str], placement: Placement | None) -> list[str]:
    wanted = [name for name, _ in plan.providers]
    missing = [name for name in wanted if name not in providers]
    if missing:
        return [f"the session runs on {', '.join(providers)} without {', '.join(missing)}"]
    if wanted == [CPU_PROVIDER] or placement is None:
        return []
    on_cpu = {
        op: count for op, count in placement.get(CPU_PROVIDER, {}).items() if op in COMPUTE_OPS
    }
    if not on_cpu:
        return []
    total, listed = sum(on_cpu.values()), ", ".join(f"{op} {n}" for op, n in on_cpu.items())
    return [f"{total} compute nodes run on the CPU ({listed})"]
