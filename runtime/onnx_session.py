"""Run an ONNX artifact through ONNX Runtime, on the providers of a device plan."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from .availability import CPU_PROVIDER
from .batching import CPU_BATCH_SIZE, BatchPlan, batch_plan, is_batched
from .bindings import BoundCalls
from .devices import DevicePlan
from .errors import (
    ArtifactError,
    DeviceError,
    OutOfMemoryError,
    SessionClosedError,
    VoxportError,
)
from .inputs import Arrays
from .manifest import METADATA_KEY, Description, TensorSpec
from .onnx_runtime import import_onnxruntime, load_errors
from .options import DEFAULT_OPTIONS, Options
from .pinned import pinned_empty
from .placement import Placement, actual_plan, check_placement, read_placement
from .session import Session, memory_error
from .several.pinning import AFFINITIES, caller_cpus, can_pin, kept_to, pool_affinities
from .several.processors import allowed_cpus

_LOG = logging.getLogger("voxport")
_ERRORS_ONLY = 3
# ONNX Runtime's names of the manifest's dtypes.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}
_LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
CPU_PLAN = DevicePlan(
    "cpu", "cpu", "onnx", ((CPU_PROVIDER, {}),), ("the CPU was named",), False, True
)


class OnnxSession(Session):
    """An ONNX artifact on ONNX Runtime.

    On the CPU it reads the caller's arrays and gives away its outputs: nothing is copied. On a
    card it copies through page-locked memory into buffers that it allocates once per shape.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        content: bytes,
        source: str,
        *,
        plan: DevicePlan = CPU_PLAN,
        options: Options = DEFAULT_OPTIONS,
        batch_size: int = CPU_BATCH_SIZE,
        profile_to: Path | None = None,
    ) -> None:
        """Load a graph from the bytes of an ``.onnx`` file.

        Args:
            content: the file.
            source: names it in errors.
            plan: where it is meant to run; see ``plan_device``.
            options: how it runs.
            batch_size: of ``run_batched``.
            profile_to: prefix of the file that ONNX Runtime writes its profile to.

        Raises:
            ArtifactError: not a loadable ONNX file, not one of voxport's, or one whose inputs and
                outputs are not those that its metadata declares.
            DeviceError: the plan is strict, and part of the graph would run elsewhere.
            MissingDependencyError: ONNX Runtime is not installed.
        """
        ort = import_onnxruntime()
        self._errors = load_errors(ort)
        if len(plan.providers) > 1 and hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        # Of others it would merely warn, in a way of its own; what is missing is told below.
        built_in = ort.get_available_providers()
        num_cpus = len(plan.cpus or allowed_cpus())
        threads = options.intra_op_threads or num_cpus
        self._calls_at_once = max(1, num_cpus // threads)
        self._caller_cpus = caller_cpus(plan.cpus, threads)
        try:
            # Its fallback prints to stdout and tries the very same provider again.
            with kept_to(plan.cpus):
                self._session = ort.InferenceSession(
                    content,
                    _session_options(ort, options, profile_to, plan),
                    providers=[provider for provider in plan.providers if provider[0] in built_in],
                    enable_fallback=False,
                )
            metadata = self._session.get_modelmeta().custom_metadata_map
            inputs = [_signature(value) for value in self._session.get_inputs()]
            outputs = [_signature(value) for value in self._session.get_outputs()]
        except self._errors as error:
            raise _load_error(plan, source, error) from error
        if METADATA_KEY not in metadata:
            raise ArtifactError(f"{source}: has no voxport metadata; was it exported by voxport?")
        description = Description.from_json(metadata[METADATA_KEY], source)
        _check_signatures("inputs", description.inputs, inputs, source)
        _check_signatures("outputs", description.outputs, outputs, source)
        self._output_names = [spec.name for spec in description.outputs]
        self.placement: Placement | None = read_placement(self._session)
        active = self._session.get_providers()
        remarks = check_placement(plan, active, self.placement, source)
        actual = actual_plan(plan, active, remarks)
        batch = _batch_plan(batch_size, description, options, actual)
        super().__init__(description, actual, hashlib.sha256(content).hexdigest(), batch)
        self.remarks = remarks
        for remark in remarks:
            _LOG.warning("%s: %s", source, remark)
        self._bound = self._bound_calls(ort, options)

    def _bound_calls(self, ort: Any, options: Options) -> BoundCalls | None:
        """Calls through a card's memory; None on the CPU, whose memory needs no copies."""
        if self.on_cpu:
            return None
        if options.cuda_graphs:
            self._warmup_calls = 2  # the second one of a shape is recorded
        else:
            self._workers = 2  # recorded calls follow each other
        index = int(self.device.rpartition(":")[2])
        return BoundCalls(ort, self._session, ("cuda", index), pinned_empty, options.cuda_graphs)

    @property
    def concurrency(self) -> int:
        return self._calls_at_once if self.on_cpu else self._workers

    def _compute(self, inputs: Arrays) -> Arrays:
        # Another thread may close the session meanwhile.
        session, bound = self._session, self._bound
        if session is None:
            raise SessionClosedError("the session was closed")
        try:
            if bound is not None:
                return bound.run(inputs)
            with kept_to(self._caller_cpus):
                outputs = session.run(self._output_names, inputs)
        except MemoryError as error:
            raise OutOfMemoryError(f"out of memory: {error}") from error
        except self._errors as error:
            raise memory_error(str(error)) or VoxportError(str(error)) from error
        return dict(zip(self._output_names, map(np.asarray, outputs), strict=True))

    def end_profiling(self) -> Path:
        """Close the profile that ``profile_to`` began and return its path (JSON).

        Raises:
            SessionClosedError: the session was closed, which closes the profile as well.
        """
        if self._session is None:
            raise SessionClosedError(f"{self.description.name}: the session was closed")
        return Path(self._session.end_profiling())

    def _release(self) -> None:
        self._bound = None
        self._session = None


def _session_options(ort: Any, options: Options, profile_to: Path | None, plan: DevicePlan) -> Any:
    chosen = ort.SessionOptions()
    # A plan of all memory for each shape of inputs gains no time on the CPU, and its blocks fit no
    # other shape: diarizing three minutes peaked at 540 MB with plans, at 415 MB without.
    chosen.enable_mem_pattern = plan.kind != "cpu"
    chosen.log_severity_level = _ERRORS_ONLY
    chosen.graph_optimization_level = getattr(
        ort.GraphOptimizationLevel, _LEVELS[options.graph_optimisation]
    )
    chosen.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    threads = options.intra_op_threads or len(plan.cpus)
    if threads:
        chosen.intra_op_num_threads = threads
    if plan.cpus and threads > 1 and can_pin():
        chosen.add_session_config_entry(AFFINITIES, pool_affinities(plan.cpus, threads))
    if options.inter_op_threads is not None:
        chosen.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        chosen.inter_op_num_threads = options.inter_op_threads
    if profile_to is not None:
        chosen.enable_profiling = True
        chosen.profile_file_prefix = str(profile_to)
    return chosen


def _load_error(plan: DevicePlan, source: str, error: Exception) -> VoxportError:
    """The file's fault on the CPU; on a card, whatever the card's libraries say."""
    if plan.kind == "cpu":
        return ArtifactError(f"{source}: ONNX Runtime cannot load it: {error}")
    return DeviceError(
        f"{source}: ONNX Runtime cannot load it on {plan.device}: {error}. "
        "`voxport doctor` may tell why."
    )


def _batch_plan(
    size: int, description: Description, options: Options, plan: DevicePlan
) -> BatchPlan:
    """How ``run_batched`` begins; what has no batch axis has no use for it."""
    if not is_batched(description):
        return BatchPlan(1)
    on_cpu = plan.kind == "cpu"
    if on_cpu and plan.is_fallback:  # the size was meant for a card
        size = min(size, CPU_BATCH_SIZE)
    return batch_plan(size, description, options.batch_buckets, pads=not on_cpu)


def _signature(value: Any) -> TensorSpec:
    """What a graph says of one of its inputs or outputs; axes without a size are "?"."""
    axes = tuple(axis if isinstance(axis, int) else "?" for axis in value.shape)
    return TensorSpec(value.name, _DTYPES.get(value.type, value.type), axes)


def _check_signatures(
    kind: str, declared: tuple[TensorSpec, ...], found: list[TensorSpec], source: str
) -> None:
    """Names, order, dtypes, ranks and fixed sizes must agree; names of axes are free."""
    plain = [
        TensorSpec(
            spec.name, spec.dtype, tuple(a if isinstance(a, int) else "?" for a in spec.axes)
        )
        for spec in declared
    ]
    if plain != found:
        expected, actual = ("; ".join(map(str, specs)) or "none" for specs in (declared, found))
        raise ArtifactError(f"{source}: declares the {kind} {expected}, but has {actual}")
