"""Files of mel matrices that are written as they come, whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionsError, VoxportError
from .result import FloatArray

FORMATS = ("npz", "hdf5", "zarr")
_ENDINGS = {"npz": "npz", "hdf5": "h5", "zarr": "zarr"}
# Names within a file, of whatever format.
MATRIX, METADATA = "matrix", "metadata"
MAX_COMPRESSION = 9


class Store(ABC):
    """One file or folder of matrices of one shape.

    Args:
        path: where nothing is yet.
        shape: of a matrix.
        compression: 0, none, to 9, the smallest and slowest.

    Raises:
        MissingDependencyError: a package that the format needs is not installed.
        OSError: it cannot be written; so do all methods.
    """

    @abstractmethod
    def __init__(self, path: Path, shape: tuple[int, ...], compression: int) -> None: ...

    @abstractmethod
    def append(self, matrix: FloatArray) -> None:
        """Add the next matrix."""

    @abstractmethod
    def finish(self, metadata: str) -> None:
        """Write what is left, and the metadata."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; it may be closed twice."""

    @staticmethod
    @abstractmethod
    def read_metadata(path: Path) -> str:
        """The metadata of a file; raises whatever a damaged one makes a reader raise."""


def store_kind(name: str) -> type[Store]:
    """The store of a format.

    Raises:
        MissingDependencyError: a package that it needs is not installed.
        OptionsError: there is no such format.
    """
    if name == "npz":
        from .npz_store import NpzStore  # noqa: PLC0415 -- each brings what it needs

        return NpzStore
    if name == "hdf5":
        from .hdf5_store import Hdf5Store, import_h5py  # noqa: PLC0415

        import_h5py()
        return Hdf5Store
    if name == "zarr":
        from .zarr_store import ZarrStore, import_zarr  # noqa: PLC0415

        import_zarr()
        return ZarrStore
    raise OptionsError(f"no format {name!r:.40}; there are {', '.join(FORMATS)}")


def result_path(folder: Path, stem: str, name: str) -> Path:
    """Where the matrices of a recording lie in a format: ``FOLDER/STEM.h5``."""
    return folder / f"{stem}.{_ENDINGS[name]}"


def read_metadata(path: Path, name: str) -> dict[str, Any] | None:
    """What a result says of itself; None where there is none, or a damaged one."""
    if not path.exists():
        return None
    try:
        found = json.loads(store_kind(name).read_metadata(path))
    except VoxportError:
        raise
    except Exception:
        # Libraries raise anything for a file that is cut off or another's: it is made again.
        return None
    return found if isinstance(found, dict) else None


class Writing:
    """The drafts of one recording's results, in several formats at once."""

    def __init__(self, stores: Mapping[Path, tuple[Path, Store]]) -> None:
        self._stores = stores

    def append(self, matrix: FloatArray) -> None:
        """Add the next matrix to all of them."""
        for _, store in self._stores.values():
            store.append(matrix)

    def finish(self, metadata: Mapping[str, Any]) -> None:
        """Write the metadata and put all in their places, over what was there."""
        text = json.dumps(metadata)
        for _, store in self._stores.values():
            store.finish(text)
            store.close()
        for target, (draft, _) in self._stores.items():
            if target.is_dir():  # a folder cannot be replaced by a rename
                shutil.rmtree(target)
            draft.replace(target)


@contextmanager
def writing(
    folder: Path, stem: str, formats: Iterable[str], shape: tuple[int, ...], compression: int
) -> Iterator[Writing]:
    """Write results of a recording; what is not finished leaves nothing behind.

    Raises:
        VoxportError: they cannot be written.
    """
    with ExitStack() as stack:
        try:
            stores = {}
            for name in formats:
                target = result_path(folder, stem, name)
                draft = folder / f".voxport-{os.getpid()}-{secrets.token_hex(4)}.part"
                stack.callback(_remove, draft)
                store = store_kind(name)(draft, shape, compression)
                stack.callback(store.close)
                stores[target] = (draft, store)
            yield Writing(stores)
        except OSError as error:
            reason = error.strerror or error
            raise VoxportError(f"{folder}: results cannot be written: {reason}") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def as_float32(matrix: FloatArray) -> FloatArray:
    """What is written: little-endian, in C order."""
    return np.ascontiguousarray(matrix, "<f4")
