"""A Ray cluster of several node processes on this machine, in a process of its own.

As a script it starts a head without CPUs and as many nodes of one CPU as it is told, prints the
address, and obeys lines: ``add GPUS``, ``remove N`` and ``behead``. At the end of its input it ends
them all.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_ray = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("ray") is None,
    reason="clusters of several nodes on one machine need Ray and Linux",
)
STORE_BYTES = 80 << 20
_HERE = Path(__file__).resolve().parent
# Start-up takes 6 s on two idle cores; somebody else's load is no failure.
_LIMIT_S = 120.0


def environment(temporary: Path) -> dict[str, str]:
    """Of the cluster and of who connects to it: all on 127.0.0.1, all files in one folder."""
    return {
        **os.environ,
        "RAY_TMPDIR": str(temporary),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # So that workers find the works that tests hand them.
        "PYTHONPATH": os.pathsep.join([str(_HERE), os.environ.get("PYTHONPATH", "")]),
    }


class RayCluster:
    """The cluster, as tests see it."""

    def __init__(self, process: subprocess.Popen[str], temporary: Path) -> None:
        self._process = process
        self.temporary = temporary
        self.address = self._answer()
        self.environment = environment(temporary)

    def add_node(self, num_gpus: int = 0) -> int:
        """Start a node of one CPU; its number. GPUs need not exist: Ray only counts them."""
        return int(self._ask(f"add {num_gpus}"))

    def kill_node(self, number: int) -> None:
        """Kill all processes of a node, without a word to anybody."""
        self._ask(f"remove {number}")

    def kill_head(self) -> None:
        """Kill Ray's process on the node that drivers are connected to."""
        self._ask("behead")

    def worker_pids(self) -> list[int]:
        """The processes of our actors, on all nodes."""
        commands = _commands(self.temporary)
        return [int(each.split()[0]) for each in commands if "ray::RayWorker" in each]

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        # Whoever waits for one that hangs then gets the end of its output.
        timer = threading.Timer(_LIMIT_S, self._process.kill)
        timer.start()
        try:
            for line in self._process.stdout:
                if line.startswith("= "):
                    return line[2:].strip()
        finally:
            timer.cancel()
        raise AssertionError(f"the cluster ended with {self._process.wait()}")


@contextmanager
def ray_cluster(num_nodes: int) -> Iterator[RayCluster]:
    """A cluster; afterwards none of its processes is left."""
    # Ray's sockets have paths of at most 107 bytes, which those of pytest's folders may exceed.
    temporary = Path(tempfile.mkdtemp(prefix="vxr", dir="/tmp"))
    process = subprocess.Popen(
        [sys.executable, __file__, str(num_nodes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(temporary),
    )
    try:
        yield RayCluster(process, temporary)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(_LIMIT_S)
        assert process.stdout is not None
        process.stdout.close()
        left = leftovers(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
        assert left == []


def leftovers(temporary: Path, limit_s: float = 30.0) -> list[str]:
    """Processes of the cluster that are still there after ``limit_s``."""
    end_s = time.monotonic() + limit_s
    while (found := _commands(temporary)) and time.monotonic() < end_s:
        time.sleep(0.2)
    return found


def _commands(temporary: Path) -> list[str]:
    """Command lines of processes with the cluster's folder in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"RAY_TMPDIR={temporary}".encode() in variables and state != "Z":
            found.append(f"{folder.name} {command}")
    return found


# The script


def _serve(num_nodes: int) -> None:
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    common = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **common})
    nodes = {n: cluster.add_node(num_cpus=1, **common) for n in range(num_nodes)}
    _reply(cluster.address)
    try:
        for line in sys.stdin:
            order, *which = line.split()
            if order == "add":
                nodes[len(nodes)] = cluster.add_node(num_cpus=1, num_gpus=int(which[0]), **common)
                _reply(str(len(nodes) - 1))
            elif order == "remove":
                cluster.remove_node(nodes[int(which[0])], allow_graceful=False)
                _reply("done")
            elif order == "behead":
                cluster.head_node.kill_raylet(check_alive=False)
                _reply("done")
    finally:
        for node in [*cluster.worker_nodes, cluster.head_node]:
            cluster.remove_node(node)


def _reply(text: str) -> None:
    sys.stdout.write(f"= {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
