"""Weight files of Core ML ("MIL blob storage", version 2).

A 64-byte header (number of blobs, version), then for each blob 64 bytes of metadata (sentinel,
type, size in bytes, offset of the data, unused bits of the last byte) and, 64-byte aligned, the
data. Programs refer to a blob by the offset of its metadata. Everything is little-endian.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from .errors import WeightFileError
from .types import DTYPES, Array, BlobReference, DType, TensorType

MODEL_PATH = "@model_path/"
SENTINEL = 0xDEADBEEF
VERSION = 2
_HEADER = struct.Struct("<II56x")
_METADATA = struct.Struct("<IIQQQ32x")
_BLOB_TYPES = {
    1: "fp16",
    2: "fp32",
    3: "uint8",
    4: "int8",
    6: "int16",
    7: "uint16",
    8: "int4",
    9: "uint1",
    10: "uint2",
    11: "uint4",
    12: "uint3",
    13: "uint6",
    14: "int32",
    15: "uint32",
}


def decode(data: bytes, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Elements of any width, packed from the least significant bit on, as an array of ``shape``.

    Raises:
        ValueError: the number of bytes does not fit.
    """
    count = math.prod(shape)
    if len(data) != (count * dtype.bits + 7) // 8:
        raise ValueError(f"{len(data)} bytes for {count} elements of {dtype.bits} bits")
    if dtype.bits >= 8:
        whole = np.frombuffer(data, np.dtype(dtype.numpy).newbyteorder("<"))
        return whole.astype(dtype.numpy).reshape(shape)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: count * dtype.bits]
    weights = 1 << np.arange(dtype.bits)
    values = bits.reshape(count, dtype.bits).astype(np.int16) @ weights
    if dtype.is_signed:
        values -= (values >> (dtype.bits - 1)) << dtype.bits
    return values.astype(dtype.numpy).reshape(shape)


class WeightStore:
    """The weight files of one model. Files are opened when first used, and mapped, not read."""

    def __init__(self, model_folder: Path) -> None:
        self._folder = model_folder
        self._files: dict[str, WeightFile] = {}

    def read(self, reference: BlobReference, declared: TensorType) -> Array:
        """The array at a reference.

        Raises:
            WeightFileError: no such file, or not what the program declares.
        """
        if reference.file not in self._files:
            self._files[reference.file] = WeightFile(self._locate(reference.file))
        return self._files[reference.file].read(reference.offset, declared)

    def _locate(self, file: str) -> Path:
        # No path has a null byte, and the system functions refuse it each in their own way.
        path = (self._folder / file.removeprefix(MODEL_PATH).replace("\0", "")).resolve()
        if "\0" in file or not path.is_relative_to(self._folder.resolve()):
            raise WeightFileError(f"the program names a weight file outside of its folder: {file}")
        return path


class WeightFile:
    """One file of blobs. Nothing outside of the file is ever read, whatever its offsets say."""

    def __init__(self, path: Path) -> None:
        """Raises WeightFileError if it is no such file."""
        self._path = path
        try:
            # An empty file cannot be mapped.
            size = path.stat().st_size
            self._bytes = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
        except OSError as error:
            raise WeightFileError(f"{path}: cannot be read: {error}") from error
        _, version = _HEADER.unpack(self._slice(0, _HEADER.size, "the header"))
        if version != VERSION:
            raise WeightFileError(f"{path}: expected version {VERSION}, found {version}")

    def read(self, offset: int, declared: TensorType) -> Array:
        """The blob whose metadata lies at ``offset``, in the declared type and shape."""
        dtype, shape = DTYPES[declared.dtype], tuple(size or 0 for size in declared.shape)
        metadata = self._slice(offset, _METADATA.size, "metadata")
        sentinel, blob_type, size, start, padding_bits = _METADATA.unpack(metadata)
        if sentinel != SENTINEL:
            raise self._error(offset, f"no blob starts here (sentinel {sentinel:#x})")
        if _BLOB_TYPES.get(blob_type) != declared.dtype:
            found = _BLOB_TYPES.get(blob_type, f"type {blob_type}")
            raise self._error(offset, f"holds {found}, the program declares {declared}")
        used_bits = math.prod(shape) * dtype.bits
        # Only types of less than a byte have padding; other writers may leave the field dirty.
        padding_bits = padding_bits if dtype.bits < 8 else 0
        if size * 8 - padding_bits != used_bits:
            raise self._error(offset, f"holds {size} bytes, the program declares {declared}")
        return decode(self._slice(start, size, f"data of {declared}"), dtype, shape)

    def _slice(self, start: int, size: int, what: str) -> bytes:
        if start + size > self._bytes.size:
            end = f"{what} would end at {start + size} of {self._bytes.size} bytes"
            raise self._error(start, f"outside of the file: {end}")
        return self._bytes[start : start + size].tobytes()

    def _error(self, offset: int, reason: str) -> WeightFileError:
        return WeightFileError(f"{self._path}: offset {offset}: {reason}")
