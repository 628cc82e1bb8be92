"""Matrices as HDF5: the dataset ``matrix``, and the file's attribute ``metadata``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..errors import MissingDependencyError
from .result import FloatArray
from .stores import MATRIX, METADATA, Store, as_float32


def import_h5py() -> Any:
    """The ``h5py`` package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "HDF5 needs h5py, which is not installed: pip install 'voxport[hdf5]'"
        ) from error


class Hdf5Store(Store):
    """A chunk for each matrix, bytes of one rank together, gzip."""

    def __init__(self, path: Path, shape: tuple[int, ...], compression: int) -> None:
        self._file = import_h5py().File(path, "x")
        packed = {"compression": "gzip", "compression_opts": compression, "shuffle": True}
        self._matrix = self._file.create_dataset(
            MATRIX,
            shape=(0, *shape),
            maxshape=(None, *shape),
            chunks=(1, *shape),
            dtype="<f4",
            **(packed if compression else {}),
        )

    def append(self, matrix: FloatArray) -> None:
        count = len(self._matrix)
        self._matrix.resize(count + 1, axis=0)
        self._matrix[count] = as_float32(matrix)

    def finish(self, metadata: str) -> None:
        self._file.attrs[METADATA] = metadata

    def close(self) -> None:
        self._file.close()

    @staticmethod
    def read_metadata(path: Path) -> str:
        with import_h5py().File(path, "r") as file:
            if MATRIX not in file:
                raise ValueError(MATRIX)
            return str(file.attrs[METADATA])
