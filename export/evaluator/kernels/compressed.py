"""Compressed weights: ops that expand constants (``constexpr_*``), in their iOS 16 and 18 forms."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .registry import kernel


def _along(vector: Tensor, axis: int, rank: int) -> Tensor:
    """A scalar as it is; a vector as a tensor of ``rank`` axes that lies along one of them."""
    if vector.ndim == 0:
        return vector
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)


@kernel("constexpr_affine_dequantize", like="scale")
def affine_dequantize(
    quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int
) -> Tensor:
    """scale * (data - zero_point), each a scalar or a vector along ``axis``."""
    rank = quantized_data.ndim
    return _along(scale, axis, rank) * (quantized_data - _along(zero_point, axis, rank))


def _spread(blocks: Tensor, shape: torch.Size) -> Tensor:
    """Repeats the value of each block, so that all elements have one."""
    for axis, (size, count) in enumerate(zip(shape, blocks.shape, strict=True)):
        if size % count:
            raise ValueError(f"{size} elements cannot be divided into {count} blocks")
        # Axes with one block broadcast.
        if count not in (1, size):
            blocks = blocks.repeat_interleave(size // count, axis)
    return blocks


@kernel("constexpr_blockwise_shift_scale", like="scale")
def blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """scale * (data - offset), with one scale and offset per block."""
    shifted = data if offset is None else data - _spread(offset, data.shape)
    return _spread(scale, data.shape) * shifted


def _unpacked(packed: Tensor, bits: int, count: int) -> Tensor:
    """Unsigned integers of ``bits`` bits from bytes, least significant bit first."""
    if packed.numel() != math.ceil(bits * count / 8):
        raise ValueError(f"{packed.numel()} bytes for {count} indices of {bits} bits")
    flat = np.unpackbits(packed.numpy().astype(np.uint8), bitorder="little")[: bits * count]
    return torch.from_numpy(flat.reshape(count, bits).astype(np.int64) @ (1 << np.arange(bits)))


@kernel("constexpr_lut_to_dense", like="lut")
def lut_to_dense(
    indices: Tensor,
    lut: Tensor,
    shape: list[int] | None = None,
    vector_axis: int | None = None,
) -> Tensor:
    """Looks indices up in one table (iOS 16: packed, with ``shape``) or one per block (iOS 18)."""
    if shape is not None:
        bits = lut.numel().bit_length() - 1
        return lut[_unpacked(indices, bits, math.prod(shape))].reshape(shape)
    if vector_axis is None and lut.shape[-1] != 1:
        raise ValueError("tables of vectors need a vector_axis")
    blocks: list[Tensor] = []
    for axis, (size, count) in enumerate(zip(indices.shape, lut.shape[:-2], strict=True)):
        if size % count:
            raise ValueError(f"{size} elements cannot be divided into {count} blocks")
        block = torch.arange(size) // (size // count)
        blocks.append(_along(block, axis, indices.ndim))
    vectors = lut[(*blocks, indices)]
    if vector_axis is None:
        return vectors.squeeze(-1)
    vector_axis %= indices.ndim
    return vectors.movedim(-1, vector_axis + 1).flatten(vector_axis, vector_axis + 1)


@kernel("constexpr_sparse_to_dense", like="nonzero_data")
def sparse_to_dense(nonzero_data: Tensor, mask: Tensor, shape: list[int] | None = None) -> Tensor:
    """Values where the mask is set (iOS 16: packed, with ``shape``), zero elsewhere."""
    if shape is not None:
        mask = _unpacked(mask, 1, math.prod(shape)).reshape(shape)
    dense = nonzero_data.new_zeros(mask.shape)
    return dense.masked_scatter(_exactly(mask, nonzero_data), nonzero_data)


def _exactly(mask: Tensor, values: Tensor) -> Tensor:
    """The mask as booleans, of which as many are set as there are values."""
    if int((mask != 0).sum()) != values.numel():
        raise ValueError(f"{values.numel()} values for {int((mask != 0).sum())} set bits")
    return mask != 0


@kernel("constexpr_cast", dtype_from="output_dtype")
def constexpr_cast(source_val: Tensor, output_dtype: str) -> Tensor:  # noqa: ARG001
    """FP16 to FP32: the values stay, the executor knows the type from ``output_dtype``."""
    return source_val
