"""ONNX Runtime's profile as typed events.

What its events mean is told by its sources rather than by its documentation:

- ``Session`` / ``model_run``: one call, on the host's clock. Unless asked not to (the option
  ``disable_synchronize_execution_providers`` of a run), a call waits for its device before it
  returns, so everything that the device did for it lies within.
- ``Node`` / ``*_kernel_time``: the host's time within one operator's ``Compute``. On the CPU that
  is the computation. On a card it is the time to *launch* it: kernels run asynchronously, and only
  operators that have to wait for a result show more.
- ``Kernel``: what a card did, with its own start and end, as CUPTI measured it: computing kernels
  by their names, copies as ``Memcpy...``. Only builds with ``--enable_cuda_profiling`` have them;
  published wheels are built without. Durations are cut to whole microseconds, and the starts are
  not always on the host's clock: what launched a kernel is told by its place behind that event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import VoxportError

_MAX_BYTES = 2**30
# 30 years: later times are no times, and their sums would no longer be exact.
_MAX_TIME_US = 10**15
# Of identifiers of threads, which may be addresses.
_MAX_WHOLE = 2**64
_NODE_SUFFIX = "_kernel_time"
# Nodes that ONNX Runtime inserts between devices, and CUPTI's copies.
_COPY_PREFIX = "Memcpy"


class TraceError(VoxportError):
    """A profile of ONNX Runtime that cannot be read, or does not hold what was run."""


@dataclass(frozen=True)
class RunEvent:
    """One call of the session, on the host's clock."""

    start_us: int
    duration_us: int

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us


@dataclass(frozen=True)
class NodeEvent:
    """One execution of an operator, on the host's clock.

    Attributes:
        thread: which one ran it; operators of subgraphs lie within their parent's time.
        peak_bytes: the most that its allocator has given so far, where that is told.
    """

    name: str
    op: str
    provider: str
    thread: int
    start_us: int
    duration_us: int
    peak_bytes: int | None = None

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us

    @property
    def is_copy(self) -> bool:
        return self.op.startswith(_COPY_PREFIX)


@dataclass(frozen=True)
class KernelEvent:
    """What a card did, on its own clock.

    Attributes:
        op: the operator that launched it; empty if no operator did.
        launched_us: start of the host's event behind which it stands in the profile.
    """

    name: str
    op: str
    launched_us: int
    start_us: int
    duration_us: int

    @property
    def end_us(self) -> int:
        return self.start_us + self.duration_us

    @property
    def is_copy(self) -> bool:
        return self.name.startswith(_COPY_PREFIX)


@dataclass(frozen=True)
class Trace:
    """The events of a profile that tell where time went, each kind in the order of its start."""

    runs: tuple[RunEvent, ...]
    nodes: tuple[NodeEvent, ...]
    kernels: tuple[KernelEvent, ...]

    def last(self, num_runs: int) -> Trace:
        """The trace of the last calls, without those that warmed up.

        Counted from the end, since recording CUDA graphs makes several calls of one.

        Raises:
            TraceError: there are not as many calls.
        """
        if not 1 <= num_runs <= len(self.runs):
            raise TraceError(f"the profile holds {len(self.runs)} calls; {num_runs} were made")
        runs = self.runs[-num_runs:]
        begin_us = runs[0].start_us
        return Trace(
            runs,
            tuple(node for node in self.nodes if node.start_us >= begin_us),
            tuple(kernel for kernel in self.kernels if kernel.launched_us >= begin_us),
        )


def read_trace(path: Path) -> Trace:
    """Read a profile that ONNX Runtime wrote.

    Raises:
        TraceError: missing, too large, not JSON, or with events that are not as ONNX Runtime
            writes them.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise TraceError(f"{path}: larger than {_MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: unreadable: {error}") from error
    return parse_trace(text, str(path))


def parse_trace(text: str, source: str) -> Trace:
    """``read_trace`` of a profile's text; ``source`` names it in errors."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"{source}: not valid JSON: {error}") from error
    if not isinstance(entries, list):
        raise TraceError(f"{source}: expected a list of events, got {type(entries).__name__}")
    runs, nodes, kernels = [], [], []
    for event in _events(entries, source):
        if isinstance(event, RunEvent):
            runs.append(event)
        elif isinstance(event, NodeEvent):
            nodes.append(event)
        else:
            kernels.append(event)
    return Trace(
        tuple(sorted(runs, key=lambda run: run.start_us)),
        tuple(sorted(nodes, key=lambda node: (node.start_us, -node.duration_us))),
        tuple(sorted(kernels, key=lambda kernel: kernel.start_us)),
    )


def _events(entries: list[Any], source: str) -> Iterator[RunEvent | NodeEvent | KernelEvent]:
    launched_us = 0
    for index, entry in enumerate(entries):
        fields = _Fields(entry, f"{source}: event {index}")
        category, name = fields.text("cat"), fields.text("name")
        if category == "Kernel":
            start_us, duration_us = fields.times()
            op = fields.argument("op_name", required=False)
            yield KernelEvent(name, op, launched_us, start_us, duration_us)
            continue
        if category not in ("Session", "Node"):
            continue
        launched_us, duration_us = fields.times()
        if category == "Session" and name == "model_run":
            yield RunEvent(launched_us, duration_us)
        elif category == "Node" and name.endswith(_NODE_SUFFIX):
            yield _node(fields, name.removesuffix(_NODE_SUFFIX), launched_us, duration_us)


def _node(fields: _Fields, name: str, start_us: int, duration_us: int) -> NodeEvent:
    return NodeEvent(
        name,
        fields.argument("op_name"),
        fields.argument("provider"),
        fields.whole("tid"),
        start_us,
        duration_us,
        fields.bytes("mem_in_use_peak"),
    )


class _Fields:
    """Checked access to one event."""

    def __init__(self, entry: Any, source: str) -> None:
        if not isinstance(entry, dict):
            raise TraceError(f"{source}: expected an object, got {type(entry).__name__}")
        arguments = entry.get("args", {})
        if not isinstance(arguments, dict):
            raise TraceError(f"{source}: 'args' must be an object")
        self._entry, self._arguments, self._source = entry, arguments, source

    def text(self, key: str) -> str:
        return self._string(self._entry, key, required=True)

    def argument(self, key: str, *, required: bool = True) -> str:
        return self._string(self._arguments, key, required=required)

    def _string(self, holder: dict[str, Any], key: str, *, required: bool) -> str:
        value = holder.get(key, None if required else "")
        if not isinstance(value, str):
            raise TraceError(f"{self._source}: {key!r} must be text, got {value!r:.80}")
        return value

    def whole(self, key: str) -> int:
        value: Any = self._entry.get(key)
        numeric = isinstance(value, int) and not isinstance(value, bool)
        if not numeric or abs(value) > _MAX_WHOLE:
            raise TraceError(f"{self._source}: {key!r} must be a whole number, got {value!r:.80}")
        return int(value)

    def times(self) -> tuple[int, int]:
        """Start and duration in microseconds; a card's clock may lie before the profile's zero."""
        start_us, duration_us = self.whole("ts"), self.whole("dur")
        if abs(start_us) > _MAX_TIME_US or not 0 <= duration_us <= _MAX_TIME_US:
            raise TraceError(
                f"{self._source}: starts at {start_us} us and takes {duration_us} us: out of range"
            )
        return start_us, duration_us

    def bytes(self, key: str) -> int | None:
        """A size; None where it is not told, as in older versions of ONNX Runtime."""
        value = self._arguments.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.isascii() or not value.isdecimal():
            raise TraceError(f"{self._source}: {key!r} must be a size, got {value!r:.80}")
        if len(value) > len(str(_MAX_TIME_US)):
            raise TraceError(f"{self._source}: {key!r} is out of range: {value:.80}")
        return int(value)


def own_durations_us(nodes: Iterable[NodeEvent]) -> list[int]:
    """Each node's duration without those of the nodes within it, on its thread.

    ``nodes`` in a trace's order. An ``If`` or a ``Loop`` holds the nodes of its subgraph, which
    would count twice.
    """
    own: list[int] = []
    open_nodes: dict[int, list[tuple[int, int]]] = {}
    for index, node in enumerate(nodes):
        own.append(node.duration_us)
        stack = open_nodes.setdefault(node.thread, [])
        while stack and stack[-1][1] <= node.start_us:
            stack.pop()
        if stack:
            own[stack[-1][0]] -= node.duration_us
        stack.append((index, node.end_us))
    # Times are cut to microseconds: the parts may seem a little longer than their whole.
    return [max(0, duration_us) for duration_us in own]


def covered_us(spans: Iterable[tuple[int, int]]) -> int:
    """How long at least one of the (start, end) spans lasted."""
    total = 0
    latest: int | None = None
    for start, end in sorted(spans):
        begin = start if latest is None else max(start, latest)
        total += max(0, end - begin)
        latest = end if latest is None else max(latest, end)
    return total
