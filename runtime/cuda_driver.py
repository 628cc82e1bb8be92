"""What the CUDA driver says of its cards; run as a program, in a process of its own.

Starting CUDA in the asking process would break it in every process forked from that one, a broken
driver may never answer, and loading the libraries takes up memory. So this file imports nothing
but the standard library, and prints one line of JSON:

    python cuda_driver.py [LIBRARY ...]

    {"version": 13000, "problem": null, "loadable": [...],
     "cards": [{"name": ..., "memory_bytes": ...}]}

Cards are numbered as CUDA does, which obeys ``CUDA_VISIBLE_DEVICES`` and shows MIG slices as cards.
``loadable`` is the part of the given libraries that the system's loader finds.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def library(name: str) -> Any:
    """A shared library by name, None if it cannot be loaded."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def report(libraries: list[str]) -> dict[str, Any]:
    """What there is to say; ``problem`` tells why there are no cards."""
    loadable = [name for name in libraries if library(name) is not None]
    found: dict[str, Any] = {"version": None, "cards": [], "problem": None, "loadable": loadable}
    driver = library(DRIVER)
    if driver is None:
        return {**found, "problem": f"NVIDIA's driver library {DRIVER} cannot be loaded"}
    try:
        found["version"] = _integer(driver, driver.cuDriverGetVersion)
        _succeed(driver, driver.cuInit(0))
        count = _integer(driver, driver.cuDeviceGetCount)
        found["cards"] = [_card(driver, index) for index in range(count)]
    except (RuntimeError, AttributeError) as error:  # the latter: a library without that function
        found["problem"] = str(error)
    return found


def _card(driver: Any, index: int) -> dict[str, Any]:
    device = _integer(driver, driver.cuDeviceGet, index)
    name = ctypes.create_string_buffer(256)
    _succeed(driver, driver.cuDeviceGetName(name, len(name), device))
    memory = ctypes.c_size_t()
    _succeed(driver, driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device))
    return {"name": name.value.decode(errors="replace"), "memory_bytes": memory.value}


def _integer(driver: Any, function: Any, *arguments: int) -> int:
    value = ctypes.c_int()
    _succeed(driver, function(ctypes.byref(value), *arguments))
    return value.value


def _succeed(driver: Any, status: int) -> None:
    if status:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(status, ctypes.byref(text))
        what = (text.value or b"unknown error").decode(errors="replace")
        raise RuntimeError(f"CUDA's driver reports error {status}: {what}")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report(sys.argv[1:])) + "\n")
