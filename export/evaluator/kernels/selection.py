"""Ops that pick elements."""

from __future__ import annotations

import torch
from torch import Tensor

from .registry import kernel


@kernel("select", like="a", agree=("a", "b"))
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``a`` where ``cond``, else ``b``; all three broadcast."""
    return torch.where(cond, a, b)


def _checked(indices: Tensor, size: int, validate_indices: bool | None) -> Tensor:
    """Indices in [0, size).

    Only programs of iOS 17 and later have ``validate_indices``, and negative indices are out of
    bounds there: the result would be undefined, even without validation.
    """
    lowest = -size if validate_indices is None else 0
    if indices.numel() and not bool(((indices >= lowest) & (indices < size)).all()):
        raise IndexError(f"indices outside of [{lowest}, {size})")
    return torch.where(indices < 0, indices + size, indices)


@kernel("gather")
def gather(
    x: Tensor,
    indices: Tensor,
    axis: int = 0,
    batch_dims: int = 0,
    validate_indices: bool | None = None,
) -> Tensor:
    """Slices of ``x`` along ``axis``: shape x[:axis] + indices + x[axis + 1:]."""
    if batch_dims != 0:
        raise ValueError("batch_dims other than 0 is not supported")
    axis %= x.ndim
    chosen = _checked(indices, x.shape[axis], validate_indices).reshape(-1)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    return torch.index_select(x, axis, chosen).reshape(shape)


@kernel("gather_along_axis")
def gather_along_axis(
    x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool | None = None
) -> Tensor:
    """One element of ``x`` per element of ``indices``, whose shape the result has."""
    return torch.gather(x, axis, _checked(indices, x.shape[axis], validate_indices))


@kernel("slice_by_index")
def slice_by_index(  # noqa: PLR0913, PLR0917 -- the inputs of the op
    x: Tensor,
    begin: list[int],
    end: list[int],
    stride: list[int] | None = None,
    begin_mask: list[bool] | None = None,
    end_mask: list[bool] | None = None,
    squeeze_mask: list[bool] | None = None,
) -> Tensor:
    """numpy's ``x[begin:end:stride, ...]``; a masked begin or end is left out."""
    none = [False] * x.ndim
    stride = stride or [1] * x.ndim
    begin_mask, end_mask, squeeze_mask = begin_mask or none, end_mask or none, squeeze_mask or none
    for axis, size in enumerate(x.shape):
        if squeeze_mask[axis]:
            positions = [begin[axis] % size]
        else:
            first = None if begin_mask[axis] else begin[axis]
            last = None if end_mask[axis] else end[axis]
            positions = list(range(size)[slice(first, last, stride[axis])])
        # By index, since torch has no negative strides.
        x = torch.index_select(x, axis, torch.tensor(positions, dtype=torch.int64))
    squeezed = [axis for axis, is_squeezed in enumerate(squeeze_mask) if is_squeezed]
    return x.squeeze(squeezed) if squeezed else x


@kernel("one_hot", like="on_value", agree=("on_value", "off_value"))
def one_hot(
    indices: Tensor, one_hot_vector_size: int, on_value: Tensor, off_value: Tensor, axis: int = -1
) -> Tensor:
    """``on_value`` at the indices of a new axis, elsewhere ``off_value``."""
    axis %= indices.ndim + 1
    places = torch.arange(one_hot_vector_size).reshape(-1, *[1] * (indices.ndim - axis))
    return torch.where(indices.unsqueeze(axis) == places, on_value, off_value)
