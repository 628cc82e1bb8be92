"""Ops that move elements, or make them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .registry import kernel


@kernel("transpose")
def transpose(x: Tensor, perm: list[int]) -> Tensor:
    return x.permute(perm)


@kernel("reshape")
def reshape(x: Tensor, shape: list[int]) -> Tensor:
    """-1 is what remains; 0 takes the size of ``x``, counted from the last axis (iOS 17)."""
    own = [1] * len(shape) + list(x.shape)
    sizes = zip(shape, own[len(own) - len(shape) :], strict=True)
    return x.reshape([given or inherited for given, inherited in sizes])


@kernel("expand_dims")
def expand_dims(x: Tensor, axes: list[int]) -> Tensor:
    """``axes`` are those of the result."""
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@kernel("squeeze")
def squeeze(x: Tensor, axes: list[int] | None = None) -> Tensor:
    """Without ``axes``, all of size 1."""
    wrong = [axis for axis in axes or () if x.shape[axis] != 1]
    if wrong:
        raise ValueError(f"axes {wrong} of {tuple(x.shape)} are not of size 1")
    return x.squeeze() if axes is None else x.squeeze(axes)


@kernel("concat", like="values", agree=("values",))
def concat(values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    """Interleaved, element ``i`` of every operand comes before element ``i + 1`` of any."""
    if not interleave:
        return torch.cat(values, axis)
    axis %= values[0].ndim
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


@kernel("stack", like="values", agree=("values",))
def stack(values: list[Tensor], axis: int) -> Tensor:
    return torch.stack(values, axis)


@kernel("split")
def split(
    x: Tensor, axis: int, num_splits: int | None = None, split_sizes: list[int] | None = None
) -> tuple[Tensor, ...]:
    if split_sizes is None:
        if not num_splits or x.shape[axis] % num_splits:
            raise ValueError(f"{x.shape[axis]} elements cannot be split into {num_splits} parts")
        split_sizes = [x.shape[axis] // num_splits] * num_splits
    return torch.split(x, split_sizes, axis)


@kernel("tile")
def tile(x: Tensor, reps: list[int]) -> Tensor:
    if len(reps) != x.ndim:
        raise ValueError(f"{len(reps)} repetitions for {x.ndim} axes")
    return x.repeat(reps)


@kernel("pad")
def pad(x: Tensor, pad: list[int], mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """``pad`` is (before, after) for each of the last axes, the outermost first."""
    count = len(pad) // 2
    pairs = [(pad[2 * index], pad[2 * index + 1]) for index in range(count)]
    if mode == "constant":
        # torch wants the innermost axis first.
        flat = [size for pair in reversed(pairs) for size in pair]
        return functional.pad(x, flat, "constant", constant_val)
    for axis, (before, after) in enumerate(pairs, start=x.ndim - count):
        x = torch.index_select(x, axis, _mirrored(x.shape[axis], before, after, mode))
    return x


def _mirrored(size: int, before: int, after: int, mode: str) -> Tensor:
    """The elements that a padded axis has, by their index."""
    places = torch.arange(-before, size + after)
    if mode == "replicate":
        return places.clamp(0, size - 1)
    if mode != "reflect" or max(before, after) >= size:
        raise ValueError(f"mode {mode!r} cannot pad {size} elements by {before} and {after}")
    places = places.abs()
    return torch.where(places >= size, 2 * (size - 1) - places, places)


@kernel("shape", dtype="int32")
def shape(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int64)


@kernel("fill", like="value")
def fill(shape: list[int], value: Tensor) -> Tensor:
    return value.reshape(()).expand(shape).clone()


@kernel("fill_like", like="value")
def fill_like(ref_tensor: Tensor, value: Tensor) -> Tensor:
    return value.reshape(()).expand(ref_tensor.shape).clone()


@kernel("range_1d", like="start", agree=("start", "end", "step"))
def range_1d(start: Tensor, end: Tensor, step: Tensor) -> Tensor:
    """start, start + step, ..., below ``end``."""
    count = math.ceil((end.item() - start.item()) / step.item())
    return start + step * torch.arange(max(count, 0))
