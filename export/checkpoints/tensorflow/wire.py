"""The wire format of protocol buffers, as far as checkpoints use it; every figure is bounded.

Source: "Encoding" of the protocol buffers' documentation.
"""

from __future__ import annotations

from ...errors import CorruptCheckpointError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES = 10
_FEW_FIELDS = 32


def varint(data: memoryview, position: int) -> tuple[int, int]:
    """An unsigned number below 2**64, and the position after it."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(data):
            raise CorruptCheckpointError("a number is cut off")
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >> 64:
                break
            return value, position + index + 1
    raise CorruptCheckpointError("a number has more than 64 bits")


class Message:
    """The fields of one message; those within its parts are left for a message of their own.

    Raises:
        CorruptCheckpointError: fields that reach outside it, that no checkpoint has, or more than
            ``most`` of them.
    """

    def __init__(self, data: memoryview, most: int = _FEW_FIELDS) -> None:
        self._numbers: dict[int, int] = {}
        self._parts: dict[int, list[memoryview]] = {}
        position = count = 0
        while position < len(data):
            count += 1
            if count > most:
                raise CorruptCheckpointError(f"a record has more than {most} fields")
            tag, position = varint(data, position)
            position = self._take(data, position, tag >> 3, tag & 7)

    def _take(self, data: memoryview, position: int, number: int, kind: int) -> int:
        """Keep one field; the position after it."""
        if kind == _VARINT:
            self._numbers[number], end = varint(data, position)
            return end
        if kind == _BYTES:
            length, position = varint(data, position)
        elif kind in _FIXED_BYTES:
            length = _FIXED_BYTES[kind]
        else:
            raise CorruptCheckpointError(f"a record has a field of kind {kind}")
        end = position + length
        if end > len(data):
            raise CorruptCheckpointError("a record's field reaches beyond it")
        part = data[position:end]
        if kind == _BYTES:
            self._parts.setdefault(number, []).append(part)
        else:
            self._numbers[number] = int.from_bytes(part, "little")
        return end

    def has_number(self, field: int) -> bool:
        """Whether the field is there and is a number."""
        return field in self._numbers

    def number(self, field: int, default: int = 0) -> int:
        """A signed number below 2**63 in magnitude."""
        value = self._numbers.get(field, default)
        return value - (1 << 64) if value >> 63 else value

    def natural(self, field: int) -> int:
        """A number that cannot be negative; 0 where it is left out."""
        value = self.number(field)
        if value < 0:
            raise CorruptCheckpointError(f"a count, size or offset is {value}")
        return value

    def parts(self, field: int) -> list[memoryview]:
        """Every occurrence of a field that holds bytes."""
        return self._parts.get(field, [])

    def part(self, field: int) -> memoryview:
        """A field that holds bytes; empty where it is left out."""
        found = self.parts(field)
        if len(found) > 1:
            raise CorruptCheckpointError(f"field {field} of a record is there {len(found)} times")
        return found[0] if found else memoryview(b"")

    def text(self, field: int) -> str:
        """A field that holds UTF-8."""
        try:
            return str(self.part(field), "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptCheckpointError("a name is not UTF-8") from error
