"""What machine a result is from."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def cores(count: int) -> list[int]:
    """The first cores that this process may use.

    Raises SystemExit if there are fewer.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
    else:
        allowed = list(range(os.cpu_count() or 1))
    if not 1 <= count <= len(allowed):
        raise SystemExit(f"--cores must be 1 to {len(allowed)}, got {count}")
    return allowed[:count]


def machine() -> str:
    """System, processor and Python, without the machine's name."""
    return f"{platform.system()} {platform.machine()}, {_processor()}, Python {_python()}"


def load_average() -> str:
    """Of the last minute: what else was running; empty where it is not known."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""


def _processor() -> str:
    found = _CPUINFO.read_text("utf-8") if _CPUINFO.is_file() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", found, re.MULTILINE)
    name = named[1].strip() if named else platform.processor() or "unknown processor"
    return f"{name}, {os.cpu_count()} cores"


def _python() -> str:
    return platform.python_version()
