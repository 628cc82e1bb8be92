"""The most memory that the process held while something ran."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
# Writing 5 lets the kernel begin a new peak (proc(5)): without it a small stage that follows a
# large one would show nothing.
_CLEAR_REFS = Path("/proc/self/clear_refs")
_NEW_PEAK = "5"


class PeakMemory:
    """Growth of the process's resident memory from here to its peak.

    On Linux from ``VmRSS`` to ``VmHWM``, which begins anew here; elsewhere the growth of
    ``getrusage``'s peak, which stays as it is where an earlier peak was higher.
    """

    def __init__(self) -> None:
        _give_back()
        self._is_fresh = _begin_new_peak()
        self._start = _status_bytes("VmRSS") if self._is_fresh else _peak_bytes()

    def growth_bytes(self) -> int | None:
        """So far; None where the system does not tell it, or an earlier peak hides it."""
        peak = _status_bytes("VmHWM") if self._is_fresh else _peak_bytes()
        if peak is None or self._start is None:
            return None
        growth = peak - self._start
        return growth if growth > 0 or self._is_fresh else None


def _give_back() -> None:
    """Let glibc give freed memory back: what reuses it would not show."""
    with suppress(AttributeError, OSError, TypeError):  # another C library, or Windows
        ctypes.CDLL(None).malloc_trim(0)


def _begin_new_peak() -> bool:
    try:
        _CLEAR_REFS.write_text(_NEW_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _status_bytes(key: str) -> int | None:
    """A size from the process's status, which has lines such as ``VmRSS:  1612 kB``."""
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    return None


def _peak_bytes() -> int | None:
    """The peak of the process's life; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 -- not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
