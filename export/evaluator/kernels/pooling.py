"""Pooling over windows of the spatial axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .linear import explicit_padding, padded
from .registry import kernel

_MAX = {3: functional.max_pool1d, 4: functional.max_pool2d, 5: functional.max_pool3d}
_AVERAGE = {3: functional.avg_pool1d, 4: functional.avg_pool2d, 5: functional.avg_pool3d}


@dataclass(frozen=True)
class _Windows:
    """Windows along one spatial axis of ``size`` elements."""

    size: int
    extent: int
    stride: int
    before: int
    after: int

    def covered(self, ceil_mode: bool) -> int:
        """How many elements, padding included, the windows cover."""
        free = self.size + self.before + self.after - self.extent
        count = (free + self.stride - 1 if ceil_mode else free) // self.stride + 1
        # As in PyTorch: no window starts in the padding after the input.
        is_padded = self.before > 0 or self.after > 0
        if ceil_mode and is_padded and (count - 1) * self.stride >= self.size + self.before:
            count -= 1
        return (count - 1) * self.stride + self.extent


def _windows(
    x: Tensor, kernel_sizes: list[int], strides: list[int], pad_type: str, pad: list[int] | None
) -> list[_Windows]:
    sizes = list(x.shape[2:])
    pairs = explicit_padding(pad_type, pad, sizes, kernel_sizes, strides)
    axes = zip(sizes, kernel_sizes, strides, pairs, strict=True)
    return [_Windows(size, extent, stride, *pair) for size, extent, stride, pair in axes]


def _fitted(x: Tensor, windows: list[_Windows], ceil_mode: bool, value: float) -> Tensor:
    """``x`` padded with ``value`` and cut, so that the windows cover it exactly."""
    lengths = [each.covered(ceil_mode) for each in windows]
    fitted = padded(
        x,
        [
            (each.before, max(each.after, length - each.size - each.before))
            for each, length in zip(windows, lengths, strict=True)
        ],
        value,
    )
    for axis, length in enumerate(lengths, start=2):
        fitted = fitted.narrow(axis, 0, length)
    return fitted


@kernel("max_pool")
def max_pool(  # noqa: PLR0913, PLR0917 -- the inputs of the op
    x: Tensor,
    kernel_sizes: list[int],
    pad_type: str,
    strides: list[int] | None = None,
    pad: list[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(N, C, *D) -> (N, C, *D'); padding never wins."""
    strides = strides or [1] * len(kernel_sizes)
    windows = _windows(x, kernel_sizes, strides, pad_type, pad)
    full = _fitted(x, windows, ceil_mode, -math.inf)
    return _MAX[x.ndim](full, kernel_sizes, strides)


@kernel("avg_pool")
def avg_pool(  # noqa: PLR0913, PLR0917 -- the inputs of the op
    x: Tensor,
    kernel_sizes: list[int],
    pad_type: str,
    strides: list[int] | None = None,
    pad: list[int] | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """(N, C, *D) -> (N, C, *D'); padding counts as zeros unless it is excluded."""
    if ceil_mode:
        raise ValueError("ceil_mode is not supported")
    strides = strides or [1] * len(kernel_sizes)
    windows = _windows(x, kernel_sizes, strides, pad_type, pad)
    full = _fitted(x, windows, ceil_mode, 0.0)
    means: Tensor = _AVERAGE[x.ndim](full, kernel_sizes, strides)
    if not exclude_padding_from_average:
        return means
    inside = _fitted(torch.ones_like(x), windows, ceil_mode, 0.0)
    shares: Tensor = _AVERAGE[x.ndim](inside, kernel_sizes, strides)
    return means / shares
