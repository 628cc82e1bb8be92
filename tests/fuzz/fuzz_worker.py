"""Feeds inputs to the runtime in a process of its own: ``fuzz_worker.py FIRST END``.

Prints ``begin NUMBER`` before and ``end NUMBER SECONDS PEAK_BYTES VERDICT`` after each, so that
who started it knows which input a dead process died of. To look into one input, run it with
END = FIRST + 1 and ``PYTHONPATH=tests``.
"""

from __future__ import annotations

import faulthandler
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

from fuzz_inputs import input_of, kind_of
from voxport.runtime import VoxportError

# A process that hangs for so long ends itself.
_HANG_S = 60
_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most memory that this process has asked for; used, where the system tells no more."""
    if _STATUS.exists():
        found = re.search(r"VmPeak:\s*(\d+) kB", _STATUS.read_text(encoding="utf-8"))
        if found:
            return 1024 * int(found[1])
    import resource  # noqa: PLC0415 -- not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def verdict(number: int, folder: Path) -> str:
    """``read``, ``refused`` or ``failed``, whose traceback goes to stderr."""
    content = input_of(number)
    try:
        kind_of(number).read(content, folder)
    except VoxportError:
        return "refused"
    except Exception:
        traceback.print_exc()
        return "failed"
    return "read"


def main(first: int, end: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, end):
            print(f"begin {number}", flush=True)
            faulthandler.dump_traceback_later(_HANG_S, exit=True)
            started = time.perf_counter()
            result = verdict(number, Path(folder))
            seconds = time.perf_counter() - started
            print(f"end {number} {seconds:.3f} {peak_bytes()} {result}", flush=True)


if __name__ == "__main__":
    faulthandler.enable()
    main(*map(int, sys.argv[1:3]))
