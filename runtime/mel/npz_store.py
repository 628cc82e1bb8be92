"""Matrices as ``.npz``: ``np.load(path)["matrix"]``."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from .result import FloatArray
from .stores import MATRIX, METADATA, Store, as_float32

_COPIED_BYTES = 1 << 20


class NpzStore(Store):
    """An array's header tells its length: matrices wait in a temporary file beside the result."""

    def __init__(self, path: Path, shape: tuple[int, ...], compression: int) -> None:
        self._path, self._shape, self._compression = path, shape, compression
        self._count = 0
        self._waiting: IO[bytes] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 -- close

    def append(self, matrix: FloatArray) -> None:
        self._waiting.write(as_float32(matrix).data)
        self._count += 1

    def finish(self, metadata: str) -> None:
        self._waiting.seek(0)
        method = zipfile.ZIP_DEFLATED if self._compression else zipfile.ZIP_STORED
        level = self._compression or None
        with zipfile.ZipFile(self._path, "x", method, compresslevel=level) as archive:
            with archive.open(f"{METADATA}.npy", "w") as member:
                np.lib.format.write_array(member, np.array(metadata), allow_pickle=False)
            with archive.open(f"{MATRIX}.npy", "w", force_zip64=True) as member:
                header = {
                    "descr": "<f4",
                    "fortran_order": False,
                    "shape": (self._count, *self._shape),
                }
                np.lib.format.write_array_header_1_0(member, header)
                shutil.copyfileobj(self._waiting, member, _COPIED_BYTES)

    def close(self) -> None:
        self._waiting.close()

    @staticmethod
    def read_metadata(path: Path) -> str:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if f"{MATRIX}.npy" not in archive.zip.namelist():
                raise ValueError(MATRIX)
            return str(archive[METADATA])
