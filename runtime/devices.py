"""Which device runs a graph: a pure decision over a request and an environment, with its reasons.

A device that is named is strict: it is used, or a ``DeviceError`` says what is missing and how to
install it. ``auto``, and ``fallback=True``, may settle for less; the plan then says so.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from functools import partial

from .availability import (
    COREML,
    CPU,
    CPU_PROVIDER,
    CUDA,
    CUDA_PROVIDER,
    TENSORRT,
    TENSORRT_PROVIDER,
    TRITON,
    DeviceStatus,
    device_status,
    device_statuses,
)
from .device_plan import DevicePlan, Provider
from .environment import Environment, probe_environment
from .errors import DeviceError, OptionsError
from .options import DEFAULT_OPTIONS, Options
from .serving.address import FORMS as SERVERS
from .serving.address import is_server, parse_address
from .several.requests import FORMS, Several, parse_several, plan_several

__all__ = [
    "ALL_FORMATS",
    "DevicePlan",
    "DeviceStatus",
    "detect_available_devices",
    "log_device_info",
    "plan_device",
]

ONNX = "onnx"
ALL_FORMATS = frozenset({ONNX, COREML})
AUTO = "auto"
REQUESTS = (
    f"auto, cpu, cuda, cuda:N, gpu (= cuda), coreml, metal (= coreml), tensorrt, {FORMS}, {SERVERS}"
)
_ALIASES = {"gpu": CUDA, "metal": COREML}
_NUMBERED = re.compile(r"cuda:([0-9]{1,4})")


@dataclass(frozen=True)
class _Target:
    """A kind of device, and the index of its card or the address of the server, if it is one."""

    kind: str
    index: int = 0
    address: str = ""

    @property
    def format(self) -> str:
        return COREML if self.kind == COREML else ONNX

    def __str__(self) -> str:
        numbered = f"{self.kind}:{self.index}" if self.kind in (CUDA, TENSORRT) else self.kind
        return self.address or numbered


def plan_device(
    request: str,
    environment: Environment,
    options: Options = DEFAULT_OPTIONS,
    *,
    fallback: bool = False,
    formats: frozenset[str] = ALL_FORMATS,
) -> DevicePlan:
    """Choose the device of a session.

    Args:
        request: "auto", "cpu", "cuda", "cuda:N", "gpu" (CUDA), "coreml", "metal" (CoreML) or
            "tensorrt". "auto" prefers CoreML on Apple silicon, then CUDA, then the CPU. Several
            sessions: "cuda:0,1" or "cuda:*" (all usable cards), "cpu:0,1" or "cpu:*" (a session on
            each NUMA node), "cpu*2" (all processors divided among two). A server, which is not
            asked here: "triton://HOST:PORT" and the like; see docs/serving.md.
        environment: what there is to choose from; see ``probe_environment``.
        options: the card, and what goes into the providers' options. "cuda:N" overrides
            ``options.device_id``, which must be 0 or N then.
        fallback: where a named device cannot be used, take what "auto" would; of several those
            that can be used.
        formats: the formats in which the artifact is there: "onnx", "coreml".

    Raises:
        DeviceError: no such device, or it cannot be used here; says what to install.
        OptionsError: the request and ``options.device_id`` name different cards.
    """
    target = _target(request, options)
    if target is None:
        return _automatic(request, environment, options, formats)
    obstacle: str | None
    if isinstance(target, Several):
        # With its cards named one by one, the index has been compared, and is of no other use.
        alone = replace(options, device_id=0)
        plan_one = partial(plan_device, environment=environment, options=alone, formats=formats)
        try:
            return plan_several(target, environment, plan_one, fallback=fallback)
        except DeviceError as error:
            obstacle = str(error).removeprefix("device ")
    else:
        obstacle = _obstacle(target, environment, formats)
        if obstacle is None:
            reasons = [f"{request!r} was requested"]
            return _plan(request, target, environment, options, reasons, strict=not fallback)
    if not fallback:
        raise DeviceError(f"device {request!r} cannot be used: {obstacle}")
    return _instead(request, obstacle, environment, options, formats)


def _instead(
    request: str,
    obstacle: str,
    environment: Environment,
    options: Options,
    formats: frozenset[str],
) -> DevicePlan:
    """What "auto" takes where the request cannot be met."""
    try:
        chosen = _automatic(request, environment, options, formats)
    except DeviceError as error:
        raise DeviceError(f"device {request!r} cannot be used: {obstacle}. {error}") from error
    others = (reason for reason in chosen.reasons if obstacle not in reason)
    told = (f"{request!r} cannot be used: {obstacle}", *others)
    return replace(chosen, reasons=told, is_fallback=True)


def _target(request: str, options: Options) -> _Target | Several | None:
    """What a request names; None for "auto"."""
    if request == AUTO:
        return None
    if is_server(request):
        return _Target(TRITON, address=str(parse_address(request)))
    several = parse_several(request)
    if several is not None:
        if several.kind == CUDA and options.device_id:
            raise OptionsError(
                f"device is {request!r}, but options.device_id is {options.device_id}"
            )
        return several
    kind = _ALIASES.get(request, request)
    if kind in (CPU, COREML):
        return _Target(kind)
    if kind in (CUDA, TENSORRT):
        return _Target(kind, options.device_id)
    numbered = _NUMBERED.fullmatch(request)
    if numbered is None:
        raise DeviceError(f"there is no device {request!r:.80}; expected one of: {REQUESTS}")
    index = int(numbered[1])
    if options.device_id not in (0, index):
        raise OptionsError(f"device is {request!r}, but options.device_id is {options.device_id}")
    return _Target(CUDA, index)


def _obstacle(target: _Target, environment: Environment, formats: frozenset[str]) -> str | None:
    """Why a device cannot run the artifact; None if it can."""
    status = device_status(target.kind, target.index, environment)
    if not status.usable:
        return status.message
    if target.format in formats:
        return None
    name = "Core ML package" if target.format == COREML else "ONNX file"
    return f"there is no {name} of this artifact: run `voxport export`"


def _automatic(
    request: str, environment: Environment, options: Options, formats: frozenset[str]
) -> DevicePlan:
    """The first device of auto's order that can run the artifact."""
    passed: list[str] = []
    is_fallback = False
    for target in (_Target(COREML), _Target(CUDA, options.device_id), _Target(CPU)):
        obstacle = _obstacle(target, environment, formats)
        if target.kind == COREML and obstacle is None and not environment.is_apple_silicon:
            passed.append("coreml was passed over: auto takes it on Apple silicon only")
            continue
        if obstacle is None:
            reasons = [f"{target} is the first usable device", *passed]
            plan = _plan(request, target, environment, options, reasons)
            return replace(plan, is_fallback=is_fallback)
        passed.append(f"{target} was passed over: {obstacle}")
        is_fallback |= _is_expected(target, environment)
    raise DeviceError(f"no device can be used: {'; '.join(passed)}")


def _is_expected(target: _Target, environment: Environment) -> bool:
    """Whether the machine has the hardware, so that not using it is a loss."""
    if target.kind == COREML:
        return environment.is_apple_silicon
    return target.kind == CUDA and bool(environment.cuda.cards)


def _plan(  # noqa: PLR0913 -- all that a plan tells
    request: str,
    target: _Target,
    environment: Environment,
    options: Options,
    reasons: list[str],
    *,
    strict: bool = False,
) -> DevicePlan:
    providers = _providers(target, environment, options)
    told = (*reasons, *_remarks(target, environment, options))
    return DevicePlan(request, str(target), target.format, providers, told, False, strict)


def _remarks(target: _Target, environment: Environment, options: Options) -> list[str]:
    """What a user of a device should know of it."""
    remarks = []
    if target.kind == COREML:
        remarks.append(
            "the native package runs, not ONNX Runtime's CoreML provider, which splits graphs into "
            "pieces"
        )
        remarks.append(f"compute units: {options.compute_units}")
    if target.kind in (CUDA, TENSORRT) and options.tf32:
        remarks.append("TF32 is on: results differ from those that were verified")
    if target.kind == CPU and environment.system == "Darwin":
        remarks.append("ONNX Runtime's CoreML provider is not used: it splits graphs into pieces")
    if target.kind == TENSORRT and not options.tf32:
        remarks.append(
            "ONNX Runtime has no option for TF32 in TensorRT: NVIDIA_TF32_OVERRIDE=0 turns it off"
        )
    if target.kind in (CUDA, TENSORRT) and not environment.cuda.libraries:
        remarks.append("CUDA's libraries were not checked")
    return remarks


def _providers(target: _Target, environment: Environment, options: Options) -> tuple[Provider, ...]:
    if target.kind in (COREML, TRITON):
        return ()
    cpu: Provider = (CPU_PROVIDER, {})
    if target.kind == CPU:
        return (cpu,)
    cuda = (CUDA_PROVIDER, cuda_options(target.index, environment, options))
    if target.kind == CUDA:
        return cuda, cpu
    tensorrt = {
        "device_id": str(target.index),
        "trt_cuda_graph_enable": str(int(options.cuda_graphs)),
    }
    return (TENSORRT_PROVIDER, tensorrt), cuda, cpu


def cuda_options(index: int, environment: Environment, options: Options) -> dict[str, str]:
    """The CUDA provider's options; all are given, since its own defaults are other ones."""
    search = "EXHAUSTIVE" if options.exhaustive_convolution_search else "HEURISTIC"
    growth = "kNextPowerOfTwo" if options.gpu_allow_growth else "kSameAsRequested"
    chosen = {
        "device_id": str(index),
        "arena_extend_strategy": growth,
        "cudnn_conv_algo_search": search,
        "use_tf32": str(int(options.tf32)),
        "enable_cuda_graph": str(int(options.cuda_graphs)),
    }
    limit_bytes = options.gpu_memory_limit_bytes
    if options.gpu_memory_fraction is not None:
        (card,) = (card for card in environment.cuda.cards if card.index == index)
        limit_bytes = int(options.gpu_memory_fraction * card.memory_bytes)
    if limit_bytes is not None:
        chosen["gpu_mem_limit"] = str(limit_bytes)
    return chosen


def detect_available_devices() -> list[DeviceStatus]:
    """Every device of this machine with its status, in the order in which "auto" prefers them."""
    return device_statuses(probe_environment())


def log_device_info(logger: logging.Logger | None = None) -> None:
    """Log every device, and what "auto" takes, at INFO; to the logger "voxport" by default."""
    target = logger or logging.getLogger("voxport")
    environment = probe_environment()
    for status in device_statuses(environment):
        target.info("%s", status)
    try:
        target.info("auto: %s", plan_device(AUTO, environment))
    except DeviceError as error:
        target.info("auto: %s", error)
