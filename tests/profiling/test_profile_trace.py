"""ONNX Runtime's profiles as events: hand-written ones, damaged ones, and a real one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_artifacts
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import VoxportError
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.profiling import TraceError, read_trace
from voxport.runtime.profiling.trace import (
    KernelEvent,
    NodeEvent,
    RunEvent,
    covered_us,
    own_durations_us,
    parse_trace,
)


def host(category: str, name: str, ts: int, dur: int, **arguments: Any) -> dict[str, Any]:
    event = {"cat": category, "pid": 7, "tid": 9, "dur": dur, "ts": ts, "ph": "X"}
    return {**event, "name": name, "args": arguments}


def node(name: str, op: str, ts: int, dur: int, **arguments: Any) -> dict[str, Any]:
    provider = arguments.pop("provider", "CPUExecutionProvider")
    return host("Node", f"{name}_kernel_time", ts, dur, op_name=op, provider=provider, **arguments)


RUN = host("Session", "model_run", 100, 50)
NODE = node("/conv", "Conv", 110, 20, mem_in_use_peak="4096")
KERNEL = {**host("Kernel", "gemm", 900, 5, op_name="Conv"), "pid": -1, "tid": -1}


def test_events_of_every_kind() -> None:
    entries = [
        host("Session", "session_initialization", 1, 90),
        RUN,
        host("Session", "SequentialExecutor::Execute", 105, 40),
        host("Node", "/conv_fence_before", 109, 1, op_name="Conv"),
        NODE,
        KERNEL,
        {**host("Api", "cudaLaunchKernel", 0, 0), "ts": None},
    ]
    trace = parse_trace(json.dumps(entries), "profile")
    assert trace.runs == (RunEvent(100, 50),)
    assert trace.nodes == (NodeEvent("/conv", "Conv", "CPUExecutionProvider", 9, 110, 20, 4096),)
    # Launched by the node that it stands behind, whatever its own clock says.
    assert trace.kernels == (KernelEvent("gemm", "Conv", 110, 900, 5),)


def test_events_are_sorted_and_parents_come_first() -> None:
    entries = [node("child", "Add", 10, 3), node("parent", "If", 10, 9), node("first", "Mul", 1, 2)]
    names = [event.name for event in parse_trace(json.dumps(entries), "profile").nodes]
    assert names == ["first", "parent", "child"]


def test_only_the_last_calls_are_kept() -> None:
    early_kernel = {**KERNEL, "ts": 5000}  # on a card's clock that runs ahead
    late_kernel = {**KERNEL, "name": "late", "ts": 20}
    entries = [
        *(RUN, node("a", "Conv", 110, 20), early_kernel),
        *(host("Session", "model_run", 200, 50), node("b", "Conv", 210, 20), late_kernel),
    ]
    trace = parse_trace(json.dumps(entries), "profile").last(1)
    assert [run.start_us for run in trace.runs] == [200]
    assert [event.name for event in trace.nodes] == ["b"]
    assert [event.name for event in trace.kernels] == ["late"]


@pytest.mark.parametrize("num_runs", [0, 2])
def test_more_calls_than_there_are(num_runs: int) -> None:
    with pytest.raises(TraceError, match=f"holds 1 calls; {num_runs} were made"):
        parse_trace(json.dumps([RUN]), "profile").last(num_runs)


# Times


def test_a_parent_does_not_count_its_children_twice() -> None:
    events = [
        NodeEvent("if", "If", "cpu", 1, 0, 100),
        NodeEvent("inner if", "If", "cpu", 1, 10, 50),
        NodeEvent("innermost", "Add", "cpu", 1, 20, 5),
        NodeEvent("on another thread", "Add", "cpu", 2, 30, 40),
        NodeEvent("second child", "Mul", "cpu", 1, 60, 30),
        NodeEvent("next", "Mul", "cpu", 1, 100, 7),
    ]
    assert own_durations_us(events) == [100 - 50 - 30, 50 - 5, 5, 40, 30, 7]


def test_children_that_seem_longer_than_their_parent() -> None:
    events = [NodeEvent("if", "If", "cpu", 1, 0, 9), NodeEvent("child", "Add", "cpu", 1, 0, 9)]
    events.append(NodeEvent("rounded", "Add", "cpu", 1, 8, 2))
    assert min(own_durations_us(events)) == 0


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], 0),
        ([(5, 9)], 4),
        ([(0, 10), (10, 12)], 12),
        ([(0, 10), (2, 4), (8, 15), (20, 21)], 16),
        ([(20, 21), (0, 3)], 4),
        ([(-5, -1), (-2, 1)], 6),
    ],
)
def test_covered_time(spans: list[tuple[int, int]], expected: int) -> None:
    assert covered_us(spans) == expected


@given(st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 9)), max_size=8))
def test_covered_time_is_the_number_of_covered_microseconds(pairs: list[tuple[int, int]]) -> None:
    spans = [(start, start + length) for start, length in pairs]
    assert covered_us(spans) == len({us for start, end in spans for us in range(start, end)})


# What is not a profile


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (3, "event 0: expected an object, got int"),
        ({**NODE, "args": []}, "'args' must be an object"),
        ({**NODE, "cat": None}, "'cat' must be text"),
        ({**NODE, "name": 5}, "'name' must be text"),
        ({**NODE, "dur": -1}, "out of range"),
        ({**NODE, "dur": True}, "'dur' must be a whole number"),
        ({**NODE, "ts": "12"}, "'ts' must be a whole number"),
        ({**NODE, "ts": 1.5}, "'ts' must be a whole number"),
        ({**NODE, "ts": 10**18}, "out of range"),
        ({**NODE, "tid": None}, "'tid' must be a whole number"),
        ({**NODE, "args": {"op_name": "Conv"}}, "'provider' must be text"),
        ({**NODE, "args": {"provider": "cpu"}}, "'op_name' must be text"),
        (node("a", "Conv", 1, 1, mem_in_use_peak=7), "'mem_in_use_peak' must be a size"),
        (node("a", "Conv", 1, 1, mem_in_use_peak="-7"), "'mem_in_use_peak' must be a size"),
        (node("a", "Conv", 1, 1, mem_in_use_peak="9" * 5000), "is out of range"),
        ({**KERNEL, "args": {"op_name": 1}}, "'op_name' must be text"),
    ],
)
def test_damaged_events(entry: Any, problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        parse_trace(json.dumps([entry]), "profile")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not valid JSON"),
        ('[{"cat" : "Node",', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('[{"dur": ' + "9" * 5000 + "}]", "not valid JSON"),
        ("{}", "expected a list of events, got dict"),
        ('[{"cat": "Node", "name": "a_kernel_time", "ts": NaN, "dur": 1}]', "'ts' must be"),
    ],
)
def test_damaged_profiles(text: str, problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        parse_trace(text, "profile")


_VALUES: list[Any] = [
    *(None, True, 0, -1, 7, 2**63, 10**400, 1.5, float("nan"), float("-inf")),
    *("", "7", "Node", "Kernel", "Session", "model_run", "x_kernel_time", "\ud800", "²"),
    *([], [7], {}, {"op_name": 3}, {"op_name": "Conv", "provider": "x", "mem_in_use_peak": "²"}),
]


@given(
    st.dictionaries(st.sampled_from(sorted(NODE)), st.sampled_from(_VALUES)),
    st.sampled_from([RUN, NODE, KERNEL]),
)
def test_whatever_an_event_holds_is_read_or_a_typed_error(
    changes: dict[str, Any], entry: dict[str, Any]
) -> None:
    with contextlib.suppress(VoxportError):
        trace = parse_trace(json.dumps([{**entry, **changes}]), "profile")
        assert len(trace.runs) + len(trace.nodes) + len(trace.kernels) <= 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'["\xe9"]')
    for path in (latin, tmp_path, tmp_path / "missing.json"):
        with pytest.raises(TraceError, match="unreadable"):
            read_trace(path)


# What ONNX Runtime writes


def test_a_real_profile(tmp_path: Path) -> None:
    _, content = tiny_artifacts.linear()
    with OnnxSession(content, "tiny", profile_to=tmp_path / "profile") as session:
        for rows in (2, 3, 4):
            session.run(x=np.ones((rows, 3), np.float32))
        trace = read_trace(session.end_profiling())
    assert len(trace.runs) == 3
    assert [event.op for event in trace.nodes] == ["MatMul"] * 3
    for run, event in zip(trace.runs, trace.nodes, strict=True):
        assert event.provider == "CPUExecutionProvider"
        assert run.start_us <= event.start_us <= event.end_us <= run.end_us
    assert len(trace.last(2).nodes) == 2
