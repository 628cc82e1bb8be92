"""Version 2 of TensorFlow's checkpoints: a table of where each variable lies in data files.

Source of the format: ``tensor_bundle.proto`` and ``tensor_bundle.cc`` of tensorflow/core.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import BufferedReader

from ...errors import CorruptCheckpointError, UnsupportedArchitectureError
from .crc32c import masked_crc32c
from .table import Table, read_at
from .variables import Array, Variable, Wanted, numbers, variable
from .wire import Message

_NUM_SHARDS, _ENDIANNESS = 1, 2  # of BundleHeaderProto
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE, _CRC, _SLICES = 1, 2, 3, 4, 5, 6, 7  # of BundleEntryProto
_LITTLE = 0
# All of them are open at once.
_MAX_SHARDS = 256


def num_shards(header: memoryview) -> int:
    """How many data files there are, by the value of the empty key; 0 in a table of version 1.

    Raises CorruptCheckpointError, and UnsupportedArchitectureError for big-endian numbers.
    """
    message = Message(header)
    # Version 1 has a record here, and a number nowhere.
    if not message.has_number(_NUM_SHARDS):
        return 0
    if message.number(_ENDIANNESS) != _LITTLE:
        raise UnsupportedArchitectureError("its numbers are not stored little-endian")
    count = message.natural(_NUM_SHARDS)
    if not 1 <= count <= _MAX_SHARDS:
        raise CorruptCheckpointError(f"it claims {count} data files, expected 1 to {_MAX_SHARDS}")
    return count


def read_v2(table: Table, shards: Sequence[BufferedReader], wanted: Wanted) -> dict[str, Array]:
    """The variables whose names are wanted, of the table's data files in order.

    Raises CorruptCheckpointError, TensorShapeError for other than FP32 and FP64 numbers, and
    UnsupportedArchitectureError for a variable that was saved in parts.
    """
    sizes = [shard.seek(0, os.SEEK_END) for shard in shards]
    state: dict[str, Array] = {}
    claimed = 0
    for key, value in table.entries():
        name = _name(key)
        if not name or not wanted(name):
            continue
        entry = Message(value)
        if entry.parts(_SLICES):
            raise UnsupportedArchitectureError(
                f"{name} was saved in parts (a partitioned variable); save it whole"
            )
        found = variable(name, entry.natural(_DTYPE), entry.part(_SHAPE), sum(sizes))
        claimed += found.size_bytes
        if claimed > sum(sizes):
            raise CorruptCheckpointError(f"its variables claim more than {sum(sizes)} bytes")
        state[name] = _numbers(entry, found, shards, sizes)
    return state


def _name(key: bytes) -> str:
    """A variable's name; "" for the header, and for the key of a part, which starts with 0."""
    try:
        return "" if key[:1] == b"\0" else key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptCheckpointError("a name is not UTF-8") from error


def _numbers(
    entry: Message, found: Variable, shards: Sequence[BufferedReader], sizes: Sequence[int]
) -> Array:
    shard, offset, length = (entry.natural(field) for field in (_SHARD, _OFFSET, _SIZE))
    if shard >= len(shards) or offset + length > sizes[shard]:
        raise CorruptCheckpointError(
            f"{found.name} lies at bytes {offset} to {offset + length} of data file {shard}, "
            "which is not there; it is truncated or of another checkpoint"
        )
    if length != found.size_bytes:
        raise CorruptCheckpointError(
            f"{found.name} of shape {found.shape} has {length} bytes, expected {found.size_bytes}"
        )
    data = read_at(shards[shard], offset, length)
    if masked_crc32c(data) != entry.number(_CRC):
        raise CorruptCheckpointError(
            f"{found.name} fails its checksum: the data is damaged or of another checkpoint"
        )
    return numbers(data, found, found.shape)
