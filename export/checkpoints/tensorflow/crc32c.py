"""CRC-32C of many bytes at once, as TensorFlow's files carry it.

A CRC is linear: with a register of zero, a piece is cut into lanes of equal length that advance
together, and two neighbours are joined by advancing the left one over the length of the right.
Byte by byte in Python, a VGGish would take a minute.

Source of the numerics: RFC 3720 (Castagnoli's polynomial), and LevelDB for the masking.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

_Words: TypeAlias = npt.NDArray[np.uint32]
# Where a register goes over some zero bytes: a table for its low half, and one for its high half.
_Advance: TypeAlias = tuple[_Words, _Words]

_POLYNOMIAL = 0x82F63B78  # its bits reversed
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8
_LANES = 2048
_LANE_BYTES = 512
_PIECE_BYTES = _LANES * _LANE_BYTES
# Below, a byte at a time is faster than a piece of lanes.
_FEW_BYTES = 4096


def masked_crc32c(data: memoryview) -> int:
    """The CRC as it is stored: rotated and shifted, lest a CRC be taken over CRCs."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & _ONES


def crc32c(data: memoryview) -> int:
    """CRC-32C of contiguous bytes."""
    odd = len(data) % _PIECE_BYTES
    register = _bytewise(data[:odd]) if odd < _FEW_BYTES else _piece(data[:odd], _ONES)
    for start in range(odd, len(data), _PIECE_BYTES):
        register = _piece(data[start : start + _PIECE_BYTES], register)
    return register ^ _ONES


def _bytewise(data: memoryview) -> int:
    register, table = _ONES, _byte_table()
    for byte in data:
        register = (register >> 8) ^ table[(register ^ byte) & 0xFF]
    return register


def _piece(data: memoryview, register: int) -> int:
    """The register after up to a piece of bytes, of which there are at least four."""
    # Zeros before the first byte change nothing while the register is zero.
    padded = np.zeros(_PIECE_BYTES, np.uint8)
    padded[_PIECE_BYTES - len(data) :] = np.frombuffer(data, np.uint8)
    first = _PIECE_BYTES - len(data)
    padded[first : first + 4] ^= np.frombuffer(register.to_bytes(4, "little"), np.uint8)
    words = np.ascontiguousarray(padded.view("<u4").reshape(_LANES, -1).T)
    advance_word = _advance(4)
    lanes = np.zeros(_LANES, np.uint32)
    for row in words:
        lanes = _advanced(lanes ^ row, advance_word)
    width = _LANE_BYTES
    while len(lanes) > 1:
        lanes = _advanced(lanes[0::2], _advance(width)) ^ lanes[1::2]
        width *= 2
    return int(lanes[0])


def _advanced(registers: _Words, advance: _Advance) -> _Words:
    low, high = advance
    moved: _Words = low[registers & 0xFFFF] ^ high[registers >> 16]
    return moved


@cache
def _advance(num_bytes: int) -> _Advance:
    """Registers over ``num_bytes`` zero bytes, a power of two."""
    units = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if num_bytes == 1:
        table = np.array(_byte_table(), np.uint32)
        moved = (units >> 8) ^ table[units & 0xFF]
    else:
        half = _advance(num_bytes // 2)
        moved = _advanced(_advanced(units, half), half)
    return _table(moved[:16]), _table(moved[16:])


def _table(moved_units: _Words) -> _Words:
    """What becomes of every half register, from what becomes of each of its bits."""
    table = np.zeros(1, np.uint32)
    for moved in moved_units:
        table = np.concatenate([table, table ^ moved])
    return table


@cache
def _byte_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        register = byte
        for _ in range(8):
            register = (register >> 1) ^ (_POLYNOMIAL if register & 1 else 0)
        table.append(register)
    return tuple(table)
