"""What is written is read back with Triton's own definitions, and held to what artifacts do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...runtime.errors import VoxportError
from ...runtime.inputs import Arrays
from ...runtime.manifest import ArtifactRow, TensorSpec
from ...runtime.onnx_session import OnnxSession
from ...runtime.serving.names import DESCRIPTION_PARAMETER, SHA256_PARAMETER
from ...runtime.session import Session
from ...runtime.synthetic import example_inputs
from ..errors import ExportError
from .config import ANY_SIZE, data_type, has_leading_batch
from .messages import parsed

# 6e-8 of the largest value is measured; a scale that rows share moves nearly all by more.
_ROUNDING = 1e-4
# Of values that are rounded to steps, such as masks, one may be at an edge.
_ROUNDED_OVER = 1e-3


def check_model(text: str, content: bytes, row: ArtifactRow, source: str) -> Any:
    """Check a ``config.pbtxt`` against its artifact, which runs on the CPU.

    It runs at batch 1 and at the smallest preferred size, where no row may change another's
    answer, and answers the first warm-up request.

    Args:
        text: the configuration.
        content: the artifact.
        row: of the manifest.
        source: names the configuration in errors.

    Returns:
        The configuration that the text holds.

    Raises:
        ExportError: the text is no configuration, or not this artifact's.
        ArtifactError: the artifact cannot be loaded.
    """
    config = parsed(text, source)
    _check_identity(config, row, source)
    if config.max_batch_size and not has_leading_batch(row.description):
        raise ExportError(f"{source}: {row.path} has no batch axis that requests could share")
    with OnnxSession(content, row.path) as session:
        if session.description != row.description:
            raise ExportError(f"{source}: {row.path} is not what the manifest describes")
        for declared, specs in (
            (config.input, row.description.inputs),
            (config.output, row.description.outputs),
        ):
            _check_axes(config, declared, specs, source)
        inputs = example_inputs(row.description)
        alone = check_call(config, session, inputs, source)
        for size in config.dynamic_batching.preferred_batch_size[:1]:
            together = check_call(config, session, _beside_clicks(inputs, size), source)
            _check_rows(alone, together, source)
        for request in config.model_warmup[: 1 if config.max_batch_size else 2]:
            check_call(config, session, _warmup_inputs(config, request), source)
    return config


def _check_identity(config: Any, row: ArtifactRow, source: str) -> None:
    parameters = {name: value.string_value for name, value in config.parameters.items()}
    stated = parameters.get(SHA256_PARAMETER), parameters.get(DESCRIPTION_PARAMETER)
    if stated != (row.sha256, row.description.to_json()):
        raise ExportError(f"{source}: its parameters tell of another artifact than {row.path}")


def _beside_clicks(inputs: Arrays, size: int) -> Arrays:
    """A batch of a request and clicks, which a network's norms make the loudest that can be."""
    batch = {}
    for name, array in inputs.items():
        clicks = np.zeros((size - 1, *array.shape[1:]), array.dtype)
        clicks[..., array.shape[-1] // 2] = 1
        batch[name] = np.concatenate([array, clicks])
    return batch


def _check_rows(alone: Arrays, together: Arrays, source: str) -> None:
    """Whether a request is answered alike alone and beside others."""
    for name, (values, *_) in alone.items():
        moved = np.abs(values.astype(np.float64) - together[name][0])
        share = float((moved > _ROUNDING * max(1.0, np.abs(values).max(initial=0.0))).mean())
        if not share <= _ROUNDED_OVER:
            raise ExportError(
                f"{source}: requests that share a batch change each other's answers: {share:.2%} "
                f"of {name}"
            )


def _check_axes(
    config: Any, declared: Sequence[Any], specs: Sequence[TensorSpec], source: str
) -> None:
    """Sizes are free just where the graph's are: Triton loads nothing else."""
    found = [(tensor.name, full_dims(config, tensor)) for tensor in declared]
    axes = [
        (spec.name, tuple(axis if isinstance(axis, int) else ANY_SIZE for axis in spec.axes))
        for spec in specs
    ]
    if found != axes:
        raise ExportError(f"{source}: declares {found}, but the artifact has {axes}")


def check_call(config: Any, session: Session, inputs: Arrays, source: str) -> Arrays:
    """Run an artifact and hold what goes in and comes out to its configuration.

    Raises:
        ExportError: a name, dtype or shape is not as configured, or the artifact fails.
    """
    check_arrays(config, config.input, inputs, source)
    try:
        outputs = session.run(**inputs)
    except VoxportError as error:
        raise ExportError(f"{source}: its artifact does not take that: {error}") from error
    check_arrays(config, config.output, outputs, source)
    return outputs


def check_arrays(config: Any, declared: Sequence[Any], arrays: Arrays, source: str) -> None:
    """Whether arrays, batch axis included, are just what a configuration declares.

    Raises:
        ExportError: they are not.
    """
    names = [tensor.name for tensor in declared]
    if sorted(names) != sorted(arrays):
        raise ExportError(f"{source}: declares {names}, but the artifact has {sorted(arrays)}")
    for tensor in declared:
        array, dims = arrays[tensor.name], full_dims(config, tensor)
        if tensor.data_type != data_type(array.dtype.name) or not fits(dims, array.shape):
            raise ExportError(
                f"{source}: declares {tensor.name} as type {tensor.data_type} {list(dims)}, but "
                f"the artifact has {array.dtype} {list(array.shape)}"
            )


def full_dims(config: Any, tensor: Any) -> tuple[int, ...]:
    """The shape of a tensor as it travels: with its batch axis."""
    return (*([ANY_SIZE] if config.max_batch_size else []), *tensor.dims)


def fits(dims: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether two shapes agree wherever both say a size."""
    pairs = zip(dims, shape, strict=False)
    return len(dims) == len(shape) and all(a == b or ANY_SIZE in (a, b) for a, b in pairs)


def _warmup_inputs(config: Any, request: Any) -> Arrays:
    """The arrays of a warm-up request."""
    dtypes = {data_type(name): name for name in ("float32", "int64", "int32", "bool")}
    batch = (request.batch_size,) if config.max_batch_size else ()
    return {
        name: np.zeros((*batch, *tensor.dims), dtypes[tensor.data_type])
        for name, tensor in request.inputs.items()
    }
