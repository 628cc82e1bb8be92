"""Checks of a session's inputs against what the artifact declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .manifest import Description, TensorSpec

Arrays = dict[str, npt.NDArray[Any]]
_STARTS, _WAVEFORM, _START_MULTIPLE = "starts", "waveform", "start_multiple_samples"


def checked_inputs(description: Description, arrays: Mapping[str, Any]) -> Arrays:
    """The inputs as contiguous arrays, in declared order.

    Raises:
        InputError: a missing or unknown name, a wrong dtype, rank or size, axes of one name with
            different sizes, values that are not finite, or windows that do not lie in the waveform.
    """
    declared = ", ".join(map(str, description.inputs))
    names = {spec.name for spec in description.inputs}
    missing, unknown = names - set(arrays), set(arrays) - names
    if missing or unknown:
        problem = f"missing {sorted(missing)}" if missing else f"unknown {sorted(unknown)}"
        raise InputError(f"{description.name}: {problem}; the inputs are: {declared}")
    sizes: dict[str, tuple[int, str]] = {}
    checked = {}
    for spec in description.inputs:
        array = _checked_array(description.name, spec, arrays[spec.name])
        _check_axes(description, spec, array.shape, sizes)
        # Not np.ascontiguousarray, which makes a vector of a scalar.
        checked[spec.name] = np.asarray(array, order="C")
    _check_starts(description, checked)
    return checked


def check_shapes(description: Description, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Whether arrays of these shapes, by name, would fit the declared inputs.

    Raises:
        InputError: a missing or unknown name, a wrong rank or size.
    """
    if set(shapes) != {spec.name for spec in description.inputs}:
        declared = ", ".join(map(str, description.inputs))
        raise InputError(f"{description.name}: got {sorted(shapes)}; the inputs are: {declared}")
    sizes: dict[str, tuple[int, str]] = {}
    for spec in description.inputs:
        if len(shapes[spec.name]) != len(spec.axes):
            raise InputError(f"{description.name}: expected {spec}, got {shapes[spec.name]}")
        _check_axes(description, spec, shapes[spec.name], sizes)


def _checked_array(artifact: str, spec: TensorSpec, value: Any) -> npt.NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise InputError(f"{artifact}: {spec} must be a numpy array, got {type(value).__name__}")
    if value.dtype != np.dtype(spec.dtype):
        raise InputError(
            f"{artifact}: expected {spec}, got dtype {value.dtype}: convert it explicitly, "
            f"e.g. {spec.name}.astype(np.{spec.dtype})"
        )
    if value.ndim != len(spec.axes):
        raise InputError(f"{artifact}: expected {spec}, got shape {value.shape}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise InputError(f"{artifact}: {spec.name} holds NaN or infinite values")
    return value


def _check_starts(description: Description, inputs: Arrays) -> None:
    """Whether windows lie in the waveform, for an artifact whose recipe says how they may start.

    The graph itself would count negative starts from the end, and round others down.
    """
    if _START_MULTIPLE not in description.recipe or not {_STARTS, _WAVEFORM} <= set(inputs):
        return
    multiple = description.figure(_START_MULTIPLE, int)
    window, samples = description.figure("window_samples", int), inputs[_WAVEFORM].size
    starts = inputs[_STARTS]
    wrong = starts[(starts < 0) | (starts > samples - window) | (starts % multiple != 0)]
    if wrong.size:
        raise InputError(
            f"{description.name}: {_STARTS} must be multiples of {multiple} from 0 to "
            f"{samples - window} ({samples} samples less a window of {window}), got {wrong[0]}"
        )


def _check_axes(
    description: Description,
    spec: TensorSpec,
    shape: tuple[int, ...],
    sizes: dict[str, tuple[int, str]],
) -> None:
    """Compare ``shape`` with the declared axes; ``sizes`` collects the named ones of a call."""
    artifact = description.name
    for axis, size in zip(spec.axes, shape, strict=True):
        if isinstance(axis, int):
            if size != axis:
                raise InputError(f"{artifact}: expected {spec}, got shape {shape}")
            continue
        _check_size(description, spec, axis, size)
        known, owner = sizes.setdefault(axis, (size, spec.name))
        if known != size:
            raise InputError(
                f"{artifact}: {owner} has {known} {axis}, but {spec.name} has {size} "
                f"(shape {shape}, expected {spec})"
            )


def _check_size(description: Description, spec: TensorSpec, axis: str, size: int) -> None:
    """Compare the size of a named axis with its limits."""
    has = f"{description.name}: {spec.name} has {size} {axis}"
    minimum, maximum = description.minimums.get(axis, 1), description.maximums.get(axis, size)
    allowed = description.sizes.get(axis, (size,))
    if size < minimum:
        raise InputError(f"{has}, but needs at least {minimum}")
    if size > maximum:
        raise InputError(f"{has}, but takes at most {maximum}")
    if size not in allowed:
        raise InputError(f"{has}, but takes {' or '.join(map(str, allowed))}")
