"""Processors by NUMA node, their division among sessions, and threads that keep to them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import DeviceError
from voxport.runtime.several import processors
from voxport.runtime.several.pinning import caller_cpus, can_pin, kept_to, pool_affinities
from voxport.runtime.several.processors import (
    NumaNode,
    allowed_cpus,
    cpulist,
    divided,
    parse_cpulist,
    probe_numa,
)

CPUS = st.sets(st.integers(0, 300), max_size=40).map(lambda found: tuple(sorted(found)))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3\n", (0, 1, 2, 3)),
        ("0-1,8-9", (0, 1, 8, 9)),
        ("7", (7,)),
        ("\n", ()),  # a node that is only memory
        ("3,1", (1, 3)),
        ("0-2,1-3", (0, 1, 2, 3)),
    ],
)
def test_a_list_of_processors(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpulist(text) == cpus


@pytest.mark.parametrize("text", ["3-1", "a", "1-", "-1", "0-65536", "0-9999999", "1 2", "\u0661"])
def test_what_is_no_list_of_processors(text: str) -> None:
    with pytest.raises(ValueError, match="not a list of processors"):
        parse_cpulist(text)


@given(CPUS)
def test_a_list_is_read_as_it_was_written(cpus: tuple[int, ...]) -> None:
    assert parse_cpulist(cpulist(cpus)) == cpus


@given(CPUS.filter(len), st.data())
def test_shares_are_even_and_in_order(cpus: tuple[int, ...], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(cpus)))
    shares = divided(cpus, count)
    assert tuple(cpu for share in shares for cpu in share) == cpus
    sizes = {len(share) for share in shares}
    assert len(shares) == count
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


# This machine


def nodes_folder(folder: Path, lists: dict[str, str]) -> Path:
    for name, text in lists.items():
        (folder / name).mkdir()
        (folder / name / "cpulist").write_text(text, encoding="ascii")
    return folder


def test_nodes_have_the_processors_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "allowed_cpus", lambda: (1, 2, 9))
    lists = {"node0": "0-3\n", "node10": "4-5\n", "node2": "8-9\n", "node3": "\n"}
    assert probe_numa(nodes_folder(tmp_path, lists)) == (
        NumaNode(0, (1, 2)),
        NumaNode(2, (9,)),
        NumaNode(3, ()),
        NumaNode(10, ()),
    )


@pytest.mark.parametrize(
    "lists",
    [{}, {"node0": "0-1"}, {"node0": "rubbish"}, {"node0": "1-2", "node1": "2,9"}],
    ids=["nothing", "not all", "rubbish", "twice"],
)
def test_one_node_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists: dict[str, str]
) -> None:
    monkeypatch.setattr(processors, "allowed_cpus", lambda: (1, 2, 9))
    assert probe_numa(nodes_folder(tmp_path, lists)) == (NumaNode(0, (1, 2, 9)),)


def test_the_nodes_of_this_machine_have_all_that_may_be_used() -> None:
    found = sorted(cpu for node in probe_numa() for cpu in node.cpus)
    assert found == list(allowed_cpus())


def test_without_affinities_all_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert allowed_cpus() == tuple(range(os.cpu_count() or 1))


# Threads


@pytest.mark.parametrize(
    ("cpus", "threads", "affinities", "callers"),
    [
        ((0,), 1, "", (0,)),
        ((2, 3, 8), 3, "4;9", (2,)),
        ((2, 3, 8), 2, "4", (2, 8)),
        ((2, 3, 8), 1, "", (2, 3, 8)),
        ((2, 3), 4, "4;3;4", (2,)),
        ((), 1, "", ()),
    ],
)
def test_the_pool_and_its_callers_share_the_processors(
    cpus: tuple[int, ...], threads: int, affinities: str, callers: tuple[int, ...]
) -> None:
    assert pool_affinities(cpus, threads) == affinities
    assert caller_cpus(cpus, threads) == callers


@pytest.mark.skipif(not can_pin(), reason="this system does not pin threads")
def test_a_thread_keeps_to_processors_and_gets_back_what_it_had() -> None:
    before = os.sched_getaffinity(0)
    one = min(before)
    seen: list[set[int]] = []
    inner = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))

    def work() -> None:
        with kept_to((one,)):
            seen.append(os.sched_getaffinity(0))
            inner.start()
            inner.join()
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert seen == [{one}, {one}]
    assert os.sched_getaffinity(0) == before
    with kept_to(()):
        assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(not can_pin(), reason="this system does not pin threads")
def test_processors_that_are_not_there() -> None:
    before = os.sched_getaffinity(0)
    message = "no thread may run on the processors 4000-4001 any more"
    with pytest.raises(DeviceError, match=message), kept_to((4000, 4001)):
        pass
    assert os.sched_getaffinity(0) == before


def test_nothing_happens_where_threads_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with kept_to((10**6,)):
        assert not can_pin()
