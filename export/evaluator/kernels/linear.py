"""Products with matrices and filters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .registry import kernel


@kernel("linear", agree=("weight", "bias"))
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., I) with weight (O, I) -> (..., O)"""
    return functional.linear(x, weight, bias)


@kernel("matmul")
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """(..., N, K) with (..., K, M) -> (..., N, M)"""
    left = x.transpose(-2, -1) if transpose_x else x
    return torch.matmul(left, y.transpose(-2, -1) if transpose_y else y)


_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}


def explicit_padding(
    pad_type: str, pad: list[int] | None, sizes: list[int], extents: list[int], strides: list[int]
) -> list[tuple[int, int]]:
    """(before, after) for each spatial axis.

    Arguments are the sizes of the input, the extents of the (dilated) filter and the strides.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        pad = pad or [0] * (2 * len(sizes))
        return [(pad[2 * axis], pad[2 * axis + 1]) for axis in range(len(sizes))]
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"unknown pad_type {pad_type!r}")
    pairs = []
    for size, extent, stride in zip(sizes, extents, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + extent - size)
        smaller, larger = total // 2, total - total // 2
        pairs.append((smaller, larger) if pad_type == "same" else (larger, smaller))
    return pairs


def padded(x: Tensor, pairs: list[tuple[int, int]], value: float = 0.0) -> Tensor:
    """``x`` with its last axes padded."""
    if not any(before or after for before, after in pairs):
        return x
    return functional.pad(x, [size for pair in reversed(pairs) for size in pair], value=value)


@kernel("conv", agree=("weight", "bias"))
def conv(  # noqa: PLR0913, PLR0917 -- the inputs of the op
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: list[int] | None = None,
    pad_type: str = "valid",
    pad: list[int] | None = None,
    dilations: list[int] | None = None,
    groups: int = 1,
) -> Tensor:
    """(N, C, *D) with weight (O, C / groups, *K) -> (N, O, *D')"""
    spatial = x.ndim - 2
    strides, dilations = strides or [1] * spatial, dilations or [1] * spatial
    extents = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    pairs = explicit_padding(pad_type, pad, list(x.shape[2:]), extents, strides)
    symmetric = all(before == after for before, after in pairs)
    return _CONVOLUTIONS[x.ndim](
        x if symmetric else padded(x, pairs),
        weight,
        bias,
        stride=strides,
        padding=[before for before, _ in pairs] if symmetric else 0,
        dilation=dilations,
        groups=groups,
    )
