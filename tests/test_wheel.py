"""The runtime as it is deployed: the built wheel and ONNX Runtime in an empty environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest
from tiny_artifacts import WEIGHT, linear, publish

_ROOT = Path(__file__).resolve().parents[1]
_ROOMS = ("graphs", "export", "runtime")

_SCRIPT = textwrap.dedent(
    """
    import sys
    import numpy as np
    from voxport.runtime import load
    heavy = {"torch", "onnx", "coremltools", "voxport.export", "voxport.graphs"}
    session = load("linear", models=sys.argv[1], device="cpu")
    y = session.run(x=np.eye(3, dtype=np.float32))["y"]
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
    print(y.tolist())
    """
)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:6])}: {done.stderr[-2000:]}")
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources: building writes into its folder."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for room in _ROOMS:
        shutil.copytree(_ROOT / room, source / room, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, source)
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def empty_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with nothing but voxport[cpu]."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    try:
        _run(str(scripts / "python"), "-m", "pip", "install", "-q", f"{wheel}[cpu]")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        if "No matching distribution" in str(error) or "Connection" in str(error):
            pytest.skip(f"the package index cannot be reached: {error}")
        raise
    return scripts


def test_the_wheel_runs_an_artifact_without_torch(empty_environment: Path, tmp_path: Path) -> None:
    models = publish(tmp_path / "models", [linear()])
    out = _run(str(empty_environment / "python"), "-c", _SCRIPT, str(models))
    assert json.loads(out) == WEIGHT.tolist()


def test_its_commands_say_what_they_lack(empty_environment: Path) -> None:
    voxport = str(empty_environment / "voxport")
    assert "doctor" in _run(voxport, "--help")
    done = subprocess.run([voxport, "export"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install voxport[export,cpu]" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_is_content(empty_environment: Path, tmp_path: Path) -> None:
    models = publish(tmp_path / "models", [linear()])
    text = _run(str(empty_environment / "voxport"), "doctor", "--models", str(models))
    assert "soxr" in text
