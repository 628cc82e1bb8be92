"""Cases of compressed weights; expected values are written out or follow the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from op_cases import Array, Case

_DATA = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
_SCALES = np.array([0.5, 2.0, 0.25], np.float32)
_ZEROS = np.array([1, -2, 3], np.int8)


def _expanded(op: str, expected: Any, target: str = "iOS17", **options: Any) -> Case:
    """The expanded constant, added to zeros: a program needs an input."""
    values = np.asarray(expected, np.float64)
    zeros: Array = np.zeros(values.shape, np.float32)

    def build(mb: Any) -> Callable[..., Any]:
        return lambda x: mb.add(x=x, y=getattr(mb, op)(**options))

    return Case(op, build, {"x": zeros}, (values,), target)


def _uint(bits: int, values: list[Any]) -> Array:
    """An array that coremltools writes with elements of ``bits`` bits."""
    from coremltools.converters.mil.mil import types  # noqa: PLC0415 -- optional

    return np.array(values).astype(types.nptype_from_builtin(getattr(types, f"uint{bits}")))


_BLOCK_SCALES = np.array([[0.5, 2.0], [1.0, 4.0], [0.25, 8.0]], np.float32)
_BLOCK_OFFSETS = np.array([[1, 2], [0, -1], [3, 0]], np.int8)
# From the specification: two tables over axis 0.
_TABLES = np.array([1, 5, 9, 13, 2, 10, 18, 26], np.float32).reshape(2, 1, 4, 1)
_TABLE_INDICES = [[2, 3], [3, 0], [1, 0], [3, 0], [2, 1], [0, 3]]
_LOOKED_UP = [[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]
# 6 bits each: 1, 2, 3, 63 are 000001 000010 000011 111111, least significant bit first.
_SIX_BIT_BYTES = np.array([0b10_000001, 0b0011_0000, 0b111111_00], np.uint8)
_SIX_BIT_TABLE = (np.arange(64) * 2).astype(np.float32)


def cases() -> list[Case]:
    """A function, since some arrays need coremltools' types."""
    return [*_quantised(), *_looked_up(), *_others()]


def _quantised() -> list[Case]:
    return [
        _expanded(
            "constexpr_affine_dequantize",
            (_DATA - _ZEROS[:, None].astype(np.float64)) * _SCALES[:, None],
            quantized_data=_DATA,
            zero_point=_ZEROS,
            scale=_SCALES,
            axis=0,
        ),
        _expanded(
            "constexpr_affine_dequantize",
            (_DATA + 3.0) * 0.5,
            quantized_data=_DATA,
            zero_point=np.int8(-3),
            scale=np.float32(0.5),
            axis=1,
        ),
        _expanded(
            "constexpr_blockwise_shift_scale",
            np.repeat(_BLOCK_SCALES, 2, 1) * (_DATA - np.repeat(_BLOCK_OFFSETS, 2, 1) * 1.0),
            target="iOS18",
            data=_DATA,
            scale=_BLOCK_SCALES,
            offset=_BLOCK_OFFSETS,
        ),
        _expanded(
            "constexpr_blockwise_shift_scale",
            _DATA * _SCALES[:, None].astype(np.float64),
            target="iOS18",
            data=_DATA,
            scale=_SCALES[:, None],
        ),
    ]


def _looked_up() -> list[Case]:
    return [
        _expanded(
            "constexpr_lut_to_dense",
            [[2, 4], [6, 126]],
            indices=_SIX_BIT_BYTES,
            lut=_SIX_BIT_TABLE,
            shape=np.array([2, 2], np.uint32),
        ),
        _expanded(
            "constexpr_lut_to_dense",
            _LOOKED_UP,
            target="iOS18",
            indices=_uint(2, _TABLE_INDICES),
            lut=_TABLES,
        ),
        _expanded(
            "constexpr_lut_to_dense",
            [[1, 4], [2, 5], [3, 6], [4, 4], [5, 5], [6, 6]],
            target="iOS18",
            indices=_uint(1, [[0, 1], [1, 1]]),
            lut=np.array([[1, 2, 3], [4, 5, 6]], np.float32).reshape(1, 1, 2, 3),
            vector_axis=0,
        ),
    ]


def _others() -> list[Case]:
    return [
        # Bits, least significant first: 0, 1, 1, 0, 1.
        _expanded(
            "constexpr_sparse_to_dense",
            [0, 7, 8, 0, 9],
            nonzero_data=np.array([7, 8, 9], np.float32),
            mask=np.array([0b10110], np.uint8),
            shape=np.array([5], np.uint32),
        ),
        _expanded(
            "constexpr_sparse_to_dense",
            [[0, 7], [8, 0]],
            target="iOS18",
            nonzero_data=np.array([7, 8], np.float32),
            mask=_uint(1, [[0, 1], [1, 0]]),
        ),
        _expanded(
            "constexpr_cast",
            [0.5, 1.25],
            source_val=np.array([0.5, 1.25], np.float16),
            output_dtype="fp32",
        ),
    ]
