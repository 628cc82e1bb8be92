"""TensorFlow checkpoints with any damage: typed errors or what was saved, in bounded time."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_files import block, masked, table, v1_entries, varint, write_v1, write_v2
from test_tensorflow_hostile import HEADER, VARIABLES, WANTED, W, entry_record, read, with_footer
from voxport.export.errors import CheckpointError

_MAX_SECONDS = 5.0
_MAX_BYTES = 24 << 20  # a piece of the checksum and its tables, far below what a lie may claim


def _tried(path: Path, content: bytes) -> None:
    """A typed error, or just what was saved; in little time and memory."""
    path.write_bytes(content)
    started = time.perf_counter()
    tracemalloc.start()
    try:
        found = read(path)
    except CheckpointError:
        found = {}
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.perf_counter() - started < _MAX_SECONDS
    assert peak < _MAX_BYTES
    for name, value in found.items():
        np.testing.assert_array_equal(value, VARIABLES[name])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    write_v1(folder / "v1.ckpt", VARIABLES)
    write_v2(folder / "v2.ckpt", VARIABLES)
    for name in ("v1.ckpt", "v2.ckpt.index"):
        assert set(read(folder / name)) == WANTED
    return folder


@pytest.mark.parametrize("name", ["v1.ckpt", "v2.ckpt.index", "v2.ckpt.data-00000-of-00001"])
def test_every_truncation_and_flipped_byte(sound: Path, name: str) -> None:
    """No byte is without a check: what is read at all is what was saved."""
    target = sound / name
    content = target.read_bytes()
    read_from = sound / name.replace("data-00000-of-00001", "index")
    try:
        for place in range(0, len(content), 3):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            for damaged in (bytes(flipped), content[:place]):
                target.write_bytes(damaged)
                _tried(read_from, read_from.read_bytes())
    finally:
        target.write_bytes(content)


# Checksums hold damage back from what is behind them: here they are right.
_DAMAGE = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.binary(min_size=0, max_size=10), st.integers(0, 3)),
    min_size=1,
    max_size=3,
)


def _damaged(content: bytes, damage: list[tuple[int, bytes, int]]) -> bytes:
    data = bytearray(content)
    for place, replacement, removed in damage:
        start = place % (len(data) + 1)
        data[start : start + removed] = replacement
    return bytes(data)


def _no_crash(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    started = time.perf_counter()
    try:
        found = read(path)
    except CheckpointError:
        found = {}
    assert time.perf_counter() - started < _MAX_SECONDS
    assert sum(value.nbytes for value in found.values()) <= 1 << 16


@settings(max_examples=200)
@given(st.integers(0, len(VARIABLES)), _DAMAGE)
def test_damaged_records_of_version_1(
    tmp_path_factory: pytest.TempPathFactory, which: int, damage: list[tuple[int, bytes, int]]
) -> None:
    entries = v1_entries(VARIABLES)
    entries[which] = (entries[which][0], _damaged(entries[which][1], damage))
    _no_crash(_folder(tmp_path_factory) / "x.ckpt", table(entries))


@settings(max_examples=200)
@given(st.booleans(), _DAMAGE)
def test_damaged_records_of_version_2(
    tmp_path_factory: pytest.TempPathFactory, of_header: bool, damage: list[tuple[int, bytes, int]]
) -> None:
    folder = _folder(tmp_path_factory)
    (folder / "x.data-00000-of-00001").write_bytes(W.tobytes())
    header, entry = HEADER, entry_record()
    changed = _damaged(header if of_header else entry, damage)
    records = (changed, entry) if of_header else (header, changed)
    _no_crash(folder / "x.index", table(zip((b"", b"w"), records, strict=True)))


@settings(max_examples=200)
@given(st.sampled_from(["block", "index"]), _DAMAGE)
def test_damaged_blocks(
    tmp_path_factory: pytest.TempPathFactory, place: str, damage: list[tuple[int, bytes, int]]
) -> None:
    data = block(sorted(v1_entries(VARIABLES)))
    data = _damaged(data, damage) if place == "block" else data
    index = block([(b"z", varint(0) + varint(len(data)))])
    index = _damaged(index, damage) if place == "index" else index
    content = data + b"\0" + masked(data + b"\0")
    where = varint(len(content)) + varint(len(index))
    file = with_footer(where, where, content + index + b"\0" + masked(index + b"\0"))
    _no_crash(_folder(tmp_path_factory) / "x.ckpt", file)


def _folder(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    return folder
