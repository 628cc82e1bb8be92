"""Reading NumPy archives (``.npz``): arrays by name, nothing pickled."""

from __future__ import annotations

import io
import math
import zipfile
from typing import IO

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from ..errors import CorruptCheckpointError, TensorShapeError, UnsafeCheckpointError

_SUFFIX = ".npy"
# More than any network here in float64; compressed archives may unpack to far more than they are.
_MAX_BYTES = 1 << 31


def is_npz(stream: IO[bytes]) -> bool:
    """Whether a zip archive is one of ``numpy.savez``; the stream is left at its start."""
    try:
        with zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError):
        return False
    finally:
        stream.seek(0)
    return bool(names) and all(name.endswith(_SUFFIX) for name in names)


def read_npz(stream: IO[bytes]) -> dict[str, Tensor]:
    """The arrays of an archive as tensors, with their names as they were given to ``savez``.

    Raises CorruptCheckpointError (truncated, damaged, too large), UnsafeCheckpointError (pickled
    objects), TensorShapeError (not real numbers).
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            claimed = sum(info.file_size for info in archive.infolist())
            if claimed > _MAX_BYTES:
                raise CorruptCheckpointError(f"it unpacks to {claimed} bytes, above {_MAX_BYTES}")
            return {
                info.filename.removesuffix(_SUFFIX): _tensor(archive.read(info), info.filename)
                for info in archive.infolist()
            }
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise CorruptCheckpointError(
            f"truncated or damaged ({error}); download or copy it again"
        ) from error
    # zlib has an error of its own, and so has every decompressor that zipfile may use.
    except (zipfile.LargeZipFile, RuntimeError) as error:
        raise CorruptCheckpointError(f"cannot be unpacked ({error})") from error


def _tensor(content: bytes, name: str) -> Tensor:
    """One array; its header must describe just the bytes that follow."""
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in read_header:
        raise CorruptCheckpointError(f"{name} has version {version} of NumPy's format")
    shape, _, dtype = read_header[version](stream)
    if dtype.hasobject:
        raise UnsafeCheckpointError(f"{name} holds pickled objects, refused unread")
    if dtype.kind not in "fiu":
        raise TensorShapeError(f"{name} holds {dtype}, expected real numbers")
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise CorruptCheckpointError(f"{name} does not hold the numbers that its header names")
    stream.seek(0)
    array = npy.read_array(stream, allow_pickle=False)
    native = array.astype(dtype.newbyteorder("="), copy=False)
    widened = native.astype(np.float32) if dtype.kind == "f" else native.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(widened))
