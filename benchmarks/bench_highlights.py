"""Highlights of a long stream: voxport against NumPy and SciPy, time and peak memory.

A process per row measures a 16 kHz WAV of noise with louder stretches, with a message of chat per
second. NumPy and SciPy read the same file whole, as a script would: squares, a cumulative sum,
``scipy.stats.zscore``, ``numpy.convolve``. Scores are compared. ``decoding`` only reads the file.

Usage: python benchmarks/bench_highlights.py --models models [--hours 3] [--threads 2] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16000
_MEMORY = """
import json, re, resource, sys, time
from pathlib import Path
import numpy as np

def peak_mib():
    # On Linux, getrusage tells a child of the peak of its parent.
    if sys.platform == "linux":
        return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

audio, models, threads, out, seconds = *sys.argv[1:5:1], int(sys.argv[5])
times = np.arange(seconds, dtype=np.float64)
"""
_SCRIPTS = {
    "voxport": """
from voxport.runtime import Options
from voxport.runtime.highlights import ChatCounts, Highlighter
with Highlighter(models=models, device="cpu", options=Options(intra_op_threads=int(threads))) as h:
    before, started = peak_mib(), time.perf_counter()
    result = h(audio, ChatCounts.of_messages(times))
    took = time.perf_counter() - started
score, stages = result.score, result.seconds
""",
    "numpy": """
import soundfile
from scipy.stats import zscore
before, started = peak_mib(), time.perf_counter()
samples, _ = soundfile.read(audio, dtype="float32")
read = time.perf_counter() - started
total = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
starts = np.arange(1 + (len(samples) - 6400) // 1600) * 1600
rms = np.sqrt((total[starts + 6400] - total[starts]) / 6400)
chat = np.bincount((times / 0.1 + 1e-6).astype(int), minlength=len(rms))[: len(rms)]
score = zscore(rms) + zscore(np.convolve(chat, np.ones(51) / 51, "same"))
took, stages = time.perf_counter() - started, {"reading": read}
""",
    "decoding": """
from voxport.runtime.audio import mono_stream
before, started = peak_mib(), time.perf_counter()
with mono_stream(audio, 16000) as stream:
    count = sum(map(len, stream.chunks))
took, stages, score = time.perf_counter() - started, {}, np.zeros(1)
""",
}
_REPORT = """
np.save(out, score)
print(json.dumps({"s": took, "before": before, "peak": peak_mib(), "stages": stages}))
"""


def say(line: str = "") -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write(path: Path, seconds: int) -> None:
    """Noise, the level of which changes from second to second."""
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype="PCM_16") as file:
        for level in rng.lognormal(-3, 0.7, seconds).clip(max=0.9):
            file.write(level * rng.uniform(-1, 1, RATE_HZ).astype(np.float32))


def measure(name: str, arguments: list[str], threads: int) -> dict[str, float]:
    """Seconds, and the peak of memory before and after, in MiB."""
    limits = {f"{each}_NUM_THREADS": str(threads) for each in ("OMP", "OPENBLAS", "MKL")}
    code = _MEMORY + _SCRIPTS[name] + _REPORT
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **limits},
    )
    figures: dict[str, float] = json.loads(run.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    seconds = round(options.hours * 3600)
    with tempfile.TemporaryDirectory() as temporary:
        audio = Path(temporary, "stream.wav")
        write(audio, seconds)
        say("| what | s (median) | x real time | peak (MiB) | largest difference of scores |")
        say("|---|---:|---:|---:|---:|")
        expected = None
        for name in ("numpy", "voxport", "decoding"):
            out = Path(temporary, f"{name}.npy")
            arguments = [str(audio), str(options.models), str(options.threads), str(out)]
            runs = [
                measure(name, [*arguments, str(seconds)], options.threads)
                for _ in range(options.repeats)
            ]
            score = np.load(out)
            expected = score if name == "numpy" else expected
            apart = "-" if name == "decoding" else f"{np.abs(score - expected).max():.1e}"
            took = statistics.median(run["s"] for run in runs)
            worst = max(runs, key=lambda run: run["peak"])
            say(
                f"| {name} | {took:.2f} | {seconds / took:.0f} "
                f"| {worst['before']:.0f} + {worst['peak'] - worst['before']:.0f} | {apart} |"
            )


if __name__ == "__main__":
    main()
