"""Looking for CUDA without having it: a driver, nvidia-smi and wheels that only exist here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from environments import CUDA_13, TENSORRT_10, WINDOWS_CUDA_13, WINDOWS_TENSORRT_10
from voxport.runtime import cuda, cuda_driver
from voxport.runtime.cuda import Card, Cuda, Library, cuda_libraries, probe_cuda, tensorrt_libraries

GIB = 2**30
SMI = "0, NVIDIA H200, 143771\n1, NVIDIA L4, 23034\n"


class Programs:
    """In place of ``subprocess.run``: what each program prints, or the error that it ends in."""

    def __init__(self, **outputs: str | Exception) -> None:
        self.outputs = outputs
        self.commands: list[list[str]] = []

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert options["check"]
        assert options["timeout"] == 10.0
        self.commands.append(command)
        output = self.outputs["driver" if command[0] == sys.executable else "smi"]
        if isinstance(output, Exception):
            raise output
        return subprocess.CompletedProcess(command, 0, stdout=output)


def programs(monkeypatch: pytest.MonkeyPatch, driver: Any, smi: Any) -> Programs:
    fake = Programs(driver=driver if isinstance(driver, Exception) else json.dumps(driver), smi=smi)
    monkeypatch.setattr(subprocess, "run", fake.run)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def answer(*cards: str, problem: str | None = None, loadable: tuple[str, ...] = ()) -> Any:
    found = [{"name": name, "memory_bytes": 16 * GIB} for name in cards]
    version = 13000 if cards else None
    return {"version": version, "problem": problem, "loadable": loadable, "cards": found}


MISSING = FileNotFoundError("nvidia-smi")
SILENT = subprocess.TimeoutExpired("program", 10.0)
FAILED = subprocess.CalledProcessError(9, "program")


# Cards


def test_cards_as_the_driver_numbers_them(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = programs(monkeypatch, answer("B", "A"), SMI)
    found = probe_cuda("Linux", None, None)
    assert found == Cuda((Card(0, "B", 16 * GIB), Card(1, "A", 16 * GIB)), "13.0", None, ())
    (command,) = fake.commands
    assert Path(command[-1]).name == "cuda_driver.py"
    assert Path(command[-1]).is_file()


def test_a_minor_version_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, {**answer("A"), "version": 12080}, MISSING)
    assert probe_cuda("Linux", None, None).driver_version == "12.8"


def test_no_driver_and_no_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, answer(problem="no libcuda"), MISSING)
    assert probe_cuda("Linux", None, None) == Cuda(problem="no libcuda")


def test_a_card_that_the_driver_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, answer(problem="error 803"), SMI)
    found = probe_cuda("Linux", None, None)
    assert [card.name for card in found.cards] == ["NVIDIA H200", "NVIDIA L4"]
    assert found.problem == "error 803"


def test_cards_that_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, answer(), SMI)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert probe_cuda("Linux", None, None).problem == (
        "CUDA's driver lists no card (CUDA_VISIBLE_DEVICES is '')"
    )


@pytest.mark.parametrize("driver", [SILENT, FAILED, OSError("no interpreter")])
def test_nvidia_smi_where_the_driver_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, driver: Exception
) -> None:
    programs(monkeypatch, driver, SMI)
    cards = (Card(0, "NVIDIA H200", 143771 * 2**20), Card(1, "NVIDIA L4", 23034 * 2**20))
    # Nobody looked for the libraries: none is said to be missing.
    assert probe_cuda("Linux", "13.0", None) == Cuda(cards)


@pytest.mark.parametrize("smi", [SILENT, FAILED, MISSING, "", "No devices were found\n"])
def test_nothing_answers(monkeypatch: pytest.MonkeyPatch, smi: Any) -> None:
    programs(monkeypatch, SILENT, smi)
    assert probe_cuda("Windows", None, None) == Cuda(problem="nvidia-smi lists no card")


def test_a_frozen_program_does_not_start_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = programs(monkeypatch, answer("A"), SMI)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert len(probe_cuda("Linux", None, None).cards) == 2
    assert [command[0] for command in fake.commands] == ["nvidia-smi"]


def test_lines_of_nvidia_smi_that_are_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = '0, "Odd, name", 100\nwarning\n1, Orin, [N/A]\nx, y, z\n'
    programs(monkeypatch, SILENT, lines)
    assert probe_cuda("Linux", None, None).cards == (Card(0, "Odd, name", 100 * 2**20),)


def test_macos_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = programs(monkeypatch, answer("A"), SMI)
    assert probe_cuda("Darwin", None, None) == Cuda(problem="there is no CUDA for macOS")
    assert fake.commands == []


# Libraries


def test_the_libraries_of_each_version() -> None:
    assert cuda_libraries("13.0", "Linux") == CUDA_13
    assert cuda_libraries("13.0", "Windows") == WINDOWS_CUDA_13
    assert "libcufft.so.11" in cuda_libraries("12.8", "Linux")
    assert "libcublas.so.12" in cuda_libraries("12.8", "Linux")
    assert "cufft64_11.dll" in cuda_libraries("12.8", "Windows")
    for unknown in (None, "", "11.8", "14.0", "x"):
        assert cuda_libraries(unknown, "Linux") == ()
        assert tensorrt_libraries(unknown, "Linux") == ()
    assert tensorrt_libraries("12.8", "Linux") == TENSORRT_10
    assert tensorrt_libraries("13.0", "Windows") == WINDOWS_TENSORRT_10


def test_libraries_of_wheels_and_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    places = {
        "libcublas.so.13": "nvidia/cu13/lib",
        "libcudnn.so.9": "nvidia/cudnn/lib",
        "libnvinfer.so.10": "tensorrt_libs",
    }
    for name, folder in places.items():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).touch()
    fake = programs(monkeypatch, answer("A", loadable=("libcudart.so.13",)), MISSING)
    found = probe_cuda("Linux", "13.0", tmp_path).libraries
    expected = {name: str(tmp_path / folder / name) for name, folder in places.items()}
    expected["libcudart.so.13"] = "system"
    assert found == tuple(Library(name, expected.get(name)) for name in (*CUDA_13, *TENSORRT_10))
    # The loader is asked for what the wheels lack, and for nothing else.
    asked = [name for name in (*CUDA_13, *TENSORRT_10) if name not in places]
    assert fake.commands[0][-len(asked) - 1 :][1:] == asked


@pytest.mark.parametrize("folder", ["nvidia/cu13/bin/x86_64", "nvidia/cudnn/bin"])
def test_libraries_of_wheels_on_windows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    path = tmp_path / folder / "cudnn64_9.dll"
    path.touch()
    programs(monkeypatch, answer("A"), MISSING)
    found = {lib.name: lib.found for lib in probe_cuda("Windows", "13.0", tmp_path).libraries}
    assert found["cudnn64_9.dll"] == str(path)
    assert found["cublas64_13.dll"] is None


# The program that asks the driver


class Driver:
    """libcuda with two cards, as ctypes would call it; ``failing`` names a function that fails."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing

    def __getattr__(self, name: str) -> Any:
        if name == self.failing:
            return lambda *_: 803
        functions = {
            "cuInit": lambda _: 0,
            "cuDriverGetVersion": lambda out: self.put(out, 13010),
            "cuDeviceGetCount": lambda out: self.put(out, 2),
            "cuDeviceGet": lambda out, index: self.put(out, index + 40),
            "cuDeviceGetName": self.name,
            "cuDeviceTotalMem_v2": lambda out, device: self.put(out, device * GIB),
            "cuGetErrorString": lambda _, out: self.put(out, b"driver mismatch"),
        }
        return functions[name]

    @staticmethod
    def put(out: Any, value: Any) -> int:
        out._obj.value = value
        return 0

    @staticmethod
    def name(buffer: Any, _: int, device: int) -> int:
        buffer.value = f"card {device}".encode()
        return 0


def loading(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    monkeypatch.setattr(cuda_driver, "library", lambda name: found.get(name.partition(".")[0]))


def test_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    loading(monkeypatch, libcuda=Driver(), nvcuda=Driver(), liba=object())
    assert cuda_driver.report(["liba.so", "libb.so"]) == {
        "version": 13010,
        "problem": None,
        "loadable": ["liba.so"],
        "cards": [
            {"name": "card 40", "memory_bytes": 40 * GIB},
            {"name": "card 41", "memory_bytes": 41 * GIB},
        ],
    }


@pytest.mark.parametrize("function", ["cuInit", "cuDriverGetVersion", "cuDeviceTotalMem_v2"])
def test_a_driver_that_fails(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    broken = Driver(function)
    loading(monkeypatch, libcuda=broken, nvcuda=broken)
    found = cuda_driver.report([])
    assert found["problem"] == "CUDA's driver reports error 803: driver mismatch"
    assert found["cards"] == []


def test_a_driver_without_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    loading(monkeypatch, libcuda=object(), nvcuda=object())
    assert "cuDriverGetVersion" in cuda_driver.report([])["problem"]


def test_the_program_runs_and_loads_libraries() -> None:
    # The C library is one that every Linux has; elsewhere, neither is found.
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(cuda._DRIVER_PROGRAM), "libc.so.6", "libnone.so.77"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = json.loads(run.stdout)
    assert found["loadable"] == (["libc.so.6"] if sys.platform == "linux" else [])
    assert bool(found["cards"]) != bool(found["problem"])
    assert run.stderr == ""
