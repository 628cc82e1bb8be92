"""Page-locked host memory, which a card reads directly and while it computes."""

from __future__ import annotations

import ctypes
import logging
import weakref
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

_LOG = logging.getLogger("voxport")
_NAMES = ("libcudart.so.13", "libcudart.so.12", "cudart64_13.dll", "cudart64_12.dll")
# Usable by every context of the process.
_PORTABLE = 1


def pinned_empty(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """An array in page-locked memory, or in ordinary memory where CUDA does not give any.

    The memory is unlocked when the array goes.
    """
    array: npt.NDArray[Any] = np.empty(shape, dtype)
    cudart = _cudart()
    if cudart is None or array.nbytes == 0:
        return array
    code = cudart.cudaHostRegister(
        ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes), _PORTABLE
    )
    if code != 0:
        # CUDA remembers the error, and whoever asks next would take it for their own.
        cudart.cudaGetLastError()
        _LOG.debug("%d bytes could not be page-locked: CUDA error %d", array.nbytes, code)
        return array
    weakref.finalize(array, cudart.cudaHostUnregister, ctypes.c_void_p(array.ctypes.data))
    return array


@lru_cache(maxsize=1)
def _cudart() -> Any:
    """CUDA's runtime library as ONNX Runtime has loaded it; None if it has not."""
    for name in _NAMES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
