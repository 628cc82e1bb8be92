"""Matrices as a Zarr group (format 3): the array ``matrix``, and the attribute ``metadata``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..errors import MissingDependencyError
from .result import FloatArray
from .stores import MATRIX, METADATA, Store, as_float32


def import_zarr() -> Any:
    """The ``zarr`` package.

    Raises:
        MissingDependencyError: it is not installed, or is older than version 3.
    """
    advice = "pip install 'voxport[zarr]'"
    try:
        zarr = importlib.import_module("zarr")
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Zarr needs zarr, which is not installed: {advice}"
        ) from error
    if not hasattr(zarr, "create_group") or int(zarr.__version__.split(".")[0]) < 3:
        raise MissingDependencyError(f"zarr {zarr.__version__} is older than 3: {advice}")
    return zarr


class ZarrStore(Store):
    """A chunk, and so a file, for each matrix; Zstandard."""

    def __init__(self, path: Path, shape: tuple[int, ...], compression: int) -> None:
        zarr = import_zarr()
        codecs = importlib.import_module("zarr.codecs")
        self._group = zarr.create_group(path, zarr_format=3)
        self._count = 0
        self._shape = shape
        self._matrix = self._group.create_array(
            MATRIX,
            shape=(0, *shape),
            chunks=(1, *shape),
            dtype="float32",
            compressors=[codecs.ZstdCodec(level=compression)] if compression else None,
        )

    def append(self, matrix: FloatArray) -> None:
        self._matrix.resize((self._count + 1, *self._shape))
        self._matrix[self._count] = as_float32(matrix)
        self._count += 1

    def finish(self, metadata: str) -> None:
        self._group.attrs[METADATA] = metadata

    def close(self) -> None:
        return

    @staticmethod
    def read_metadata(path: Path) -> str:
        group = import_zarr().open_group(path, mode="r")
        if MATRIX not in group:
            raise ValueError(MATRIX)
        return str(group.attrs[METADATA])
