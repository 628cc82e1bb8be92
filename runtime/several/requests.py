"""Requests for several sessions behind one interface, and the plans that they give."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..device_plan import DevicePlan
from ..environment import Environment
from ..errors import DeviceError
from .processors import NumaNode, cpulist, divided

# What stands beside the names of single devices.
FORMS = "cuda:N,M, cuda:*, cpu:N,M and cpu:* (NUMA nodes), cpu*N"
_LIST = re.compile(r"(cuda|cpu):(\*|[0-9]{1,4}(?:,[0-9]{1,4})*)")
_DIVISION = re.compile(r"cpu\*([0-9]{1,4})")

PlanOne = Callable[[str], DevicePlan]


@dataclass(frozen=True)
class Several:
    """What a request names.

    Attributes:
        request: as it was written.
        kind: "cuda" or "cpu".
        indices: of cards or NUMA nodes; None for all that can be used.
        count: of sessions among which all processors are divided; None for a list.
    """

    request: str
    kind: str
    indices: tuple[int, ...] | None = None
    count: int | None = None

    @property
    def names_all(self) -> bool:
        """Whether none may be left out; else those are wanted that can be used."""
        return self.indices is not None or self.count is not None


def parse_several(request: str) -> Several | None:
    """``"cuda:0,1"``, ``"cuda:*"``, ``"cpu:0,1"``, ``"cpu:*"`` or ``"cpu*2"``, taken apart.

    None for anything else, the single card ``"cuda:1"`` among it.

    Raises:
        DeviceError: an index stands there twice, or the sessions are none.
    """
    if (division := _DIVISION.fullmatch(request)) is not None:
        count = int(division[1])
        if count < 1:
            raise DeviceError(f"device {request!r} names no session: give 1 or more")
        return Several(request, "cpu", count=count)
    listed = _LIST.fullmatch(request)
    if listed is None:
        return None
    if listed[2] == "*":
        return Several(request, listed[1])
    indices = tuple(map(int, listed[2].split(",")))
    twice = sorted({index for index in indices if indices.count(index) > 1})
    if twice:
        raise DeviceError(f"device {request!r} names {', '.join(map(str, twice))} more than once")
    single_card = listed[1] == "cuda" and len(indices) == 1
    return None if single_card else Several(request, listed[1], indices)


def plan_several(
    wanted: Several, environment: Environment, plan_one: PlanOne, *, fallback: bool
) -> DevicePlan:
    """The plan of all sessions: with ``parts`` where they are two or more, else of the one.

    Args:
        wanted: see ``parse_several``.
        environment: its cards and NUMA nodes.
        plan_one: plans a single device, strictly.
        fallback: leave out what cannot be used, as long as anything can.

    Raises:
        DeviceError: a named device cannot be used, or with ``fallback`` none; the message does not
            name the request.
    """
    if wanted.kind == "cuda":
        parts, left_out = _cards(wanted, environment, plan_one)
    else:
        parts, left_out = _shares(wanted, environment, plan_one("cpu"))
    missed = left_out if wanted.names_all else []
    if not parts or (missed and not fallback):
        raise DeviceError("; ".join(left_out) or "this process may use no processor")
    told = dict.fromkeys(reason for part in parts for reason in part.reasons[1:])
    reasons = _reasons(wanted, parts, left_out)
    parts = [
        replace(
            part,
            requested=wanted.request,
            reasons=(*reasons, *part.reasons[1:]),
            is_fallback=bool(missed),
            strict=not fallback,
        )
        for part in parts
    ]
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        device=common_device([part.device for part in parts]),
        providers=(),
        reasons=(*reasons, *told),
        cpus=(),
        parts=tuple(parts),
    )


def _reasons(
    wanted: Several, parts: Sequence[DevicePlan], left_out: Sequence[str]
) -> tuple[str, ...]:
    if left_out and wanted.names_all:
        left = common_device([part.device for part in parts])
        return (f"{wanted.request!r} cannot be used: {'; '.join(left_out)}", f"{left} is left")
    return (f"{wanted.request!r} was requested", *(f"left out: {each}" for each in left_out))


def common_device(devices: Sequence[str]) -> str:
    """The name of several devices of one kind: "cuda:0,1", "cpu:0,1" or "cpu*2"; of one its own."""
    if len(devices) == 1:
        return devices[0]
    kind, colon, _ = devices[0].partition(":")
    if not colon:  # shares of the processors
        return f"cpu*{len(devices)}"
    return f"{kind}:{','.join(device.partition(':')[2] for device in devices)}"


def _cards(
    wanted: Several, environment: Environment, plan_one: PlanOne
) -> tuple[list[DevicePlan], list[str]]:
    """A plan for each card, and what stands in the way of others."""
    found = tuple(card.index for card in environment.cuda.cards) or (0,)
    parts, left_out = [], []
    for index in found if wanted.indices is None else wanted.indices:
        try:
            parts.append(plan_one(f"cuda:{index}"))
        except DeviceError as error:
            left_out.append(str(error).removeprefix("device "))
    return parts, left_out


def _shares(
    wanted: Several, environment: Environment, cpu: DevicePlan
) -> tuple[list[DevicePlan], list[str]]:
    """A plan for each share of the processors, and what stands in the way of others."""
    everything = tuple(cpu for node in environment.numa for cpu in node.cpus)
    left_out: list[str] = []
    if wanted.count is not None:
        count = min(wanted.count, len(everything))
        if count < wanted.count:
            left_out.append(f"{wanted.count} sessions cannot share {count} processors")
        shares = [(f"cpu@{cpulist(cpus)}", cpus) for cpus in divided(everything, count)]
    else:
        nodes, left_out = _nodes(wanted.indices, environment.numa)
        shares = [(f"cpu:{node.index}", node.cpus) for node in nodes]
    if len(shares) == 1 and shares[0][1] == everything:
        return [cpu], left_out
    return [
        replace(cpu, device=name, cpus=cpus, reasons=(*cpu.reasons, _told(name, cpus, environment)))
        for name, cpus in shares
    ], left_out


def _nodes(
    indices: tuple[int, ...] | None, nodes: Sequence[NumaNode]
) -> tuple[list[NumaNode], list[str]]:
    usable = {node.index: node for node in nodes if node.cpus}
    if indices is None:
        return list(usable.values()), []
    there = "; ".join(f"cpu:{index} {cpulist(node.cpus)}" for index, node in usable.items())
    empty = {node.index for node in nodes} - set(usable)
    left_out = [
        f"this process may use no processor of NUMA node {index}"
        if index in empty
        else f"there is no NUMA node {index}; processors by node: {there}"
        for index in indices
        if index not in usable
    ]
    return [usable[index] for index in indices if index in usable], left_out


def _told(name: str, cpus: tuple[int, ...], environment: Environment) -> str:
    if environment.system == "Linux":
        return f"{name}: its threads keep to the processors {cpulist(cpus)}"
    return f"{name}: {len(cpus)} threads, which {environment.system} lets run on any processor"
