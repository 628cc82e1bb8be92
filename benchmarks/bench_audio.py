"""Peak memory and time of reading audio in windows: one hour against ten hours.

A process per row writes nothing and keeps nothing: it iterates over all blocks of 10 s windows,
as a pipeline does. The files are 8 or 48 kHz noise, in FLAC and in MP3, made first.

Usage: python benchmarks/bench_audio.py [--hours 1 10] [--rates 8000 48000] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

_SECONDS_AT_ONCE = 60
_MEASURE = """
import json, re, resource, sys, time
from pathlib import Path
from voxport.runtime.windows import AudioWindows, WindowPlan

def peak_mib():
    # On Linux, getrusage tells a child of the peak of its parent.
    if sys.platform == "linux":
        return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

path, cache_samples = sys.argv[1], int(sys.argv[2])
before = peak_mib()
started = time.perf_counter()
plan = WindowPlan(160_000, 16_000, 32)
windows = AudioWindows(path, 16_000, plan, cache_samples=cache_samples)
count = sum(len(block.windows) for block in windows)
seconds = time.perf_counter() - started
print(json.dumps({"windows": count, "seconds": seconds, "before": before, "peak": peak_mib()}))
"""


def say(line: str = "") -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write(path: Path, hours: float, rate_hz: int) -> None:
    """Mono noise, the same minute again and again."""
    rng = np.random.default_rng(0)
    minute = rng.uniform(-0.1, 0.1, _SECONDS_AT_ONCE * rate_hz).astype(np.float32)
    with soundfile.SoundFile(path, "w", rate_hz, 1) as file:
        for _ in range(round(hours * 3600 / _SECONDS_AT_ONCE)):
            file.write(minute)


def measure(path: Path, cache_samples: int) -> dict[str, float]:
    """Windows, seconds, and the peak of memory before and after, in MiB."""
    command = [sys.executable, "-c", _MEASURE, str(path), str(cache_samples)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(run.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", nargs="+", type=float, default=[1.0, 10.0])
    parser.add_argument("--rates", nargs="+", type=int, default=[8000, 48000])
    parser.add_argument("--formats", nargs="+", default=["wav", "flac", "mp3"])
    parser.add_argument("--folder", type=Path, help="where the files are made (temporary)")
    options = parser.parse_args()
    say("| format | Hz | hours | file (MiB) | kept | windows | s | x real time | peak (MiB) |")
    say("|---|---:|---:|---:|---|---:|---:|---:|---:|")
    for suffix in options.formats:
        for rate_hz in options.rates:
            for hours in options.hours:
                row(options.folder, suffix, rate_hz, hours)


def row(folder: Path | None, suffix: str, rate_hz: int, hours: float) -> None:
    """One file, streamed; and kept in memory where that is what would happen."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / f"noise.{suffix}"
        write(path, hours, rate_hz)
        for kept, cache_samples in (("no", 0), ("if short", 3600 * 48_000)):
            figures = measure(path, cache_samples)
            grown = figures["peak"] - figures["before"]
            say(
                f"| {suffix} | {rate_hz} | {hours:g} | {path.stat().st_size / 2**20:.0f} | {kept} "
                f"| {figures['windows']:.0f} | {figures['seconds']:.1f} "
                f"| {hours * 3600 / figures['seconds']:.0f} "
                f"| {figures['before']:.0f} + {grown:.0f} |"
            )


if __name__ == "__main__":
    main()
