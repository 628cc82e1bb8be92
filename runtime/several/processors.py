"""The processors of a machine by NUMA node, as far as this process may use them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_NODES = Path("/sys/devices/system/node")
# Linux numbers processors up to a few thousand; a damaged list must not exhaust the memory.
_MOST = 2**16


@dataclass(frozen=True)
class NumaNode:
    """Processors that share a memory of their own.

    Attributes:
        index: Linux's number of the node.
        cpus: logical processors, hyper-threads among them, that this process may use, ascending;
            none where it may use none of them, or the node is only memory.
    """

    index: int
    cpus: tuple[int, ...]


def parse_cpulist(text: str) -> tuple[int, ...]:
    """Processors of a list as Linux writes it: ``"0-2,8\\n"`` is (0, 1, 2, 8), ascending.

    Raises:
        ValueError: it is not such a list.
    """
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", part)
        if match is None:
            raise ValueError(f"not a list of processors: {text!r:.80}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < _MOST:
            raise ValueError(f"not a list of processors: {text!r:.80}")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def cpulist(cpus: Iterable[int]) -> str:
    """The inverse of ``parse_cpulist``: (0, 1, 2, 8) is ``"0-2,8"``."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def allowed_cpus() -> tuple[int, ...]:
    """The processors that the calling thread may use; all where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def probe_numa(folder: Path = _NODES) -> tuple[NumaNode, ...]:
    """The nodes of this machine, ascending, from Linux's ``node*/cpulist``; never raises.

    One node of all processors where there is no such folder, or where it does not place every
    processor that this process may use.
    """
    allowed = allowed_cpus()
    whole = (NumaNode(0, allowed),)
    try:
        lists = {
            int(path.name.removeprefix("node")): (path / "cpulist").read_text(encoding="ascii")
            for path in folder.glob("node[0-9]*")
        }
        placed = {index: parse_cpulist(lists[index]) for index in sorted(lists)}
    except (OSError, ValueError):
        return whole
    nodes = tuple(
        NumaNode(index, tuple(cpu for cpu in cpus if cpu in allowed))
        for index, cpus in placed.items()
    )
    found = sorted(cpu for node in nodes for cpu in node.cpus)
    return nodes if found == list(allowed) else whole


def divided(cpus: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Processors in ``count`` neighbouring shares, whose sizes differ by one at most.

    No share is empty: ``count`` is at most as many as there are processors.
    """
    bounds = [len(cpus) * share // count for share in range(count + 1)]
    return [tuple(cpus[start:end]) for start, end in pairwise(bounds)]
