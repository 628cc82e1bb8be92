"""The configuration of one model on Triton, from the manifest row of its artifact.

Sources: Triton's ``docs/user_guide/model_configuration.md`` and ``model_config.proto``, and the
README and source of its ``onnxruntime_backend``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...runtime.batching import BATCH, CPU_BATCH_SIZE, CUDA_BATCH_SIZES
from ...runtime.devices import cuda_options
from ...runtime.environment import Environment
from ...runtime.manifest import ArtifactRow, Description, TensorSpec
from ...runtime.options import DEFAULT_OPTIONS
from ...runtime.serving.names import DESCRIPTION_PARAMETER, SHA256_PARAMETER, model_name
from ...runtime.synthetic import example_shapes
from .messages import import_messages

ServingDevice = Literal["gpu", "cpu"]
ANY_SIZE = -1
_DTYPES = {
    "float32": "TYPE_FP32",
    "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
    "bool": "TYPE_BOOL",
}
# Numbers that the backend has for values of CUDA options, where ``parameters`` give them.
_CODES = {
    "cudnn_conv_algo_search": {"EXHAUSTIVE": "0", "HEURISTIC": "1", "DEFAULT": "2"},
    "arena_extend_strategy": {"kNextPowerOfTwo": "0", "kSameAsRequested": "1"},
}
# Where servers run; what the options depend on otherwise is theirs.
_SERVER = Environment("Linux", "x86_64")


@dataclass(frozen=True)
class Serving:
    """Where and how models are served.

    Attributes:
        device: ``gpu`` for every card that the server has, or ``cpu``.
        instances: of each model, on each card or on the CPU.
        max_batch_size: the largest batch on cards, at least 8. A server is warmed up with it, and
            loads nothing if that does not fit into a card.
        max_queue_delay_s: how long a request may wait for others to share its batch.
    """

    device: ServingDevice = "gpu"
    instances: int = 1
    max_batch_size: int = 64
    max_queue_delay_s: float = 0.005

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes that the runtime prefers, ascending: on cards of every size, on the CPU."""
        if self.device == "cpu":
            return (CPU_BATCH_SIZE,)
        return tuple(sorted(size for _, size in CUDA_BATCH_SIZES if size <= self.max_batch_size))


def shares_batches(row: ArtifactRow) -> bool:
    """Whether Triton may put requests together.

    All tensors begin with a batch, and what is in a row of it depends on no other row. In LSTMs
    that are quantised as they run it does: one scale for the whole batch is found in its values.
    """
    tied = any(op.startswith("DynamicQuantize") for op in row.ops)
    return has_leading_batch(row.description) and not tied


def has_leading_batch(description: Description) -> bool:
    """Whether all tensors begin with a batch axis, and go on."""
    tensors = (*description.inputs, *description.outputs)
    return all(spec.axes.count(BATCH) == 1 and _goes_on(spec) for spec in tensors)


def _goes_on(spec: TensorSpec) -> bool:
    # A tensor of a batch axis alone would have no ``dims``, which Triton does not take.
    return spec.axes[0] == BATCH and len(spec.axes) > 1


def model_config(row: ArtifactRow, serving: Serving) -> Any:
    """The ``ModelConfig`` of an ONNX artifact.

    Raises:
        MissingDependencyError: tritonclient is not installed.
    """
    config = import_messages().ModelConfig(
        name=model_name(row.name, row.precision), backend="onnxruntime"
    )
    config.version_policy.latest.num_versions = 1
    batched = shares_batches(row)
    add_tensors(config, row.description, batched=batched)
    if batched:
        config.max_batch_size = serving.batch_sizes[-1]
        config.dynamic_batching.preferred_batch_size.extend(serving.batch_sizes)
        delay_us = round(serving.max_queue_delay_s * 1e6)
        config.dynamic_batching.max_queue_delay_microseconds = delay_us
    _add_device(config, serving)
    for size in warmup_sizes(row.description, serving):
        _add_warmup(config, row.description, size, batched=batched)
    add_identity(config, row.description, row.sha256)
    return config


def add_tensors(config: Any, description: Description, *, batched: bool) -> None:
    """Inputs and outputs; Triton adds the batch axis itself where there is one."""
    for field, specs in ((config.input, description.inputs), (config.output, description.outputs)):
        for spec in specs:
            axes = spec.axes[1:] if batched else spec.axes
            dims = [axis if isinstance(axis, int) else ANY_SIZE for axis in axes]
            field.add(name=spec.name, data_type=data_type(spec.dtype), dims=dims)


def data_type(dtype: str) -> int:
    """Triton's number of a dtype of the manifest."""
    number: int = import_messages().DataType.Value(_DTYPES[dtype])
    return number


def add_identity(config: Any, description: Description, sha256: str) -> None:
    """What a server can tell of the artifact that it serves."""
    config.parameters[DESCRIPTION_PARAMETER].string_value = description.to_json()
    config.parameters[SHA256_PARAMETER].string_value = sha256


def warmup_sizes(description: Description, serving: Serving) -> tuple[int, ...]:
    """The batch sizes that a server is ready for once it has loaded a model."""
    return (1, *serving.batch_sizes) if has_leading_batch(description) else (1,)


def _add_device(config: Any, serving: Serving) -> None:
    kinds = import_messages().ModelInstanceGroup
    if serving.device == "cpu":
        config.instance_group.add(kind=kinds.KIND_CPU, count=serving.instances)
        # As the runtime: see ``onnx_session``.
        config.parameters["enable_mem_pattern"].string_value = "0"
        return
    config.instance_group.add(kind=kinds.KIND_GPU, count=serving.instances)
    chosen = cuda_options(0, _SERVER, DEFAULT_OPTIONS)
    del chosen["device_id"]  # the instance's own
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    accelerators.add(name="cuda", parameters=chosen)
    # A configuration with any parameters has these options overwritten by the backend's defaults,
    # such as the exhaustive search, unless they are given here as well.
    for name, codes in _CODES.items():
        config.parameters[name].string_value = codes[chosen[name]]


def _add_warmup(config: Any, description: Description, size: int, *, batched: bool) -> None:
    """Zeros: what random bytes make of a float may be no number."""
    # A batch that is an axis like any other is part of the shape.
    request = config.model_warmup.add(name=f"batch_{size}", batch_size=size if batched else 1)
    shapes = example_shapes(description, size)
    for spec in description.inputs:
        wanted = request.inputs[spec.name]
        wanted.data_type = data_type(spec.dtype)
        wanted.dims.extend(shapes[spec.name][1:] if batched else shapes[spec.name])
        wanted.zero_data = True
