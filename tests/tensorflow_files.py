"""TensorFlow checkpoints of both versions, written without TensorFlow; and what real ones hold.

TensorFlow 2.21 reads what these functions write (``tests/golden/make_tensorflow.py --read``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Variables = Mapping[str, npt.NDArray[np.generic]]

MAGIC = bytes.fromhex("57fb808b247547db")
_KINDS = {"float32": 1, "float64": 2, "int64": 9}
_LISTS = {"float32": 5, "float64": 6, "int64": 10}
_RESTART_INTERVAL = 16


def golden_variables() -> dict[str, npt.NDArray[np.generic]]:
    """The variables of ``golden/tensorflow.zip``."""
    rng = np.random.default_rng(21)

    def drawn(*shape: int) -> npt.NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    return {
        "vggish/conv1/weights": drawn(3, 3, 1, 4),
        "vggish/conv1/biases": drawn(4),
        "vggish/conv3/conv3_1/weights": drawn(3, 3, 4, 6),
        "vggish/fc1/fc1_1/weights": drawn(24, 10),
        "vggish/conv1/weights/Adam": drawn(3, 3, 1, 4),
        "vggish/conv1/weights/Adam_1": drawn(3, 3, 1, 4),
        "partitioned/weights": drawn(7, 4),
        "double": rng.standard_normal((2, 5)),
        "scalar": np.float32(1.5) * np.ones((), np.float32),
        "global_step": np.array(12345678901, np.int64),
        # Beyond a block of 256 KiB, and small once compressed.
        "long": np.tile(drawn(64), 1200),
        "long_2": np.tile(drawn(64), 300),
    }


# The table: LevelDB's


def varint(number: int) -> bytes:
    encoded = bytearray()
    number &= (1 << 64) - 1
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _crc_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(entry >> 1) ^ (0x82F63B78 if entry & 1 else 0) for entry in table]
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register = (register >> 8) ^ _TABLE[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def block(entries: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Entries with their keys' common starts left out, then the places where none is."""
    content, restarts, last = bytearray(), [0], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % _RESTART_INTERVAL:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        elif number:
            restarts.append(len(content))
        rest = key[shared:]
        content += varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value
        last = key
    return bytes(content) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(entries: Iterable[tuple[bytes, bytes]], per_block: int = 5) -> bytes:
    """A file of blocks with ``per_block`` entries each."""
    ordered = sorted(entries)
    groups = [ordered[i : i + per_block] for i in range(0, len(ordered), per_block)]
    return framed([(group[-1][0], block(group)) for group in groups])


def framed(blocks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A file of blocks, each with the last of its keys."""
    content, index = bytearray(), []
    for key, data in blocks:
        index.append((key, _append(content, data)))
    meta = _append(content, block([]))
    where = meta + _append(content, block(index))
    return bytes(content) + where.ljust(40, b"\0") + MAGIC


def _append(content: bytearray, data: bytes, kind: bytes = b"\0") -> bytes:
    handle = varint(len(content)) + varint(len(data))
    content += data + kind + masked(data + kind)
    return handle


# The records: protocol buffers


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def part(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def shape_record(shape: Iterable[int]) -> bytes:
    return b"".join(part(2, number(1, size)) for size in shape)


def slice_record(extents: Iterable[tuple[int, int] | None]) -> bytes:
    """Starts and lengths; None for a whole axis."""
    pairs = ((b"" if e is None else number(1, e[0]) + number(2, e[1])) for e in extents)
    return b"".join(part(1, pair) for pair in pairs)


def slice_key(name: str, rank: int) -> bytes:
    """The key of a whole variable in version 1."""
    count = bytes([1, rank]) if rank else b"\0"
    return b"\0" + name.encode() + b"\0\1" + count + b"\x80\x7f" * rank


def saved(name: str, extents: Iterable[tuple[int, int] | None], values: npt.NDArray) -> bytes:
    """The value of a part of a variable in version 1."""
    kind = values.dtype.name
    packed = (
        b"".join(map(varint, values.flatten().tolist())) if kind == "int64" else values.tobytes()
    )
    tensor = part(_LISTS[kind], packed)
    return part(2, part(1, name.encode()) + part(2, slice_record(extents)) + part(3, tensor))


def listed(name: str, shape: tuple[int, ...], kind: int = 1) -> bytes:
    """What the list of variables in version 1 says of one that is whole."""
    extents = slice_record([None] * len(shape))
    return (
        part(1, name.encode()) + part(2, shape_record(shape)) + number(3, kind) + part(4, extents)
    )


def listing(variables: Iterable[bytes]) -> tuple[bytes, bytes]:
    """The entry that lists the variables of version 1."""
    return b"", part(1, b"".join(part(1, each) for each in variables) + part(2, number(1, 1)))


def v1_entries(variables: Variables) -> list[tuple[bytes, bytes]]:
    entries = [listing(listed(n, v.shape, _KINDS[v.dtype.name]) for n, v in variables.items())]
    return entries + [
        (slice_key(name, value.ndim), saved(name, [None] * value.ndim, value))
        for name, value in variables.items()
    ]


def write_v1(path: Path, variables: Variables) -> Path:
    path.write_bytes(table(v1_entries(variables)))
    return path


def bundle_entry(value: npt.NDArray, shard: int, offset: int) -> bytes:
    """What the table of version 2 says of a variable."""
    data = value.tobytes()
    return (
        number(1, _KINDS[value.dtype.name])
        + part(2, shape_record(value.shape))
        + number(3, shard)
        + number(4, offset)
        + number(5, len(data))
        + varint(6 << 3 | 5)
        + masked(data)
    )


def write_v2(prefix: Path, variables: Variables, num_shards: int = 1) -> Path:
    """Write the data files and the table, whose path this is; variables take turns."""
    header = number(1, num_shards) + part(3, number(1, 1))
    shards, entries = [bytearray() for _ in range(num_shards)], [(b"", header)]
    for place, (name, value) in enumerate(variables.items()):
        shard = shards[place % num_shards]
        entries.append((name.encode(), bundle_entry(value, place % num_shards, len(shard))))
        shard += value.tobytes()
    for place, shard in enumerate(shards):
        Path(f"{prefix}.data-{place:05d}-of-{num_shards:05d}").write_bytes(shard)
    index = Path(f"{prefix}.index")
    index.write_bytes(table(entries))
    return index
