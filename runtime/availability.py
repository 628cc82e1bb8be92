"""Which devices an environment has, whether they can be used, and if not why: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .cuda import cuda_libraries, tensorrt_libraries
from .environment import Environment

CPU, CUDA, COREML, TENSORRT = "cpu", "cuda", "coreml", "tensorrt"
# Servers, which are not looked for: whether one answers shows when it is named.
TRITON = "triton"
CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"
# The packages are ML Programs of iOS 17, which is macOS 14.
_OLDEST_MACOS = 14


@dataclass(frozen=True)
class DeviceStatus:
    """A device and what stands in its way.

    Attributes:
        device: what to pass as ``device=``: "cpu", "cuda:0", "coreml", "tensorrt".
        available: the hardware is there.
        usable: it can run graphs now.
        reason: why it can or cannot be used.
        remedy: what to do about it, mostly a pip command; "" where nothing helps, or need be done.
        details: what is known of it: name, memory in bytes, versions.
    """

    device: str
    available: bool
    usable: bool
    reason: str
    remedy: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """Reason and remedy in one line."""
        return f"{self.reason}: {self.remedy}" if self.remedy else self.reason

    def __str__(self) -> str:
        verdict = "usable" if self.usable else "not usable" if self.available else "not there"
        return f"{self.device}: {verdict}, {self.message}"


@dataclass(frozen=True)
class Obstacle:
    """Why a device cannot be used, and what to do about it."""

    reason: str
    remedy: str = ""


def device_statuses(environment: Environment) -> list[DeviceStatus]:
    """Every device, in the order in which ``auto`` prefers them; TensorRT, which it never takes,
    comes last."""
    indices = [card.index for card in environment.cuda.cards] or [0]
    cards = [device_status(CUDA, index, environment) for index in indices]
    if not environment.cuda.cards:
        cards = [DeviceStatus(CUDA, False, False, cards[0].reason, cards[0].remedy)]
    return [
        device_status(COREML, 0, environment),
        *cards,
        device_status(CPU, 0, environment),
        device_status(TENSORRT, indices[0], environment),
    ]


def device_status(kind: str, index: int, environment: Environment) -> DeviceStatus:
    """The status of one device; ``index`` is that of the card, for "cuda" and "tensorrt".

    "triton" stands for all servers: whether they can be asked from here.
    """
    obstacle = next(_OBSTACLES[kind](environment, index), None)
    name = f"{kind}:{index}" if kind == CUDA else kind
    return DeviceStatus(
        name,
        _is_there(kind, index, environment),
        obstacle is None,
        obstacle.reason if obstacle else _ready(kind, environment),
        obstacle.remedy if obstacle else "",
        _details(kind, index, environment),
    )


def _is_there(kind: str, index: int, environment: Environment) -> bool:
    if kind in (CUDA, TENSORRT):
        return any(card.index == index for card in environment.cuda.cards)
    return kind in (CPU, TRITON) or environment.system == "Darwin"


def _ready(kind: str, environment: Environment) -> str:
    if kind == COREML:
        return f"ready with coremltools {environment.coremltools_version}"
    if kind == TRITON:
        return f"ready with tritonclient {environment.tritonclient_version}"
    return f"ready with ONNX Runtime {environment.onnxruntime.version}"


def _details(kind: str, index: int, environment: Environment) -> dict[str, Any]:
    if kind == COREML:
        return {
            "macos_version": environment.macos_version,
            "coremltools_version": environment.coremltools_version,
        }
    if kind == TRITON:
        return {"tritonclient_version": environment.tritonclient_version}
    details: dict[str, Any] = {"onnxruntime_version": environment.onnxruntime.version}
    if kind == CPU:
        return {"machine": environment.machine, **details}
    details["cuda_version"] = environment.onnxruntime.cuda_version
    details["driver_version"] = environment.cuda.driver_version
    for card in environment.cuda.cards:
        if card.index == index:
            details |= {"name": card.name, "memory_bytes": card.memory_bytes}
    return details


# What may stand in the way, the most fundamental first


def _coreml_obstacles(environment: Environment, _: int) -> Iterator[Obstacle]:
    if environment.system != "Darwin":
        yield Obstacle(f"CoreML needs macOS; this is {environment.system}")
    macos = environment.macos_version
    major = _major(macos)
    if major is not None and major < _OLDEST_MACOS:
        yield Obstacle(f"the packages need macOS {_OLDEST_MACOS} or later; this is {macos}")
    if environment.coremltools_version is None:
        yield Obstacle("the package coremltools is missing", "pip install 'voxport[coreml]'")


def _triton_obstacles(environment: Environment, _: int) -> Iterator[Obstacle]:
    if environment.tritonclient_version is None:
        yield Obstacle("the package tritonclient is missing", "pip install 'voxport[serving]'")


def _cpu_obstacles(environment: Environment, _: int) -> Iterator[Obstacle]:
    yield from _onnxruntime_obstacles(environment)


def _cuda_obstacles(environment: Environment, index: int) -> Iterator[Obstacle]:
    yield from _card_obstacles(environment, index)
    yield from _onnxruntime_obstacles(environment)
    yield from _provider_obstacles(environment, CUDA_PROVIDER)
    yield from _driver_obstacles(environment)
    missing = _missing(environment, cuda_libraries)
    if missing:
        yield Obstacle(
            f"{CUDA_PROVIDER} needs CUDA {environment.onnxruntime.cuda_version} and cuDNN 9, but "
            f"{', '.join(missing)} cannot be found",
            "pip install 'onnxruntime-gpu[cuda,cudnn]'",
        )


def _tensorrt_obstacles(environment: Environment, index: int) -> Iterator[Obstacle]:
    yield from _cuda_obstacles(environment, index)
    yield from _provider_obstacles(environment, TENSORRT_PROVIDER)
    missing = _missing(environment, tensorrt_libraries)
    if missing:
        major = _major(environment.onnxruntime.cuda_version)
        # The package without a bound is TensorRT 11, whose libraries have other names.
        yield Obstacle(
            f"{TENSORRT_PROVIDER} needs TensorRT 10, but {', '.join(missing)} cannot be found",
            f"pip install 'tensorrt-cu{major}<11'",
        )


_OBSTACLES: dict[str, Callable[[Environment, int], Iterator[Obstacle]]] = {
    COREML: _coreml_obstacles,
    CUDA: _cuda_obstacles,
    CPU: _cpu_obstacles,
    TENSORRT: _tensorrt_obstacles,
    TRITON: _triton_obstacles,
}


def wanted_extra(environment: Environment) -> str:
    """The extra of voxport that brings the ONNX Runtime for this machine."""
    return "gpu" if environment.cuda.cards else "cpu"


def reinstall_remedy(environment: Environment) -> str:
    """Commands that leave exactly one ONNX Runtime."""
    names = " ".join(name for name, _ in environment.onnxruntime.distributions)
    install = f"pip install 'voxport[{wanted_extra(environment)}]'"
    return f"pip uninstall -y {names}; {install}" if names else install


def _onnxruntime_obstacles(environment: Environment) -> Iterator[Obstacle]:
    runtime = environment.onnxruntime
    if runtime.version is not None:
        return
    if not runtime.distributions:
        yield Obstacle("ONNX Runtime is not installed", reinstall_remedy(environment))
    yield Obstacle(
        f"ONNX Runtime cannot be imported ({runtime.problem})", reinstall_remedy(environment)
    )


def _card_obstacles(environment: Environment, index: int) -> Iterator[Obstacle]:
    cuda = environment.cuda
    if environment.system == "Darwin":
        yield Obstacle("there is no CUDA for macOS")
    if not cuda.cards:
        yield Obstacle(f"no NVIDIA card was found ({cuda.problem or 'the driver lists none'})")
    if cuda.problem:
        yield Obstacle(
            f"CUDA cannot be started: {cuda.problem}",
            "check NVIDIA's driver and CUDA_VISIBLE_DEVICES",
        )
    if all(card.index != index for card in cuda.cards):
        yield Obstacle(f"there is no card {index}; there are {'; '.join(map(str, cuda.cards))}")


def _provider_obstacles(environment: Environment, provider: str) -> Iterator[Obstacle]:
    runtime = environment.onnxruntime
    if provider in runtime.providers:
        return
    names = [name for name, _ in runtime.distributions]
    remedy = reinstall_remedy(environment)
    if len(names) > 1:
        yield Obstacle(
            f"{' and '.join(names)} are installed together, overwrite each other and leave an "
            f"ONNX Runtime without {provider}",
            remedy,
        )
    installed = " ".join(names) or "the installed ONNX Runtime"
    yield Obstacle(f"{installed} is a build without {provider}", remedy)


def _driver_obstacles(environment: Environment) -> Iterator[Obstacle]:
    """Within one major version of CUDA any driver runs any build."""
    driver, built = environment.cuda.driver_version, environment.onnxruntime.cuda_version
    newest, needed = _major(driver), _major(built)
    if newest is not None and needed is not None and newest < needed:
        yield Obstacle(
            f"ONNX Runtime was built for CUDA {built}, but the driver runs CUDA {driver} at most",
            "update NVIDIA's driver",
        )


def _missing(
    environment: Environment, needed: Callable[[str | None, str], tuple[str, ...]]
) -> list[str]:
    """Needed libraries that were looked for and not found."""
    names = needed(environment.onnxruntime.cuda_version, environment.system)
    nowhere = {library.name for library in environment.cuda.libraries if library.found is None}
    return [name for name in names if name in nowhere]


def _major(version: str | None) -> int | None:
    first = (version or "").partition(".")[0]
    return int(first) if first.isdecimal() else None
