"""Reading the files that ``torch.save`` wrote before version 1.6, without torch's own loader.

They are pickles after one another: a magic number, a version, sizes of C types, the value, and the
keys of its storages; then the numbers of each storage, in the keys' order.

Source of the format: ``_legacy_save`` of torch/serialization.py.
"""

from __future__ import annotations

import os
from typing import IO, NoReturn

from torch import Tensor

from ..errors import CorruptCheckpointError
from .restricted import (
    MAX_PICKLE_BYTES,
    flat_tensor,
    pickle_end,
    read_pickle,
    storage_reference,
)

# A pickle of 0x1950a86a20f9469cfc6c, after the byte of its protocol.
_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
_PROTOCOL_BYTES = 2
_VERSION = 1001
_COUNT_BYTES = 8


def is_torch_legacy(start: bytes) -> bool:
    """Whether a file that starts like this is one of ``torch.save`` before 1.6."""
    return start[:1] == b"\x80" and start[_PROTOCOL_BYTES:].startswith(_MAGIC)


def read_torch_legacy(stream: IO[bytes]) -> object:
    """The value saved in such a file, its tensors on the CPU.

    Raises CorruptCheckpointError (truncated, damaged) and UnsafeCheckpointError (a pickle that
    would run something).
    """
    return _Legacy(stream).load()


class _Legacy:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._unclaimed_bytes = stream.seek(0, os.SEEK_END)
        stream.seek(_PROTOCOL_BYTES + len(_MAGIC))
        self._storages: dict[str, Tensor] = {}
        self._buffers: dict[str, bytearray] = {}

    def load(self) -> object:
        if self._plain() != _VERSION:
            raise CorruptCheckpointError("a torch file of a version that torch never wrote")
        system = self._plain()
        if not (isinstance(system, dict) and system.get("little_endian") is True):
            raise CorruptCheckpointError("its numbers are not stored little-endian")
        value = read_pickle(self._pickle(), self._storage)
        keys = self._plain()
        if not (isinstance(keys, list) and all(isinstance(key, str) for key in keys)):
            raise CorruptCheckpointError("its list of storages is malformed")
        if sorted(keys) != sorted(self._storages):
            raise CorruptCheckpointError("its list of storages is not that of its tensors")
        for key in keys:
            self._fill(key)
        return value

    def _pickle(self) -> bytes:
        """The next pickle; the stream is left after it."""
        start = self._stream.tell()
        head = self._stream.read(MAX_PICKLE_BYTES)
        end = pickle_end(head)
        self._stream.seek(start + end)
        return head[:end]

    def _plain(self) -> object:
        return read_pickle(self._pickle(), _refuse_storage)

    def _storage(self, reference: object) -> Tensor:
        """The tensor that a storage's numbers are read into once its place in the file is known."""
        # No view of another storage.
        kind, key, count = storage_reference(reference, None)
        flat = self._storages.get(key)
        if flat is None:
            self._unclaimed_bytes -= count * kind.dtype.itemsize
            if self._unclaimed_bytes < 0:
                raise CorruptCheckpointError("its storages claim more bytes than the file has")
            data = self._buffers[key] = bytearray(count * kind.dtype.itemsize)
            flat = self._storages[key] = flat_tensor(data, kind.dtype)
        if (flat.numel(), flat.dtype) != (count, kind.dtype):
            raise CorruptCheckpointError(f"storage {key} is referred to in two ways")
        return flat

    def _fill(self, key: str) -> None:
        flat = self._storages[key]
        count = int.from_bytes(self._stream.read(_COUNT_BYTES), "little")
        if count != flat.numel():
            raise CorruptCheckpointError(
                f"storage {key} claims {flat.numel()} numbers, but {count} are in the file"
            )
        data = self._buffers[key]
        read = self._stream.read(len(data))
        if len(read) != len(data):
            raise CorruptCheckpointError("truncated; download or copy it again")
        data[:] = read


def _refuse_storage(_: object) -> NoReturn:
    raise CorruptCheckpointError("it has a tensor where a torch file has none")
