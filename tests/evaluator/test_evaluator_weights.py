"""The weight file reader: written byte by byte here, and damaged in every field."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from voxport.export.evaluator.errors import WeightFileError
from voxport.export.evaluator.types import BlobReference, TensorType
from voxport.export.evaluator.weights import WeightFile, WeightStore

_HALVES = np.array([[1.5, -2.0], [0.25, 65504.0]], np.float16)
_TYPE = TensorType("fp16", (2, 2))


def _file(
    path: Path,
    data: bytes = _HALVES.tobytes(),
    *,
    version: int = 2,
    sentinel: int = 0xDEADBEEF,
    blob_type: int = 1,
    size: int | None = None,
    start: int = 128,
    padding_bits: int = 0,
) -> Path:
    header = struct.pack("<II", 1, version).ljust(64, b"\0")
    size = len(data) if size is None else size
    metadata = struct.pack("<IIQQQ", sentinel, blob_type, size, start, padding_bits)
    path.write_bytes(header + metadata.ljust(64, b"\0") + data)
    return path


def test_reads_what_was_written(tmp_path: Path) -> None:
    values = WeightFile(_file(tmp_path / "weight.bin")).read(64, _TYPE)
    assert values.dtype == np.float16
    np.testing.assert_array_equal(values, _HALVES)


@pytest.mark.parametrize(
    ("stored", "data", "padding_bits", "expected"),
    [
        (("int4", 8), [0xF1, 0x08], 4, [1, -1, -8]),
        (("uint3", 12), [0b10_101_001, 0b1], 7, [1, 5, 6]),
        (("uint1", 9), [0b101], 5, [1, 0, 1]),
        (("int8", 4), [0x80, 0x7F, 0xFF], 0, [-128, 127, -1]),
        (("uint32", 15), [1, 0, 0, 0, 0, 1, 0, 0, 255, 255, 255, 255], 0, [1, 256, 2**32 - 1]),
    ],
)
def test_reads_integers_of_any_width(
    tmp_path: Path, stored: tuple[str, int], data: list[int], padding_bits: int, expected: list[int]
) -> None:
    dtype, blob_type = stored
    path = _file(
        tmp_path / "weight.bin", bytes(data), blob_type=blob_type, padding_bits=padding_bits
    )
    assert WeightFile(path).read(64, TensorType(dtype, (3,))).tolist() == expected


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"sentinel": 0xDEADBEEE}, "no blob starts here"),
        ({"blob_type": 2}, "holds fp32"),
        ({"blob_type": 99}, "holds type 99"),
        ({"size": 6}, "holds 6 bytes"),
        ({"start": 136}, "outside of the file"),
        ({"start": 2**63}, "outside of the file"),
        ({"data": _HALVES.tobytes()[:-1], "size": 8}, "outside of the file"),
        ({"padding_bits": 2, "blob_type": 8, "data": b"\1\2"}, "holds int4"),
    ],
)
def test_refuses_damaged_metadata(tmp_path: Path, damage: dict[str, int], reason: str) -> None:
    path = _file(tmp_path / "weight.bin", **damage)  # type: ignore[arg-type]
    with pytest.raises(WeightFileError, match=reason) as caught:
        WeightFile(path).read(64, _TYPE)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("offset", [128, 65, 2**40])
def test_refuses_offsets_that_are_no_blob(tmp_path: Path, offset: int) -> None:
    with pytest.raises(WeightFileError, match=r"outside of the file|no blob"):
        WeightFile(_file(tmp_path / "weight.bin")).read(offset, _TYPE)


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 64])
def test_refuses_files_without_a_header(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weight.bin"
    path.write_bytes(content)
    with pytest.raises(WeightFileError, match=r"header|version"):
        WeightFile(path)


def test_names_a_missing_file_and_never_leaves_its_folder(tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "model")
    with pytest.raises(WeightFileError, match=r"weight\.bin"):
        store.read(BlobReference("@model_path/weights/weight.bin", 64), _TYPE)
    for file in ("@model_path/../../weight.bin", "@model_path/weight.bin\0"):
        with pytest.raises(WeightFileError, match="outside of its folder"):
            store.read(BlobReference(file, 64), _TYPE)
