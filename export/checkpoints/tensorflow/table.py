"""The table that both versions of TensorFlow's checkpoints are: LevelDB's, sorted by key.

A table is blocks of entries, then a block that says where they are, then a footer. Within a
block, a key is stored as how much it shares with the one before, and its rest.

Source of the format: LevelDB's ``doc/table_format.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedReader

from ...errors import CorruptCheckpointError, UnsupportedArchitectureError
from .crc32c import masked_crc32c
from .wire import varint

MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER_BYTES = 48
_UNCOMPRESSED = 0
_TYPE_BYTES, _CRC_BYTES, _COUNT_BYTES = 1, 4, 4
# Far above any checkpoint's; each bounds what a small file can ask for.
_MAX_ENTRIES = 1 << 16
_MAX_KEY_BYTES = 4096
_MAX_INDEX_BYTES = 16 << 20


class Table:
    """A table in an open file.

    Raises:
        CorruptCheckpointError: truncated, damaged, or not sorted.
        UnsupportedArchitectureError: compressed, as TensorFlow since 1.2 writes none.
    """

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self.size_bytes = stream.seek(0, os.SEEK_END)
        self._end = self.size_bytes - _FOOTER_BYTES
        if self._end < 0:
            raise CorruptCheckpointError("it is too short to be a table of TensorFlow's")
        footer = read_at(stream, self._end, _FOOTER_BYTES)
        if footer[-len(MAGIC) :] != MAGIC:
            raise CorruptCheckpointError("it does not end as a table of TensorFlow's does")
        _, _, position = _handle(footer, 0)
        self._index_offset, self._index_bytes, _ = _handle(footer, position)
        if self._index_bytes > _MAX_INDEX_BYTES:
            raise CorruptCheckpointError(f"its index claims {self._index_bytes} bytes")

    def entries(self) -> Iterator[tuple[bytes, memoryview]]:
        """Every key with its value, keys ascending; one block is in memory at a time."""
        count, last, end = 0, None, 0
        for _, where in _entries(self._block(self._index_offset, self._index_bytes)):
            offset, length, _ = _handle(where, 0)
            # Blocks that overlap would let a small file be read again and again.
            if offset < end:
                raise CorruptCheckpointError("its blocks overlap")
            end = offset + length
            for key, value in _entries(self._block(offset, length)):
                count += 1
                if count > _MAX_ENTRIES:
                    raise CorruptCheckpointError(f"it has more than {_MAX_ENTRIES} entries")
                if last is not None and key <= last:
                    raise CorruptCheckpointError("its entries are not sorted")
                last = key
                yield key, value

    def _block(self, offset: int, length: int) -> memoryview:
        """The entries of a block, whose checksum is right."""
        if offset + length + _TYPE_BYTES + _CRC_BYTES > self._end:
            raise CorruptCheckpointError("a block reaches beyond the file")
        data = read_at(self._stream, offset, length + _TYPE_BYTES + _CRC_BYTES)
        stored = int.from_bytes(data[-_CRC_BYTES:], "little")
        if masked_crc32c(data[:-_CRC_BYTES]) != stored:
            raise CorruptCheckpointError(
                f"the block at byte {offset} fails its checksum; download or copy the file again"
            )
        if data[length] != _UNCOMPRESSED:
            raise UnsupportedArchitectureError(
                f"the block at byte {offset} is compressed (kind {data[length]}), as TensorFlow "
                "since 1.2 writes none; load and save the checkpoint there"
            )
        return _without_restarts(data[:length])


def read_at(stream: BufferedReader, offset: int, length: int) -> memoryview:
    """Bytes of a file that is long enough; raises CorruptCheckpointError if it has become shorter.

    They can be written to, as torch wants the memory of its tensors.
    """
    data = bytearray(length)
    stream.seek(offset)
    if stream.readinto(data) != length:
        raise CorruptCheckpointError("the file became shorter while it was read")
    return memoryview(data)


def _handle(data: memoryview, position: int) -> tuple[int, int, int]:
    """Offset and length of a block in bytes, and the position after them."""
    offset, position = varint(data, position)
    length, position = varint(data, position)
    return offset, length, position


def _without_restarts(block: memoryview) -> memoryview:
    """A block's entries alone: the places after them that a search may start at serve none here."""
    count = int.from_bytes(block[-_COUNT_BYTES:], "little")
    end = len(block) - _COUNT_BYTES * (1 + count)
    if end < 0:
        raise CorruptCheckpointError("a block claims more than it holds")
    return block[:end]


def _entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values of a block."""
    key, position, count = b"", 0, 0
    while position < len(block):
        count += 1
        shared, position = varint(block, position)
        unshared, position = varint(block, position)
        length, position = varint(block, position)
        start = position + unshared
        if shared > len(key) or start + length > len(block):
            raise CorruptCheckpointError("an entry reaches beyond its block")
        if shared + unshared > _MAX_KEY_BYTES or count > _MAX_ENTRIES:
            raise CorruptCheckpointError(
                f"a key is above {_MAX_KEY_BYTES} bytes, or a block above {_MAX_ENTRIES} entries"
            )
        key = key[:shared] + bytes(block[position:start])
        position = start + length
        yield key, block[start:position]
