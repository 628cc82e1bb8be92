"""Sessions copy nothing on the CPU, share nothing between calls and leave nothing behind."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_session import twice
from onnx import helper
from tiny_artifacts import WEIGHT, description, graph, linear
from voxport.runtime import (
    TensorSpec,
)
from voxport.runtime.inputs import Arrays
from voxport.runtime.onnx_session import OnnxSession

X = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]], np.float32)


def session(**choices: Any) -> OnnxSession:
    return OnnxSession(linear()[1], "net.onnx", **choices)


class Spy:
    """ONNX Runtime's session, and what it was given and gave."""

    def __init__(self, owner: OnnxSession) -> None:
        self._session = owner._session
        owner._session = self
        self.fed: list[Arrays] = []
        self.gave: list[Any] = []

    def run(self, names: list[str], inputs: Arrays) -> Any:
        self.fed.append(inputs)
        self.gave.append(self._session.run(names, inputs))
        return self.gave[-1]


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_inputs_and_outputs_are_handed_over_as_they_are() -> None:
    loaded = session()
    spy = Spy(loaded)
    y = loaded.run(x=X)["y"]
    assert address(spy.fed[0]["x"]) == address(X)
    assert address(y) == address(spy.gave[0][0])
    # And that is ONNX Runtime's own memory, which the array keeps.
    assert not y.flags.owndata
    assert not isinstance(y.base, np.ndarray)


def test_a_slice_of_whole_rows_is_not_copied_either() -> None:
    loaded = session()
    spy = Spy(loaded)
    x = np.ones((10, 3), np.float32)
    loaded.run(x=x[4:7])
    assert address(spy.fed[0]["x"]) == address(x[4:])


MEMORY = """
import sys, tempfile
from pathlib import Path
import numpy as np
from voxport.runtime import load

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

session = load(sys.argv[1], device="cpu")
x = np.ones((2**24, 3), np.float32)
session.run(x=x[:2])
np.isfinite(x).all()  # the check of the inputs takes a byte for each value
before = peak()
y = session.run(x=x)["y"]
print(x.nbytes, y.nbytes, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_onnx_runtime_copies_nothing_either(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(linear()[1])
    command = [sys.executable, "-c", MEMORY, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    given, taken, grown = map(int, run.stdout.split())
    # The output, once; a copy of it or of the input would be another half or more of that.
    assert taken <= grown + given // 3
    assert grown < taken + min(given, taken) // 2


def test_outputs_outlive_the_session() -> None:
    with session() as loaded:
        outputs = [loaded.run(x=X + seed)["y"] for seed in range(20)]
    del loaded
    gc.collect()
    for seed, y in enumerate(outputs):
        np.testing.assert_array_equal(y, (X + seed) @ WEIGHT)


def test_whoever_writes_into_outputs_changes_no_later_call() -> None:
    described = description(
        "constant",
        [TensorSpec("x", "float32", ("rows", 3))],
        [TensorSpec("same", "float32", ("rows", 3)), TensorSpec("weight", "float32", (3, 2))],
    )
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Identity", ["w"], ["weight"]),
    ]
    loaded = OnnxSession(graph(described, nodes, {"w": WEIGHT}), "net.onnx")
    x = X.copy()
    for _ in range(2):
        outputs = loaded.run(x=x)
        np.testing.assert_array_equal(outputs["weight"], WEIGHT)
        for array in outputs.values():
            array[:] = 7
        np.testing.assert_array_equal(x, X)


# Nothing is left behind


GROWTH = """
import sys
from pathlib import Path
import numpy as np
from voxport.runtime import load

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

session = load(sys.argv[1], device="cpu")
x = np.ones((30_000, 3), np.float32)

def call(count):
    for number in range(count):
        if session.batch_size > 1:
            list(session.run_batched(x[: number % 20]))
        else:
            session.run(x=x[: 20_000 + 10 * (number % 1000)])

call(200)
before = resident()
call(1000)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("batches", [False, True])
def test_a_thousand_calls_take_no_memory(tmp_path: Path, batches: bool) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(twice() if batches else linear()[1])
    command = [sys.executable, "-c", GROWTH, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    # One output kept of each plain call would be 200 MB, one input 300 MB.
    assert int(run.stdout) < 4 * 2**20
