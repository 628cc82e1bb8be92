"""TensorFlow checkpoints that are damaged, or claim more than they hold."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from tensorflow_files import (
    MAGIC,
    block,
    bundle_entry,
    framed,
    listed,
    listing,
    masked,
    number,
    part,
    saved,
    shape_record,
    table,
    varint,
    write_v1,
    write_v2,
)
from voxport.export.checkpoints.tensorflow import read_tensorflow, v1
from voxport.export.checkpoints.tensorflow.wire import Message
from voxport.export.checkpoints.tensorflow.wire import varint as read_varint
from voxport.export.errors import (
    CorruptCheckpointError,
    TensorShapeError,
    UnsupportedArchitectureError,
)

VARIABLES = {
    "w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "vggish/conv1/weights": np.linspace(-1, 1, 36, dtype=np.float32).reshape(3, 3, 1, 4),
    "vggish/conv1/weights/Adam": np.zeros((3, 3, 1, 4), np.float32),
    "global_step": np.array(-3, np.int64),
}
WANTED = {"w", "vggish/conv1/weights"}
HEADER = number(1, 1)  # of version 2


def read(path: Path) -> dict[str, np.ndarray]:
    found = read_tensorflow(path, WANTED.__contains__)
    return {name: tensor.numpy() for name, tensor in found.state.items()}


def refused(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpointError, match=rf"{path.name}: .*{reason}"):
        read(path)


# Records


def test_numbers_of_records() -> None:
    for value in (0, 1, 127, 128, 1 << 32, (1 << 64) - 1):
        assert read_varint(memoryview(b"x" + varint(value)), 1) == (value, 1 + len(varint(value)))
    assert Message(memoryview(number(1, -5))).number(1) == -5
    assert Message(memoryview(varint(1 << 3 | 1) + struct.pack("<q", 9))).number(1) == 9


RECORDS = {
    "cut off": (b"\x08\x80", "cut off"),
    "no value": (b"\x08", "cut off"),
    "65 bits": (b"\x08" + b"\xff" * 9 + b"\x02", "64 bits"),
    "eleven bytes": (b"\x08" + b"\x80" * 10 + b"\x01", "64 bits"),
    "long": (b"\x0a\x05abc", "beyond"),
    "longest": (b"\x0a" + varint((1 << 64) - 1) + b"abc", "beyond"),
    "fixed": (b"\x09abc", "beyond"),
    "group": (b"\x0b", "kind 3"),
    "many": (b"\x08\x01" * 33, "more than 32"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_records_that_lie_are_corrupt(case: str) -> None:
    content, reason = RECORDS[case]
    with pytest.raises(CorruptCheckpointError, match=reason):
        Message(memoryview(content))


def test_values_of_records_are_checked() -> None:
    message = Message(memoryview(number(1, -1) + part(2, b"\xff") * 2 + part(3, b"\xff")))
    for read_field in (
        lambda: message.natural(1),
        lambda: message.part(2),
        lambda: message.text(3),
    ):
        with pytest.raises(CorruptCheckpointError):
            read_field()


# Tables


def with_footer(meta: bytes, index: bytes, content: bytes = b"") -> bytes:
    return content + (meta + index).ljust(40, b"\0") + MAGIC


def _index(*handles: bytes) -> bytes:
    """Two blocks that are sound, and an index with these places of blocks."""
    content = bytearray()
    places = []
    for entries in ([(b"", b"\x0a\x00")], [(b"b", b"")]):
        data = block(entries)
        places.append(varint(len(content)) + varint(len(data)))
        content += data + b"\0" + masked(data + b"\0")
    chosen = block(
        (bytes([place]), (handle or places[place])) for place, handle in enumerate(handles)
    )
    where = varint(len(content)) + varint(len(chosen))
    return with_footer(where, where, bytes(content + chosen + b"\0" + masked(chosen + b"\0")))


def _lying(entry: bytes) -> bytes:
    return framed([(b"z", entry + struct.pack("<2I", 0, 1))])


def _unsorted() -> bytes:
    """Each block is sorted, and they are not."""
    first = [(b"", HEADER), (b"b", b"")]
    return framed([(b"b", block(first)), (b"b", block([(b"b", b"")]))])


TABLES: dict[str, tuple[bytes, str]] = {
    "short": (MAGIC, "too short"),
    "no places": (with_footer(b"", b"\xff" * 40), "64 bits"),
    "index outside": (with_footer(b"\0\0", varint(1 << 40) + b"\5"), "beyond the file"),
    "index too large": (with_footer(b"\0\0", b"\0" + varint(1 << 40)), "index claims"),
    "block outside": (_index(varint(1 << 62) + varint(1 << 62)), "beyond the file"),
    "overlapping": (_index(b"", b"\0\x06"), "overlap"),
    "place cut off": (_index(b"\x80"), "cut off"),
    "empty": (framed([]), "not one of a TensorFlow checkpoint"),
    "no header": (table([(b"a", b"")]), "not one of a TensorFlow checkpoint"),
    "unsorted": (_unsorted(), "sorted"),
    "shared": (_lying(b"\x05\x01\x00a"), "beyond its block"),
    "key": (_lying(b"\x00\x7f\x00a"), "beyond its block"),
    "value": (_lying(b"\x00\x01\x7fa"), "beyond its block"),
    "long key": (_lying(b"\0" + varint(5000) + b"\0" + bytes(5000)), "above 4096 bytes"),
    "restarts": (framed([(b"z", struct.pack("<I", 1 << 30))]), "more than it holds"),
    "no restarts": (framed([(b"z", b"\0")]), "more than it holds"),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_that_lie_are_corrupt(tmp_path: Path, case: str) -> None:
    content, reason = TABLES[case]
    if case == "unsorted":
        # Its header is one of version 2, whose data file is there.
        (tmp_path / "x.ckpt.data-00000-of-00001").write_bytes(b"")
    refused(tmp_path / "x.ckpt", content, reason)


def test_damaged_blocks_fail_their_checksum(tmp_path: Path) -> None:
    path = write_v1(tmp_path / "x.ckpt", VARIABLES)
    content = bytearray(path.read_bytes())
    content[content.index(VARIABLES["w"].tobytes()) + 5] ^= 1
    refused(path, bytes(content), "fails its checksum")


def test_compressed_blocks_are_refused(tmp_path: Path) -> None:
    data = block([(b"", b"\x0a\x00")])
    path = tmp_path / "x.ckpt"
    where = varint(0) + varint(len(data))
    path.write_bytes(with_footer(where, where, data + b"\1" + masked(data + b"\1")))
    with pytest.raises(UnsupportedArchitectureError, match=r"x\.ckpt: .*compressed \(kind 1\)"):
        read(path)


def test_keys_cannot_multiply_a_small_file(tmp_path: Path) -> None:
    # Each entry of nine bytes is a key of four thousand.
    first = b"\0" + varint(4090) + b"\0" + b"k" * 4090
    rest = (varint(4090) + b"\5\0" + b"%05d" % place for place in range(66_000))
    many = first + b"".join(rest) + struct.pack("<2I", 0, 1)
    (tmp_path / "x.ckpt.data-00000-of-00001").write_bytes(b"")
    content = framed([(b"", block([(b"", HEADER)])), (b"z", many)])
    refused(tmp_path / "x.ckpt", content, "65536 entries")


# Version 1


def _v1(lists: Iterable[bytes], values: Iterable[tuple[bytes, bytes]]) -> bytes:
    return table([listing(lists), *values])


W = VARIABLES["w"]
WHOLE = saved("w", [None, None], W)
ROWS = [saved("w", [(start, 1), None], W[start : start + 1]) for start in range(3)]
LIST = listed("w", W.shape)
START_ONLY = part(2, part(1, b"w") + part(2, part(1, number(1, 1)) + part(1, b"")))

V1: dict[str, tuple[bytes, str]] = {
    "claims": (_v1([listed("w", (1 << 20, 1 << 20))], [(b"w", WHOLE)]), "claims"),
    "claims nothing": (_v1([listed("w", (0, 1 << 62))], []), "claims"),
    "together": (_v1([listed(n, (30, 5)) for n in WANTED], [(b"x" * 500, b"")]), "more than its"),
    "negative": (_v1([listed("w", (-1,))], []), "-1"),
    "axes": (_v1([listed("w", (1,) * 9)], []), "9 axes"),
    "twice": (_v1([LIST, LIST], []), "twice"),
    "absent": (_v1([LIST], []), "not all there"),
    "partial": (_v1([LIST], [(b"1", ROWS[0]), (b"2", ROWS[2])]), "not all there"),
    "overlap": (_v1([LIST], [(b"1", ROWS[0]), (b"2", ROWS[0])]), "overlap"),
    "whole again": (_v1([LIST], [(b"1", WHOLE), (b"2", WHOLE)]), "overlap"),
    "part again": (_v1([LIST], [(b"1", WHOLE), (b"2", ROWS[0])]), "overlap"),
    "whole later": (_v1([LIST], [(b"1", ROWS[0]), (b"2", WHOLE)]), "overlap"),
    "outside": (_v1([LIST], [(b"1", saved("w", [(3, 1), None], W[:1]))]), "outside"),
    "start only": (_v1([LIST], [(b"1", START_ONLY)]), "outside"),
    "rank": (_v1([LIST], [(b"1", saved("w", [None], W))]), "2 axes, a part of it 1"),
    "few": (_v1([LIST], [(b"1", saved("w", [None, None], W[:2]))]), "12 numbers"),
    "other kind": (_v1([LIST], [(b"1", saved("w", [None, None], W.astype(float)))]), "12 numbers"),
    "name": (_v1([LIST], [(b"1", part(2, part(1, b"\xff")))]), "UTF-8"),
    "no record": (_v1([LIST], [(b"1", b"\xff")]), "cut off"),
}


@pytest.mark.parametrize("case", V1)
def test_version_1_that_lies_is_corrupt(tmp_path: Path, case: str) -> None:
    content, reason = V1[case]
    refused(tmp_path / "x.ckpt", content, reason)


def test_parts_of_a_variable_are_put_together(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(_v1([LIST], [(bytes([place]), row) for place, row in enumerate(ROWS, 1)]))
    np.testing.assert_array_equal(read(path)["w"], W)


def test_long_lists_of_variables_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v1, "_MAX_VARIABLES", 10)
    refused(tmp_path / "x.ckpt", _v1([b""] * 11, []), "more than 10 fields")
    monkeypatch.setattr(v1, "_MAX_LIST_BYTES", 100)
    refused(tmp_path / "x.ckpt", _v1([b"\0" * 200], []), "list of variables has")


# Version 2


def entry_record(shape: bytes = shape_record((3, 4)), **fields: int) -> bytes:
    """The table's entry of ``w``, its figures chosen freely."""
    given_fields = {"dtype": 1, "shard": 0, "offset": 0, "size": W.nbytes, **fields}
    numbers = zip((1, 3, 4, 5), given_fields.values(), strict=True)
    rest = b"".join(number(field, value) for field, value in numbers)
    return rest + part(2, shape) + varint(6 << 3 | 5) + masked(W.tobytes())


V2: dict[str, tuple[bytes, bytes, str]] = {
    "no shards": (number(1, 0), entry_record(), "claims 0 data files"),
    "shards": (number(1, 1 << 40), entry_record(), "data files, expected 1 to 256"),
    "shard": (HEADER, entry_record(shard=1), "data file 1"),
    "negative": (HEADER, entry_record(offset=-4), "-4"),
    "offset": (HEADER, entry_record(offset=1), "bytes 1 to 49 of data file 0"),
    "far": (HEADER, entry_record(offset=(1 << 63) - 1), "data file 0"),
    "size": (HEADER, entry_record(size=44), "has 44 bytes, expected 48"),
    "claims": (HEADER, entry_record(shape_record((1 << 40, 1 << 40))), "claims"),
    "nothing": (HEADER, entry_record(shape_record((0, 1 << 62))), "claims"),
    "shape": (HEADER, entry_record(shape_record((3, 3))), "expected 36"),
    "no shape": (HEADER, entry_record(b""), "expected 4"),
    "no record": (HEADER, b"\xff", "cut off"),
}


@pytest.mark.parametrize("case", V2)
def test_version_2_that_lies_is_corrupt(tmp_path: Path, case: str) -> None:
    header, entry, reason = V2[case]
    (tmp_path / "x.data-00000-of-00001").write_bytes(W.tobytes())
    refused(tmp_path / "x.index", table([(b"", header), (b"w", entry)]), reason)


def test_the_records_of_these_tests_are_sound(tmp_path: Path) -> None:
    (tmp_path / "x.data-00000-of-00001").write_bytes(W.tobytes())
    (tmp_path / "x.index").write_bytes(table([(b"", HEADER), (b"w", entry_record())]))
    np.testing.assert_array_equal(read(tmp_path / "x.index")["w"], W)


def test_variables_cannot_share_their_numbers(tmp_path: Path) -> None:
    both = [(name.encode(), bundle_entry(W, 0, 0)) for name in sorted(WANTED)]
    (tmp_path / "x.data-00000-of-00001").write_bytes(W.tobytes())
    refused(tmp_path / "x.index", table([(b"", HEADER), *both]), "claim more than 48 bytes")


@pytest.mark.parametrize(
    ("header", "entry", "error", "reason"),
    [
        (HEADER + number(2, 1), entry_record(), UnsupportedArchitectureError, "little-endian"),
        (HEADER, entry_record() + part(7, b""), UnsupportedArchitectureError, "parts"),
        (HEADER, entry_record(dtype=7), TensorShapeError, "kind 7"),
    ],
)
def test_what_is_sound_and_not_taken(
    tmp_path: Path, header: bytes, entry: bytes, error: type[Exception], reason: str
) -> None:
    (tmp_path / "x.data-00000-of-00001").write_bytes(W.tobytes())
    (tmp_path / "x.index").write_bytes(table([(b"", header), (b"w", entry)]))
    with pytest.raises(error, match=rf"x\.index: .*{reason}"):
        read(tmp_path / "x.index")


def test_damaged_data_fails_its_checksum(tmp_path: Path) -> None:
    index = write_v2(tmp_path / "x", VARIABLES)
    data = tmp_path / "x.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[7] ^= 1
    data.write_bytes(content)
    with pytest.raises(CorruptCheckpointError, match=r"x\.index: w fails its checksum"):
        read(index)
