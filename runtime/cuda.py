"""NVIDIA cards, their driver and CUDA's libraries, found without torch and without starting CUDA.

Nothing here raises or waits for long: a driver that does not answer is a finding.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TIMEOUT_S = 10.0
_DRIVER_PROGRAM = Path(__file__).with_name("cuda_driver.py")
_MIB = 2**20


@dataclass(frozen=True)
class Card:
    """A CUDA device: its number as CUDA counts, its name, its total memory in bytes."""

    index: int
    name: str
    memory_bytes: int

    def __str__(self) -> str:
        return f"cuda:{self.index} {self.name}, {self.memory_bytes / 2**30:.0f} GiB"


@dataclass(frozen=True)
class Library:
    """A shared library, and where it was found: a path, "system" for the loader's own places, or
    None for nowhere."""

    name: str
    found: str | None


@dataclass(frozen=True)
class Cuda:
    """What a machine has of CUDA.

    ``driver_version`` is the newest CUDA that the driver runs, e.g. "13.0"; ``problem`` says why
    cards that are there cannot be used, or why none were found. ``libraries`` are those that were
    looked for; what is not among them is not known.
    """

    cards: tuple[Card, ...] = ()
    driver_version: str | None = None
    problem: str | None = None
    libraries: tuple[Library, ...] = ()


def cuda_libraries(cuda_version: str | None, system: str) -> tuple[str, ...]:
    """What ONNX Runtime's CUDA provider loads, for the CUDA that it was built with.

    Empty for a version whose needs are not known here.
    """
    major = (cuda_version or "").partition(".")[0]
    if major not in ("12", "13"):
        return ()
    # Since CUDA 13 the provider loads cuFFT when a graph has a Fourier transform; none here has.
    if system == "Windows":
        own = [f"{name}64_{major}.dll" for name in ("cublasLt", "cublas", "cudart")]
        cufft = ["cufft64_11.dll"] if major == "12" else []
        return (*own, *cufft, "cudnn64_9.dll")
    own = [f"lib{name}.so.{major}" for name in ("cublasLt", "cublas", "cudart")]
    cufft = ["libcufft.so.11"] if major == "12" else []
    return (*own, "libcurand.so.10", *cufft, "libcudnn.so.9")


def tensorrt_libraries(cuda_version: str | None, system: str) -> tuple[str, ...]:
    """What ONNX Runtime's TensorRT provider loads on top of CUDA's."""
    if not cuda_libraries(cuda_version, system):
        return ()
    if system == "Windows":
        return "nvinfer_10.dll", "nvonnxparser_10.dll"
    return "libnvinfer.so.10", "libnvonnxparser.so.10"


def probe_cuda(system: str, cuda_version: str | None, site: Path | None) -> Cuda:
    """Look for cards and for the libraries of a CUDA version.

    Args:
        system: ``platform.system()``.
        cuda_version: what ONNX Runtime was built with; None for a build without CUDA.
        site: the folder that holds the ``onnxruntime`` package: it loads CUDA's libraries from
            the ``nvidia`` wheels beside it, and then from wherever the system finds them.
    """
    if system == "Darwin":
        return Cuda(problem="there is no CUDA for macOS")
    wanted = (*cuda_libraries(cuda_version, system), *tensorrt_libraries(cuda_version, system))
    in_wheels = {name: path for name in wanted if (path := _in_wheels(site, name))}
    answer = _ask_driver([name for name in wanted if name not in in_wheels])
    if answer is None:
        # An embedded interpreter, or a driver that hangs: the next best source, unchecked.
        libraries = tuple(Library(name, path) for name, path in in_wheels.items())
        cards = _ask_nvidia_smi()
        return Cuda(cards, None, None if cards else "nvidia-smi lists no card", libraries)
    places = in_wheels | dict.fromkeys(answer["loadable"], "system")
    libraries = tuple(Library(name, places.get(name)) for name in wanted)
    version = answer["version"]
    cards = tuple(
        Card(index, card["name"], card["memory_bytes"])
        for index, card in enumerate(answer["cards"])
    )
    return Cuda(
        cards or _ask_nvidia_smi(),
        f"{version // 1000}.{version % 1000 // 10}" if version else None,
        None if cards else _why_none(answer["problem"]),
        libraries,
    )


def _why_none(problem: str | None) -> str:
    why = problem or "CUDA's driver lists no card"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return why if visible is None else f"{why} (CUDA_VISIBLE_DEVICES is {visible!r:.80})"


def _in_wheels(site: Path | None, name: str) -> str | None:
    """Where NVIDIA's wheels have a library: ``nvidia/cu13/lib``, ``nvidia/cudnn/bin/x86_64``..."""
    if site is None:
        return None
    patterns = (f"nvidia/*/lib/{name}", f"nvidia/*/bin/{name}", f"nvidia/*/bin/*/{name}")
    # TensorRT's wheels are not among those that ONNX Runtime looks into, but are where pip puts it.
    for pattern in (*patterns, f"tensorrt_libs/{name}"):
        for path in sorted(site.glob(pattern)):
            return str(path)
    return None


def _ask_driver(libraries: Sequence[str]) -> Any:
    """The JSON of ``cuda_driver.py``; None if it could not be run or did not answer."""
    # A frozen program would start itself again instead of an interpreter.
    if not sys.executable or getattr(sys, "frozen", False):
        return None
    output = _output([sys.executable, "-I", "-S", str(_DRIVER_PROGRAM), *libraries])
    try:
        return json.loads(output)
    except ValueError:
        return None


def _ask_nvidia_smi() -> tuple[Card, ...]:
    """Cards by ``nvidia-smi``, which numbers them by slot and ignores CUDA_VISIBLE_DEVICES."""
    query = ["nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"]
    return tuple(_parsed(_output(query).splitlines()))


def _parsed(lines: Iterable[str]) -> Iterable[Card]:
    for fields in csv.reader(lines, skipinitialspace=True):
        try:
            index, name, memory_mib = fields
            yield Card(int(index), name, int(memory_mib) * _MIB)
        except ValueError:  # "No devices were found", "[N/A]"
            continue


def _output(command: Sequence[str]) -> str:
    """What a program prints; "" if it is missing, fails or does not end."""
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout
