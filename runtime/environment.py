"""What this machine and this Python have to run graphs on, as one value.

``devices`` decides on nothing else, so that every decision can be tested without the hardware.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from .cuda import Cuda, probe_cuda
from .errors import MissingDependencyError
from .onnx_runtime import import_onnxruntime
from .several.processors import NumaNode, probe_numa

# Distributions that install the module `onnxruntime`: any two of them overwrite each other.
ORT_DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-silicon",
    "onnxruntime-coreml",
    "onnxruntime-qnn",
    "onnxruntime-training",
    "ort-nightly",
    "ort-nightly-gpu",
)


@dataclass(frozen=True)
class OnnxRuntime:
    """The ONNX Runtime that Python finds.

    ``distributions`` are (name, version) of what pip has installed of it. ``version`` is that of
    the module, None if it cannot be imported; ``problem`` then says why. ``providers`` are those
    that it was built with. ``cuda_version`` is the CUDA that it was built for, e.g. "13.0"; None
    for a build without CUDA, or one that does not say.
    """

    distributions: tuple[tuple[str, str], ...] = ()
    version: str | None = None
    providers: tuple[str, ...] = ()
    cuda_version: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Environment:
    """A machine: ``system`` and ``machine`` as in ``platform`` ("Linux", "x86_64"), and software.

    ``macos_version`` is None elsewhere; ``coremltools_version`` and ``tritonclient_version`` where
    they are not installed.
    ``numa`` has the processors that this process could use when it was first asked.
    """

    system: str
    machine: str
    macos_version: str | None = None
    onnxruntime: OnnxRuntime = field(default_factory=OnnxRuntime)
    cuda: Cuda = field(default_factory=Cuda)
    coremltools_version: str | None = None
    tritonclient_version: str | None = None
    numa: tuple[NumaNode, ...] = (NumaNode(0, (0,)),)

    @property
    def is_apple_silicon(self) -> bool:
        return self.system == "Darwin" and self.machine == "arm64"

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def probe_environment() -> Environment:
    """Look at this machine. Never raises, starts no CUDA in this process, imports no coremltools.

    Takes a fraction of a second; ONNX Runtime is imported. A driver that does not answer costs
    ten seconds, twice at most.
    """
    runtime, site = _probe_onnxruntime()
    system = platform.system()
    return Environment(
        system=system,
        machine=platform.machine(),
        macos_version=platform.mac_ver()[0] or None,
        onnxruntime=runtime,
        cuda=probe_cuda(system, runtime.cuda_version, site),
        coremltools_version=installed("coremltools"),
        tritonclient_version=installed("tritonclient"),
        numa=probe_numa(),
    )


def client_environment() -> Environment:
    """What the client of a server has need of, without looking for ONNX Runtime or cards."""
    return Environment(
        system=platform.system(),
        machine=platform.machine(),
        tritonclient_version=installed("tritonclient"),
    )


@lru_cache(maxsize=1)
def known_environment() -> Environment:
    """``probe_environment``, asked once in a process: hardware and wheels do not change in one."""
    return probe_environment()


def installed(distribution: str) -> str | None:
    """The version of an installed distribution, which is not imported; None if there is none."""
    try:
        return version(distribution)
    except (PackageNotFoundError, KeyError):
        return None


def _probe_onnxruntime() -> tuple[OnnxRuntime, Path | None]:
    """What there is, and the folder that holds the package."""
    found = [(name, installed(name)) for name in ORT_DISTRIBUTIONS]
    distributions = tuple((name, number) for name, number in found if number is not None)
    try:
        ort = import_onnxruntime()
        described = OnnxRuntime(
            distributions,
            str(ort.__version__),
            tuple(ort.get_available_providers()),
            _cuda_version(ort),
        )
    except MissingDependencyError as error:
        return OnnxRuntime(distributions, problem=str(error.__cause__)), None
    except Exception as error:  # a broken binary package fails in many ways
        return OnnxRuntime(distributions, problem=f"{type(error).__name__}: {error}"), None
    return described, _site(ort)


def _cuda_version(ort: ModuleType) -> str | None:
    """From the build's own record, which builds without CUDA leave empty."""
    record: Any = getattr(getattr(ort, "capi", None), "build_and_package_info", None)
    return getattr(record, "cuda_version", None) or None


def _site(ort: ModuleType) -> Path | None:
    return Path(ort.__file__).parent.parent if ort.__file__ else None
