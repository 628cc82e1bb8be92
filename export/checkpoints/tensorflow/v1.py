"""Version 1 of TensorFlow's checkpoints: one table, whose values are parts of variables.

The empty key has the list of all variables; every other value names its variable and which part
of it the numbers are, so that keys need no decoding.

Source of the format: ``saved_tensor_slice.proto`` and ``tensor_slice_writer.cc`` of
tensorflow/core/util.
"""

from __future__ import annotations

import numpy as np

from ...errors import CorruptCheckpointError
from .table import Table
from .variables import Array, Variable, Wanted, numbers, region, variable
from .wire import Message

_META, _DATA = 1, 2  # of SavedTensorSlices
_META_VARIABLE = 1
_NAME, _SHAPE, _DTYPE = 1, 2, 3  # of SavedSliceMeta
_SLICE, _TENSOR = 2, 3  # of SavedSlice
# The list is read field by field. That of a VGGish and its optimiser has some 5 kB.
_MAX_LIST_BYTES = 4 << 20
_MAX_VARIABLES = 1 << 16


class _Parts:
    """The numbers of one variable so far."""

    def __init__(self, found: Variable) -> None:
        self._found = found
        self._values: Array | None = None
        self._is_filled: Array | None = None  # None where one part was all of it

    def add(self, saved: Message) -> None:
        """Put a SavedSlice where it belongs."""
        found = self._found
        where = region(saved.part(_SLICE), found.shape, found.name)
        shape = tuple(part.stop - part.start for part in where)
        values = numbers(Message(saved.part(_TENSOR)).part(found.list_field), found, shape)
        if self._values is None and shape == found.shape:
            self._values = values
            return
        if self._values is None:
            self._values = np.empty(found.shape, found.dtype.newbyteorder("="))
            self._is_filled = np.zeros(found.shape, bool)
        if self._is_filled is None or self._is_filled[where].any():
            raise CorruptCheckpointError(f"parts of {found.name} overlap")
        self._values[where] = values
        self._is_filled[where] = True

    def whole(self) -> Array:
        """All numbers of the variable; raises CorruptCheckpointError if some are missing."""
        is_partial = self._is_filled is not None and not self._is_filled.all()
        if self._values is None or is_partial:
            raise CorruptCheckpointError(f"the numbers of {self._found.name} are not all there")
        return self._values


def read_v1(table: Table, wanted: Wanted) -> dict[str, Array]:
    """The variables whose names are wanted.

    Raises CorruptCheckpointError, and TensorShapeError for other than FP32 and FP64 numbers.
    """
    entries = table.entries()
    key, value = next(entries, (b"", memoryview(b"")))
    if key:
        raise CorruptCheckpointError("it has no list of its variables")
    parts = {
        found.name: _Parts(found)
        for found in _variables(Message(value).part(_META), wanted, table.size_bytes)
    }
    for _, value in entries:
        saved = Message(Message(value).part(_DATA))
        name = saved.text(_NAME)
        if name in parts:
            parts[name].add(saved)
    return {name: part.whole() for name, part in parts.items()}


def _variables(meta: memoryview, wanted: Wanted, limit_bytes: int) -> list[Variable]:
    if len(meta) > _MAX_LIST_BYTES:
        raise CorruptCheckpointError(f"its list of variables has {len(meta)} bytes")
    found: dict[str, Variable] = {}
    for part in Message(meta, _MAX_VARIABLES).parts(_META_VARIABLE):
        # A variable in thousands of parts names them all here.
        each = Message(part, _MAX_VARIABLES)
        name = each.text(_NAME)
        if not wanted(name):
            continue
        if name in found:
            raise CorruptCheckpointError(f"its list has {name} twice")
        found[name] = variable(name, each.natural(_DTYPE), each.part(_SHAPE), limit_bytes)
    # Each number is in the file, so that no claim can exceed it.
    if sum(each.size_bytes for each in found.values()) > limit_bytes:
        raise CorruptCheckpointError(f"its variables claim more than its {limit_bytes} bytes")
    return list(found.values())
