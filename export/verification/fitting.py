"""Cases cut to the shapes that an artifact takes, where its format fixes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...runtime.manifest import TensorSpec
from ..errors import ExportError
from .cases import Arrays, Case

Bounds = Mapping[str, tuple[int, int]]


def fitted_cases(
    cases: Sequence[Case], inputs: Sequence[TensorSpec], sizes: Mapping[str, int], bounds: Bounds
) -> list[Case]:
    """Every case that can be cut into the given shapes, and only those.

    Speakers are taken in groups, the last one filled with zeros; windows one by one, and where a
    batch holds several, with those of other cases, the last batch filled by repetition, which
    does not count. Cases of other lengths are left out.

    Args:
        cases: of any sizes.
        inputs: the declared inputs, by whose axes cases are cut.
        sizes: of the axes that are fixed.
        bounds: (lowest, highest) size of the other axes.

    Raises:
        ExportError: no case fits: there would be nothing to judge by.
    """
    free = set(bounds)
    fixed = {axis: size for axis, size in sizes.items() if axis not in free}
    parts = [part for case in cases for part in _by_speakers(case, inputs, fixed)]
    rows = [row for part in parts for row in _by_window(part, inputs)]
    fitting = [row for row in rows if _fits(row.inputs, inputs, {**fixed, "batch": 1}, bounds)]
    batched = list(_in_batches(fitting, inputs, fixed.get("batch", 1)))
    if not batched:
        raise ExportError(f"no verification case has the sizes {dict(sizes)}")
    return batched


def _axis(tensor: TensorSpec, name: str) -> int | None:
    return tensor.axes.index(name) if name in tensor.axes else None


def _taken(case: Case, inputs: Sequence[TensorSpec], name: str, part: slice) -> Arrays:
    """The inputs with a slice of the named axis where they have it."""
    taken = dict(case.inputs)
    for tensor in inputs:
        axis = _axis(tensor, name)
        if axis is not None:
            array = np.moveaxis(taken[tensor.name], axis, 0)[part]
            taken[tensor.name] = np.ascontiguousarray(np.moveaxis(array, 0, axis))
    return taken


def _size(case: Case, inputs: Sequence[TensorSpec], name: str) -> int | None:
    for tensor in inputs:
        axis = _axis(tensor, name)
        if axis is not None:
            return int(case.inputs[tensor.name].shape[axis])
    return None


def _by_speakers(
    case: Case, inputs: Sequence[TensorSpec], fixed: Mapping[str, int]
) -> Iterator[Case]:
    group, total = fixed.get("speakers"), _size(case, inputs, "speakers")
    if group is None or total is None:
        yield case
        return
    for start in range(0, total, group):
        taken = _taken(case, inputs, "speakers", slice(start, start + group))
        name = case.name if total <= group else f"{case.name}, speakers from {start}"
        missing = max(0, start + group - total)
        yield replace(case, name=name, inputs=_padded(taken, inputs, missing))


def _padded(arrays: Arrays, inputs: Sequence[TensorSpec], missing: int) -> Arrays:
    """The inputs with ``missing`` more speakers, all zero."""
    padded = dict(arrays)
    for tensor in inputs:
        axis = _axis(tensor, "speakers")
        if axis is not None:
            widths = [(0, missing if i == axis else 0) for i in range(len(tensor.axes))]
            padded[tensor.name] = np.pad(padded[tensor.name], widths)
    return padded


def _by_window(case: Case, inputs: Sequence[TensorSpec]) -> Iterator[Case]:
    total = _size(case, inputs, "batch")
    for row in range(total or 0):
        taken = _taken(case, inputs, "batch", slice(row, row + 1))
        yield replace(case, name=f"{case.name}, window {row}", inputs=taken)
    if total is None:
        yield case


def _fits(
    arrays: Arrays, inputs: Sequence[TensorSpec], fixed: Mapping[str, int], bounds: Bounds
) -> bool:
    for tensor in inputs:
        for axis, size in zip(tensor.axes, arrays[tensor.name].shape, strict=True):
            low, high = bounds.get(str(axis), (0, size))
            if isinstance(axis, str) and (size != fixed.get(axis, size) or not low <= size <= high):
                return False
    return True


def _in_batches(rows: Sequence[Case], inputs: Sequence[TensorSpec], batch: int) -> Iterator[Case]:
    if batch == 1:
        yield from rows
        return
    for decides, numbers in sorted({(row.decides, row.numbers) for row in rows}):
        alike = [row for row in rows if (row.decides, row.numbers) == (decides, numbers)]
        for start in range(0, len(alike), batch):
            counted = min(batch, len(alike) - start)
            chosen = [alike[(start + i) % len(alike)] for i in range(batch)]
            arrays = {
                tensor.name: np.concatenate([row.inputs[tensor.name] for row in chosen])
                for tensor in inputs
            }
            name = f"{batch} windows from {chosen[0].name}"
            yield Case(name, arrays, decides, numbers, counted)
