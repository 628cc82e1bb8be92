"""How a session runs: memory, threads, exactness and speed, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from .errors import OptionsError

GraphOptimisation = Literal["off", "basic", "extended", "all"]
ComputeUnits = Literal["all", "cpu_only", "cpu_and_gpu", "cpu_and_ne"]
# A day; much more overflows what waits for it.
_MAX_SECONDS = 86400
_FLAGS = (
    "gpu_allow_growth",
    "tf32",
    "exhaustive_convolution_search",
    "cuda_graphs",
    "batch_across_calls",
)


@dataclass(frozen=True)
class Options:
    """How a session runs. Options that a device does not have are ignored there.

    Attributes:
        device_id: CUDA's index of the card, as ``CUDA_VISIBLE_DEVICES`` leaves it, from 0. A
            device named ``"cuda:N"`` says it too, and must then not contradict it; beside a list of
            cards it is an error.
        gpu_memory_fraction: the most that the session's arena may take of a card, as a share of
            the card's total memory, above 0 and up to 1. None: no limit. cuDNN's own workspace
            and the CUDA context (some hundred MB) come on top.
        gpu_memory_limit_bytes: the same in bytes; give one of the two.
        gpu_allow_growth: if True the arena grows by doubling, which leaves room for what comes
            next; if False by exactly what is asked for: less memory, more allocations.
        tf32: let the card round the factors of FP32 products to 10 bits of mantissa. Faster, no
            longer equal to the CPU within the verified tolerances. TensorRT decides for itself.
        exhaustive_convolution_search: let cuDNN time every algorithm for every new input shape,
            instead of choosing by rule. Seconds for each shape; needs ``batch_buckets``.
        cuda_graphs: record a call's kernels once for each shape and replay them. Inputs and
            outputs must stay where they are in memory; needs ``batch_buckets``.
        intra_op_threads: threads within an operator on the CPU, from 1. None: one for each core.
        inter_op_threads: operators of a graph that may run at once on the CPU, from 1. None: one
            after the other, which is faster for nearly all graphs.
        graph_optimisation: how far ONNX Runtime rewrites the graph: not at all, without what
            depends on the device (``basic``), with fused operators (``extended``), with other
            memory layouts too (``all``).
        compute_units: where Core ML may run a package: ``cpu_and_ne`` is the CPU and the Neural
            Engine.
        batch_buckets: the batch sizes that a session uses, ascending; smaller batches are padded
            to the next one. None: the batch as it comes on the CPU; on a card a tail is padded
            to the next power of two, so that it has few shapes to learn.
        batch_across_calls: put calls of ``run`` that come from several threads while the device
            is busy together, along the batch axis, up to the session's batch size; each caller
            gets its own rows, and its own errors. No call waits for another while the device is
            idle. Rounding depends on the size of a call, so that answers vary within the verified
            tolerances. Only for what is loaded by ``load``, where everything has a batch axis.
        request_timeout_s: how long a request to an inference server may take, from its beginning
            to the end of its answer, in seconds, above 0. Opening a session waits for as long for
            a model that the server has not loaded yet.
        request_retries: how often a request is made again whose failure may pass: nobody answers,
            or the server is busy or starts. Before each there is a pause of 0.5, 1, 2, 4, 8, 10,
            10, ... seconds, up to a quarter more or less. One that takes too long is made again
            once. 0: never.

    Raises:
        OptionsError: a value of the wrong type or out of range, or two that exclude each other.
    """

    device_id: int = 0
    gpu_memory_fraction: float | None = None
    gpu_memory_limit_bytes: int | None = None
    gpu_allow_growth: bool = True
    tf32: bool = False
    exhaustive_convolution_search: bool = False
    cuda_graphs: bool = False
    intra_op_threads: int | None = None
    inter_op_threads: int | None = None
    graph_optimisation: GraphOptimisation = "all"
    compute_units: ComputeUnits = "all"
    batch_buckets: tuple[int, ...] | None = None
    batch_across_calls: bool = False
    request_timeout_s: float = 60.0
    request_retries: int = 3

    def __post_init__(self) -> None:
        _check_integer("device_id", self.device_id, 0)
        _check_integer("request_retries", self.request_retries, 0)
        _check_seconds("request_timeout_s", self.request_timeout_s)
        for name in ("gpu_memory_limit_bytes", "intra_op_threads", "inter_op_threads"):
            if getattr(self, name) is not None:
                _check_integer(name, getattr(self, name), 1)
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise OptionsError(f"{name} must be True or False, got {getattr(self, name)!r:.80}")
        _check_choice("graph_optimisation", self.graph_optimisation, get_args(GraphOptimisation))
        _check_choice("compute_units", self.compute_units, get_args(ComputeUnits))
        _check_memory(self.gpu_memory_fraction, self.gpu_memory_limit_bytes)
        _check_buckets(self)


def _check_integer(name: str, value: Any, minimum: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise OptionsError(f"{name} must be a whole number from {minimum}, got {value!r:.80}")


def _check_seconds(name: str, value: Any) -> None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if not numeric or not 0 < value <= _MAX_SECONDS:
        raise OptionsError(
            f"{name} must be above 0 and at most {_MAX_SECONDS} seconds, got {value!r:.80}"
        )


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionsError(f"{name} must be one of {', '.join(choices)}, got {value!r:.80}")


def _check_memory(fraction: Any, limit_bytes: int | None) -> None:
    if fraction is None:
        return
    if limit_bytes is not None:
        raise OptionsError("give gpu_memory_fraction or gpu_memory_limit_bytes, not both")
    numeric = isinstance(fraction, int | float) and not isinstance(fraction, bool)
    if not numeric or not 0 < fraction <= 1:
        raise OptionsError(
            f"gpu_memory_fraction must be above 0 and at most 1, got {fraction!r:.80}"
        )


def _check_buckets(options: Options) -> None:
    buckets: Any = options.batch_buckets
    if buckets is None:
        for name in ("exhaustive_convolution_search", "cuda_graphs"):
            if getattr(options, name):
                raise OptionsError(
                    f"{name} costs seconds for every new shape: fix the batch sizes with "
                    "batch_buckets, e.g. batch_buckets=(1, 8, 32)"
                )
        return
    if not isinstance(buckets, tuple) or not buckets:
        raise OptionsError(f"batch_buckets must be a tuple of batch sizes, got {buckets!r:.80}")
    for size in buckets:
        _check_integer("each of batch_buckets", size, 1)
    if list(buckets) != sorted(set(buckets)):
        raise OptionsError(f"batch_buckets must ascend, got {buckets!r:.80}")


DEFAULT_OPTIONS = Options()
