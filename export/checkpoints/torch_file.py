"""Reading the zip archives of ``torch.save`` without torch's own loader.

Entries must be stored uncompressed and lie within the file, so nothing can unpack to more
memory than the file has bytes.
"""

from __future__ import annotations

import os
import zipfile
from typing import IO

import torch
from torch import Tensor

from ..errors import CorruptCheckpointError, UnsafeCheckpointError
from .restricted import flat_tensor, read_pickle, storage_reference


def read_torch_zip(stream: IO[bytes]) -> object:
    """The value saved in a ``torch.save`` archive, its tensors on the CPU.

    Raises CorruptCheckpointError (truncated, damaged, not such an archive) and
    UnsafeCheckpointError (TorchScript, several pickles, a pickle that would run something).
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            return _Archive(archive, _size_of(stream)).load()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise CorruptCheckpointError(
            f"truncated or damaged ({error}); download or copy it again"
        ) from error


def _size_of(stream: IO[bytes]) -> int:
    stream.seek(0, os.SEEK_END)
    return stream.tell()


class _Archive:
    def __init__(self, archive: zipfile.ZipFile, file_bytes: int) -> None:
        self._archive = archive
        self._storages: dict[tuple[str, torch.dtype], Tensor] = {}
        self._check_sizes(file_bytes)
        self._root = self._find_root()

    def _check_sizes(self, file_bytes: int) -> None:
        infos = self._archive.infolist()
        if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
            raise CorruptCheckpointError("it has compressed entries, which torch never writes")
        # Overlapping entries would let a small file unpack to a large one.
        claimed = sum(info.file_size for info in infos)
        if claimed > file_bytes:
            raise CorruptCheckpointError(
                f"its entries claim {claimed} bytes, but the file has {file_bytes}"
            )

    def _find_root(self) -> str:
        names = self._archive.namelist()
        if any("/code/" in name or name.endswith("constants.pkl") for name in names):
            raise UnsafeCheckpointError(
                "a TorchScript archive, which contains a program; give the plain weights instead"
            )
        pickles = [name for name in names if name.lower().endswith((".pkl", ".pickle"))]
        if len(pickles) > 1:
            raise UnsafeCheckpointError(f"it contains {len(pickles)} pickles; one is expected")
        if not pickles or not pickles[0].endswith("/data.pkl"):
            raise CorruptCheckpointError("a zip archive, but not one of torch.save")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in names and self._archive.read(order).strip() != b"little":
            raise CorruptCheckpointError("its numbers are not stored little-endian")
        return root

    def load(self) -> object:
        return read_pickle(self._archive.read(f"{self._root}data.pkl"), self._storage)

    def _storage(self, reference: object) -> Tensor:
        kind, key, count = storage_reference(reference)
        flat = self._flat(key, kind.dtype)
        if count > flat.numel():
            raise CorruptCheckpointError(
                f"storage {key} claims {count} numbers, but {flat.numel()} are in the file"
            )
        return flat[:count]

    def _flat(self, key: str, dtype: torch.dtype) -> Tensor:
        """All numbers of one storage, read once however many tensors share it."""
        flat = self._storages.get((key, dtype))
        if flat is None:
            try:
                data = bytearray(self._archive.read(f"{self._root}data/{key}"))
            except KeyError as error:
                raise CorruptCheckpointError(f"storage {key} is not in the file") from error
            flat = self._storages[key, dtype] = flat_tensor(data, dtype)
        return flat
