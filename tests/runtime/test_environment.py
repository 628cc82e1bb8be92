"""What is found on a machine: metadata, broken installations, and this very machine."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from environments import ENVIRONMENTS
from voxport.runtime import environment
from voxport.runtime.cuda import Cuda
from voxport.runtime.environment import OnnxRuntime, installed, probe_environment


def module(**fields: Any) -> ModuleType:
    """A module ``onnxruntime``."""
    ort = ModuleType("onnxruntime")
    ort.__file__ = str(Path("site") / "onnxruntime" / "__init__.py")
    vars(ort).update({"__version__": "1.31.1", "get_available_providers": lambda: ["A", "B"]})
    vars(ort).update(fields)
    return ort


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What CUDA was asked for; it answers at once."""
    calls: list[tuple[Any, ...]] = []

    def probe(*arguments: Any) -> Cuda:
        calls.append(arguments)
        return Cuda(problem="nobody looked")

    monkeypatch.setattr(environment, "probe_cuda", probe)
    return calls


def distributions(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """What pip has installed; hyphens are underscores here."""

    def version(name: str) -> str:
        key = name.replace("-", "_")
        if key not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[key]

    monkeypatch.setattr(environment, "version", version)


@pytest.mark.usefixtures("asked")
def test_both_wheels_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    distributions(monkeypatch, onnxruntime="1.30.0", onnxruntime_gpu="1.31.1", coremltools="9.0")
    monkeypatch.setitem(sys.modules, "onnxruntime", module())
    found = probe_environment()
    assert found.onnxruntime == OnnxRuntime(
        (("onnxruntime", "1.30.0"), ("onnxruntime-gpu", "1.31.1")), "1.31.1", ("A", "B")
    )
    assert found.coremltools_version == "9.0"


def test_the_cuda_of_the_build_and_where_its_wheels_are(
    monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Any, ...]]
) -> None:
    record = SimpleNamespace(cuda_version="13.0")
    ort = module(capi=SimpleNamespace(build_and_package_info=record))
    monkeypatch.setitem(sys.modules, "onnxruntime", ort)
    assert probe_environment().onnxruntime.cuda_version == "13.0"
    assert asked == [(platform.system(), "13.0", Path("site"))]


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    "capi", [None, SimpleNamespace(), SimpleNamespace(build_and_package_info=SimpleNamespace())]
)
def test_a_build_that_does_not_tell_its_cuda(monkeypatch: pytest.MonkeyPatch, capi: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", module(capi=capi))
    assert probe_environment().onnxruntime.cuda_version is None


def test_no_onnxruntime(monkeypatch: pytest.MonkeyPatch, asked: list[tuple[Any, ...]]) -> None:
    distributions(monkeypatch)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = probe_environment()
    assert found.onnxruntime.distributions == ()
    assert found.onnxruntime.version is None
    assert "onnxruntime" in (found.onnxruntime.problem or "")
    assert found.coremltools_version is None
    assert asked == [(platform.system(), None, None)]


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    "error", [OSError("undefined symbol"), RuntimeError("bad CPU"), UserWarning("odd system")]
)
def test_an_onnxruntime_that_fails_otherwise(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> ModuleType:
        raise error

    distributions(monkeypatch, onnxruntime="1.31.1")
    monkeypatch.setattr(environment, "import_onnxruntime", fail)
    found = probe_environment().onnxruntime
    assert found.distributions == (("onnxruntime", "1.31.1"),)
    assert found.problem == f"{type(error).__name__}: {error}"


@pytest.mark.usefixtures("asked")
def test_a_module_that_is_not_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder of that name beside the program, or what an unfinished uninstallation leaves.
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    assert "AttributeError" in (probe_environment().onnxruntime.problem or "")


def test_installed_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed("voxport") == metadata.version("voxport")
    assert installed("voxport-of-nobody") is None

    def broken(_: str) -> str:
        raise KeyError("Version")

    monkeypatch.setattr(environment, "version", broken)
    assert installed("voxport") is None


@pytest.mark.usefixtures("asked")
def test_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    found = probe_environment()
    assert (found.system, found.macos_version) == ("Darwin", "15.1")
    assert found.is_apple_silicon


def test_apple_silicon() -> None:
    names = {name for name, machine in ENVIRONMENTS.items() if machine.is_apple_silicon}
    assert names == {"apple", "apple, no coremltools", "apple, no ORT", "apple, macOS 13"}


def test_this_machine() -> None:
    found = probe_environment()
    assert (found.system, found.machine) == (platform.system(), platform.machine())
    assert "CPUExecutionProvider" in found.onnxruntime.providers
    assert found.onnxruntime.version == sys.modules["onnxruntime"].__version__
    # The environment may be printed, logged and put into reports.
    assert json.loads(found.to_json())["onnxruntime"]["version"] == found.onnxruntime.version
