"""Where the time of profiled calls went: an interpretation of a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ..availability import CPU_PROVIDER
from .trace import NodeEvent, Trace, covered_us, own_durations_us

# What a device time was taken from. Of a trace with a card's own events: those. Of one without:
# the calls, which end when the card is done, without the operators on the CPU: the most that the
# card can have computed, unless both worked at once. On the CPU, where operators compute
# themselves: their times.
Basis = Literal["kernel events", "synchronised calls", "operator times"]
KERNEL_EVENTS: Basis = "kernel events"
SYNCHRONISED: Basis = "synchronised calls"
OPERATORS: Basis = "operator times"

_MICRO = 1e-6
# Of kernels and copies that no operator launched, such as those of a call's inputs.
OUTSIDE = "(outside operators)"


@dataclass(frozen=True)
class OperatorTime:
    """One kind of operator on one provider.

    Attributes:
        op: the operator's type, such as "Conv".
        provider: ONNX Runtime's name of where it ran.
        count: how often it ran.
        host_s: time of the host within it: computing on the CPU, launching on a card.
        device_s: time of the device: on the CPU ``host_s``; on a card its kernels and copies, or
            None where the profile does not tell them, and for operators on the CPU.
    """

    op: str
    provider: str
    count: int
    host_s: float
    device_s: float | None

    @property
    def cost_s(self) -> float:
        """The device's time if it is known, else the host's."""
        return self.host_s if self.device_s is None else self.device_s


@dataclass(frozen=True)
class Distribution:
    """Totals over the calls of a trace, in seconds.

    Attributes:
        basis: what ``device_s`` was taken from.
        run_s: the calls within ONNX Runtime.
        device_s: computing on the device; an upper bound for "synchronised calls".
        copies_s: copies within the calls, by the card's clock. Without kernel events they are not
            known, and part of ``device_s``: the host's time in an operator that copies is mostly
            waiting for what the card computes before.
        cpu_operators_s: operators on the CPU in calls to a card.
        launch_s: the host in operators of a card, mostly launching; 0 on the CPU.
        num_device_nodes: executions of operators on the device, those that copy apart.
        peak_device_bytes: the most that the device's allocator gave, where that is told.
        operators: what took longest first.
    """

    basis: Basis
    run_s: float
    device_s: float
    copies_s: float
    cpu_operators_s: float
    launch_s: float
    num_device_nodes: int
    peak_device_bytes: int | None
    operators: tuple[OperatorTime, ...]


def distribution(trace: Trace, *, on_gpu: bool) -> Distribution:
    """What a trace says of a session on a card (``on_gpu``) or on the CPU."""
    own_us = own_durations_us(trace.nodes)
    return _on_gpu(trace, own_us) if on_gpu else _on_cpu(trace, own_us)


def _on_cpu(trace: Trace, own_us: list[int]) -> Distribution:
    # Operators may run side by side: the time in which any did, not the sum of theirs.
    busy_us = covered_us((node.start_us, node.end_us) for node in trace.nodes)
    return Distribution(
        basis=OPERATORS,
        run_s=_run_us(trace) * _MICRO,
        device_s=busy_us * _MICRO,
        copies_s=0.0,
        cpu_operators_s=0.0,
        launch_s=0.0,
        num_device_nodes=len(trace.nodes),
        peak_device_bytes=None,
        operators=_operators(trace.nodes, own_us, lambda _, host_us: host_us),
    )


def _on_gpu(trace: Trace, own_us: list[int]) -> Distribution:
    timed = list(zip(trace.nodes, own_us, strict=True))
    device = [(node, own) for node, own in timed if node.provider != CPU_PROVIDER]
    cpu_us = sum(own for node, own in timed if node.provider == CPU_PROVIDER)
    computing = [own for node, own in device if not node.is_copy]
    peaks = [node.peak_bytes for node, _ in device if node.peak_bytes is not None]
    run_us = _run_us(trace)
    kernels = [kernel for kernel in trace.kernels if not kernel.is_copy]
    if kernels:
        # Streams run side by side.
        device_us = covered_us((kernel.start_us, kernel.end_us) for kernel in kernels)
        copies_us = sum(kernel.duration_us for kernel in trace.kernels if kernel.is_copy)
        operators = _operators_of_card(trace, own_us)
    else:
        device_us, copies_us = max(0, run_us - cpu_us), 0
        operators = _operators(trace.nodes, own_us, lambda _provider, _host_us: None)
    return Distribution(
        basis=KERNEL_EVENTS if kernels else SYNCHRONISED,
        run_s=run_us * _MICRO,
        device_s=device_us * _MICRO,
        copies_s=copies_us * _MICRO,
        cpu_operators_s=cpu_us * _MICRO,
        launch_s=sum(computing) * _MICRO,
        num_device_nodes=len(computing),
        peak_device_bytes=max(peaks, default=None),
        operators=operators,
    )


def _run_us(trace: Trace) -> int:
    return sum(run.duration_us for run in trace.runs)


def _operators_of_card(trace: Trace, own_us: list[int]) -> tuple[OperatorTime, ...]:
    """Operators with the time of the kernels and copies that they launched."""
    by_op: Counter[str] = Counter()
    for kernel in trace.kernels:
        by_op[kernel.op or OUTSIDE] += kernel.duration_us
    known = {node.op for node in trace.nodes if node.provider != CPU_PROVIDER}
    # CPU operators launch nothing: what bears their name is a card's operator of the same kind.
    timed = _operators(
        trace.nodes, own_us, lambda key, _: None if key[1] == CPU_PROVIDER else by_op[key[0]]
    )
    unknown_us = sum(duration_us for op, duration_us in by_op.items() if op not in known)
    if not unknown_us:
        return timed
    count = sum((kernel.op or OUTSIDE) not in known for kernel in trace.kernels)
    return _sorted([*timed, OperatorTime(OUTSIDE, "", count, 0.0, unknown_us * _MICRO)])


_Key = tuple[str, str]


def _operators(
    nodes: Iterable[NodeEvent], own_us: list[int], device_us: Callable[[_Key, int], int | None]
) -> tuple[OperatorTime, ...]:
    """Nodes by operator and provider; ``device_us`` tells a kind's device time, if it is known."""
    counts: Counter[_Key] = Counter()
    host_us: Counter[_Key] = Counter()
    for node, own in zip(nodes, own_us, strict=True):
        key = (node.op, node.provider)
        counts[key] += 1
        host_us[key] += own
    times = []
    for key, count in counts.items():
        microseconds = device_us(key, host_us[key])
        device_s = None if microseconds is None else microseconds * _MICRO
        times.append(OperatorTime(*key, count, host_us[key] * _MICRO, device_s))
    return _sorted(times)


def _sorted(times: Iterable[OperatorTime]) -> tuple[OperatorTime, ...]:
    """What took longest first; names decide between equals, for reports that do not waver."""
    return tuple(sorted(times, key=lambda time: (-time.cost_s, time.op, time.provider)))
