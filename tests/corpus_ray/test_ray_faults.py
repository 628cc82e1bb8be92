"""Workers on a real Ray cluster of several node processes, and what kills them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray_cluster import RayCluster, needs_ray, ray_cluster

pytestmark = needs_ray
_DRIVER = Path(__file__).with_name("ray_driver.py")
_LIMIT_S = 120.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(num_nodes=2) as started:
        yield started


class Run:
    """A driver under way: the lines that it has told so far."""

    def __init__(self, cluster: RayCluster, job: dict[str, Any]) -> None:
        self.lines: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, str(_DRIVER), json.dumps({"address": cluster.address, **job})],
            stdout=subprocess.PIPE,
            text=True,
            env=cluster.environment,
        )
        # Whoever waits for a line of one that hangs then gets none.
        self._timer = threading.Timer(_LIMIT_S, self._process.kill)
        self._timer.start()

    def next(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("{"), f"{line!r} after {self.lines}"
        self.lines.append(json.loads(line))
        return self.lines[-1]

    def to_the_end(self) -> list[dict[str, Any]]:
        """All lines; the last is ``end``."""
        while not (self.lines and "end" in self.lines[-1]):
            self.next()
        assert self._process.wait(_LIMIT_S) == 0
        return self.lines

    def of(self, key: str) -> dict[Any, dict[str, Any]]:
        return {each[key]: each for each in self.lines if key in each}

    def terminate(self) -> None:
        self._process.terminate()

    def stop(self, kind: int = signal.SIGKILL) -> int:
        self._timer.cancel()
        if self._process.poll() is None:
            self._process.send_signal(kind)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait(_LIMIT_S)


@pytest.fixture
def start(cluster: RayCluster, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start a driver on files with these contents; the log of beginnings is ``tmp_path/log``."""
    runs: list[Run] = []
    (tmp_path / "log").mkdir()

    def begin(contents: dict[str, str], opened: list[str] | None = None, **known: Any) -> Run:
        files = [tmp_path / f"{name}.txt" for name in contents]
        for file, content in zip(files, contents.values(), strict=True):
            file.write_text(content)
        job = {"files": [str(each) for each in files], **known}
        job["opened"] = opened or ["obeying", str(tmp_path / "log")]
        runs.append(Run(cluster, job))
        return runs[-1]

    yield begin
    for run in runs:
        run.stop()


def pid_of(log: Path, name: str) -> int:
    """The process that has begun with a recording."""
    return int(_eventually(lambda: next(log.glob(f"{name}.*"), None)).suffix[1:])


def _eventually(look: Callable[[], Any]) -> Any:
    end_s = time.monotonic() + _LIMIT_S
    while (found := look()) is None:
        assert time.monotonic() < end_s
        time.sleep(0.05)
    return found


def test_every_recording_ends_once(start: Callable[..., Run], cluster: RayCluster) -> None:
    names = [f"r{number}" for number in range(20)]
    run = start({**dict.fromkeys(names, "hello"), "x": "bad"})
    lines = run.to_the_end()
    assert lines[0] == {"count": 2}
    assert sorted(each["name"] for each in lines if "name" in each) == sorted([*names, "x"])
    assert {run.of("name")[name]["text"] for name in names} == {f"{n}: hello\n" for n in names}
    assert run.of("name")["x"]["problem"].endswith("x.txt: it is bad")
    _eventually(lambda: None if cluster.worker_pids() else True)


def test_a_worker_that_is_killed_mid_file_loses_nothing(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    run = start({"slow": "wait 2", **{f"r{n}": "wait 0.2" for n in range(8)}})
    first = pid_of(tmp_path / "log", "slow")
    os.kill(first, signal.SIGKILL)
    lines = run.to_the_end()
    names = [each["name"] for each in lines if "name" in each]
    assert sorted(names) == ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "slow"]
    assert all(not each["problem"] for each in lines if "name" in each)
    (lost,) = run.of("lost").values()
    assert "worker process has died" in lost["reason"]
    assert len(list((tmp_path / "log").glob("slow.*"))) == 2


def test_a_poisoned_file_is_listed_and_the_others_are_done(start: Callable[..., Run]) -> None:
    run = start({"a": "1", "poison": "poison", **{f"r{n}": "wait 0.1" for n in range(6)}})
    run.to_the_end()
    found = run.of("name")
    assert len(found) == 8
    assert "its worker died 3 times: " in found["poison"]["problem"]
    assert [name for name, each in found.items() if each["problem"]] == ["poison"]


def test_an_actor_that_answers_with_an_error_of_its_own_is_replaced(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run = start({"a": f"lost {gate}", **{f"r{n}": "wait 0.1" for n in range(6)}}, workers=1)
    run.to_the_end()
    found = run.of("name")
    assert len(found) == 7
    assert all(not each["problem"] for each in found.values())
    assert [(each["lost"], each["reason"]) for each in run.lines if "lost" in each] == [
        (0, "CUDA failure 719")
    ]
    # The first process has ended; the second one did all of it.
    assert len(list((tmp_path / "log").glob("a.*"))) == 2
    assert len({each.suffix for each in (tmp_path / "log").glob("*.*")}) == 2


def test_an_idle_worker_that_dies_is_noticed(start: Callable[..., Run], tmp_path: Path) -> None:
    run = start({"a": "wait 5", "b": "wait 0.1"})
    while "name" not in run.next():
        pass
    os.kill(pid_of(tmp_path / "log", "b"), signal.SIGKILL)
    run.to_the_end()
    order = [next(iter(each)) for each in run.lines]
    assert order == ["count", "name", "lost", "name", "end"]


@pytest.mark.parametrize(
    ("opened", "error", "message"),
    [
        ("refusing", "DeviceError", "no such device here; choose another"),
        ("broken", "WorkersError", "no worker stays alive: unexpected ValueError: odd"),
        ("dying", "WorkersError", "no worker stays alive: its worker process has died"),
    ],
)
def test_a_work_that_cannot_be_opened_ends_the_run(
    start: Callable[..., Run], opened: str, error: str, message: str
) -> None:
    run = start({"a": "1", "b": "2"}, [opened])
    run.to_the_end()
    assert run.of("name") == {}
    told = run.of("error")[error]
    assert told["message"].startswith(message)


def test_a_worker_that_fits_nowhere_is_an_error(start: Callable[..., Run]) -> None:
    run = start({"a": "1"}, cpus_per_worker=3, patience_s=1.0)
    run.to_the_end()
    assert run.of("error")["WorkersError"]["message"] == (
        "no node of the Ray cluster can hold a worker: a worker takes CPU 3, GPU 0; nodes: "
        "1 with CPU 0, GPU 0, 2 with CPU 1, GPU 0. Ask for less per worker, or add nodes"
    )


def test_a_ray_of_its_own(start: Callable[..., Run], cluster: RayCluster) -> None:
    run = start({"a": "1", "c": "cards"}, address=None, workers=1, files_at_once=2)
    run.to_the_end()
    # Whoever asks for no GPU sees none.
    assert {each["text"] for each in run.of("name").values()} == {"a: 1\n", "c: cards ''\n"}
    _eventually(lambda: None if cluster.worker_pids() else True)


def test_no_cluster_at_an_address(start: Callable[..., Run]) -> None:
    run = start({"a": "1"}, address="ray://127.0.0.1:1")
    run.to_the_end()
    assert "give host:port" in run.of("error")["OptionsError"]["message"]


def test_an_interrupted_run_leaves_no_workers(
    start: Callable[..., Run], cluster: RayCluster, tmp_path: Path
) -> None:
    run = start({"a": "wait 60", "b": "wait 60"})
    pid_of(tmp_path / "log", "a")
    assert run.stop(signal.SIGINT) != 0
    _eventually(lambda: None if cluster.worker_pids() else True)


def test_a_caller_keeps_its_handler_of_sigterm(start: Callable[..., Run], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = start({"a": f"until {gate}"})
    pid_of(tmp_path / "log", "a")
    run.terminate()
    assert [run.next(), run.next()] == [{"count": 2}, {"terminated": True}]
    gate.touch()
    run.to_the_end()
    assert run.of("name")["a"]["problem"] == ""


# The last ones: they add a node, and take some away.


def test_workers_come_with_nodes(
    start: Callable[..., Run], cluster: RayCluster, tmp_path: Path
) -> None:
    names, gate = ("r0", "r1", "r2"), tmp_path / "gate"
    run = start(dict.fromkeys(names, f"until {gate}"), workers=3)
    pid_of(tmp_path / "log", "r0")
    pid_of(tmp_path / "log", "r1")
    cluster.add_node(num_gpus=1)
    assert len({pid_of(tmp_path / "log", name) for name in names}) == 3
    gate.touch()
    run.to_the_end()
    assert len(run.of("name")) == 3


def test_workers_share_a_card(start: Callable[..., Run]) -> None:
    """As Ray counts them: there is no card."""
    run = start({f"g{n}": "cards" for n in range(4)}, cpus_per_worker=0, gpus_per_worker=0.5)
    run.to_the_end()
    assert run.lines[0] == {"count": 2}
    assert {each["text"][2:] for each in run.of("name").values()} == {": cards '0'\n"}


def test_a_node_that_is_killed_loses_nothing(
    start: Callable[..., Run], cluster: RayCluster, tmp_path: Path
) -> None:
    run = start({f"r{n}": "wait 0.3" for n in range(16)})
    while "name" not in run.next():
        pass
    cluster.kill_node(0)
    lines = run.to_the_end()
    names = [each["name"] for each in lines if "name" in each]
    assert sorted(names) == sorted(f"r{n}" for n in range(16))
    assert all(not each["problem"] for each in lines if "name" in each)
    # Until the head misses the node, it may place the replacement there.
    assert 1 <= sum("lost" in each for each in lines) <= 3


def test_a_driver_without_its_own_node_ends(start: Callable[..., Run], cluster: RayCluster) -> None:
    run = start({f"r{n}": "wait 2" for n in range(20)})
    while "name" not in run.next():
        pass
    cluster.kill_head()
    run.to_the_end()
    assert "Ray has ended on this machine" in run.of("error")["WorkersError"]["message"]
