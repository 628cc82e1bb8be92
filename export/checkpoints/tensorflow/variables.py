"""What both versions of TensorFlow's checkpoints say of a variable: its shape and numbers.

Source of the field numbers: ``tensor_shape.proto``, ``tensor_slice.proto``, ``types.proto`` and
``tensor.proto`` of tensorflow/core/framework.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ...errors import CorruptCheckpointError, TensorShapeError
from .wire import Message

Array: TypeAlias = npt.NDArray[np.generic]
Wanted: TypeAlias = Callable[[str], bool]

# The field of a TensorProto that lists such numbers, and NumPy's type of them.
_DTYPES: Mapping[int, tuple[int, np.dtype[np.generic]]] = {
    1: (5, np.dtype("<f4")),
    2: (6, np.dtype("<f8")),
}
_MAX_RANK = 8
_SHAPE_DIM, _DIM_SIZE = 2, 1
_SLICE_EXTENT, _EXTENT_START, _EXTENT_LENGTH = 1, 1, 2


@dataclass(frozen=True)
class Variable:
    """Name, kind of number and shape of one variable."""

    name: str
    dtype: np.dtype[np.generic]
    list_field: int  # of a TensorProto, where its numbers are
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of its numbers; an axis without any counts as one, so that none can be absurd."""
        return math.prod(max(1, size) for size in self.shape) * self.dtype.itemsize


def variable(name: str, dtype_number: int, shape: memoryview, limit_bytes: int) -> Variable:
    """A variable that may be read, as it claims no more than ``limit_bytes``.

    Raises CorruptCheckpointError, and TensorShapeError for other than FP32 and FP64 numbers.
    """
    if dtype_number not in _DTYPES:
        raise TensorShapeError(
            f"{name} holds numbers of TensorFlow's kind {dtype_number}, not FP32 (1) or FP64 (2)"
        )
    list_field, dtype = _DTYPES[dtype_number]
    dims = Message(shape).parts(_SHAPE_DIM)
    if len(dims) > _MAX_RANK:
        raise CorruptCheckpointError(f"{name} has {len(dims)} axes")
    found = Variable(
        name, dtype, list_field, tuple(Message(dim).natural(_DIM_SIZE) for dim in dims)
    )
    if found.size_bytes > limit_bytes:
        raise CorruptCheckpointError(
            f"{name} claims {found.size_bytes} bytes, but the file has {limit_bytes}"
        )
    return found


def region(tensor_slice: memoryview, shape: tuple[int, ...], name: str) -> tuple[slice, ...]:
    """The part of a variable that a TensorSliceProto means; raises CorruptCheckpointError."""
    extents = Message(tensor_slice).parts(_SLICE_EXTENT)
    if len(extents) != len(shape):
        raise CorruptCheckpointError(f"{name} has {len(shape)} axes, a part of it {len(extents)}")
    parts = []
    for extent, size in zip(extents, shape, strict=True):
        message = Message(extent)
        start = message.natural(_EXTENT_START)
        # Without a length it is the whole axis.
        whole = not message.has_number(_EXTENT_LENGTH)
        stop = size if whole else start + message.natural(_EXTENT_LENGTH)
        if stop > size or (whole and start):
            raise CorruptCheckpointError(f"a part of {name} reaches outside of it")
        parts.append(slice(start, stop))
    return tuple(parts)


def numbers(data: memoryview, found: Variable, shape: tuple[int, ...]) -> Array:
    """Little-endian numbers as an array; raises CorruptCheckpointError if there are too few."""
    if len(data) != math.prod(shape) * found.dtype.itemsize:
        raise CorruptCheckpointError(
            f"{found.name} should have {math.prod(shape)} numbers of {found.dtype.itemsize} bytes, "
            f"but there are {len(data)} bytes"
        )
    flat = np.frombuffer(data, found.dtype)
    # Within a record, numbers lie at any byte.
    return np.require(flat, found.dtype.newbyteorder("="), ["ALIGNED"]).reshape(shape)
