"""Mel matrices of 60 s and 300 s: voxport against librosa, with one and two workers.

A process for each row, which may use as many cores as it has workers. All read the same WAV at
the artifact's own rate and hold the same matrices afterwards. librosa runs in a pool of processes
that is started before the clock is, in two ways: a call for each short segment, as its
documentation has it, and one call for all segments, which its batch axes allow. voxport runs its
graph on as many threads, decoding beside it. Figures are medians of the rounds after a first one.

The last row streams a long file and keeps nothing, for the peak of memory.

Usage: python benchmarks/bench_mel.py --models models [--seconds 60 300] [--workers 1 2]
       [--rounds 5] [--hours 3]      (needs librosa)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from bench_audio import say, write

# None of them may take a core that another row does not have.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SUBJECTS = ("librosa by segment", "librosa at once", "voxport")
_LONG = "voxport, streamed"


def spectrograms(path: str, recipe: dict[str, Any], part: slice, at_once: bool) -> Any:
    """librosa's matrices of some long segments of a file."""
    import librosa  # noqa: PLC0415 -- a peer, in its own processes

    config = recipe["configuration"]
    length, points = recipe["long_segment_samples"], recipe["short_segment_samples"]
    count = recipe["short_segments"]
    samples, _ = soundfile.read(
        path, (part.stop - part.start) * length, part.start * length, dtype="float32"
    )
    segments = samples.reshape(-1, length)[:, : count * points].reshape(-1, count, points)
    known = {
        "sr": config["sample_rate"],
        **{name: config[name] for name in ("n_fft", "hop_length", "n_mels", "fmin", "fmax")},
        **{name: config[name] for name in ("center", "pad_mode")},
        "htk": config["mel_scale"] == "htk",
        "norm": None if config["norm"] == "none" else config["norm"],
    }
    if at_once:
        return librosa.feature.melspectrogram(y=segments, **known)
    rows = [[librosa.feature.melspectrogram(y=each, **known) for each in row] for row in segments]
    return np.array(rows)


@contextmanager
def subject(options: argparse.Namespace) -> Iterator[Callable[[], int]]:
    """What is measured; it gives the number of short segments."""
    from voxport.runtime.mel import MelMatrix  # noqa: PLC0415 -- in its own process

    path = str(options.path)
    with MelMatrix(models=options.models, device="cpu", threads=options.worker_count) as mel:
        recipe = mel._session.description.recipe
        if options.subject == _LONG:
            yield lambda: _streamed(mel.stream(path))
        elif options.subject == "voxport":
            yield lambda: mel(path).processing_stats.num_segments
        else:
            with ProcessPoolExecutor(options.worker_count) as pool:
                yield lambda: _pooled(pool, recipe, options)


def _streamed(stream: Any) -> int:
    for _ in stream:
        pass
    return int(stream.stats().num_segments)


def _pooled(pool: ProcessPoolExecutor, recipe: dict[str, Any], options: argparse.Namespace) -> int:
    frames = soundfile.info(options.path).frames // recipe["long_segment_samples"]
    cuts = np.linspace(0, frames, options.worker_count + 1).astype(int).tolist()
    at_once = options.subject == "librosa at once"
    waiting = [
        pool.submit(spectrograms, str(options.path), recipe, slice(start, stop), at_once)
        for start, stop in pairwise(cuts)
    ]
    matrix = np.concatenate([each.result() for each in waiting])
    return int(matrix.shape[0] * matrix.shape[1])


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Median seconds of a round, segments, and the peak of the largest process in MB."""
    rounds = 1 if options.subject == _LONG else options.rounds + 1
    seconds = []
    with subject(options) as run:
        for _ in range(rounds):
            started = time.perf_counter()
            segments = run()
            seconds.append(time.perf_counter() - started)
    taken = seconds[1:] or seconds
    return {"seconds": statistics.median(taken), "segments": segments, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    import resource  # noqa: PLC0415 -- not on Windows

    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(each).ru_maxrss for each in whose)
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def in_a_process(options: argparse.Namespace, name: str, path: Path, workers: int) -> Any:
    """``measure`` in a process of its own, on as many cores as it has workers."""
    command = [
        *(sys.executable, __file__, "--models", str(options.models), "--subject", name),
        *("--path", str(path), "--worker-count", str(workers), "--rounds", str(options.rounds)),
    ]
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))[:workers]
        command = ["taskset", "-c", ",".join(map(str, cores)), *command]
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, "1")}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(run.stdout)


def table(options: argparse.Namespace, folder: Path, rate_hz: int) -> None:
    """Every subject on every length with every number of workers."""
    say("| audio | workers | | s | segments per s | x real time | beside voxport | peak (MB) |")
    say("|---:|---:|---|---:|---:|---:|---:|---:|")
    for length_s in options.seconds:
        path = folder / f"{length_s}.wav"
        write(path, length_s / 3600, rate_hz)
        for workers in options.workers:
            rows = {name: in_a_process(options, name, path, workers) for name in SUBJECTS}
            for name, row in rows.items():
                ratio = row["seconds"] / rows["voxport"]["seconds"]
                _say_row(f"{length_s} s", workers, name, row, length_s, f"{ratio:.1f} x the time")
    path = folder / "long.wav"
    write(path, options.hours, rate_hz)
    row = in_a_process(options, _LONG, path, 1)
    _say_row(f"{options.hours:g} h", 1, _LONG, row, options.hours * 3600, "")


def _say_row(  # noqa: PLR0917 -- a cell each
    audio: str, workers: int, name: str, row: dict[str, float], length_s: float, ratio: str
) -> None:
    per_s, speed = row["segments"] / row["seconds"], length_s / row["seconds"]
    say(
        f"| {audio} | {workers} | {name} | {row['seconds']:.3f} | {per_s:.0f} | {speed:.0f} "
        f"| {ratio} | {row['peak_mb']:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--seconds", nargs="+", type=int, default=[60, 300])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--folder", type=Path, help="where the files are made (temporary)")
    for hidden, kind in (("--subject", str), ("--path", Path), ("--worker-count", int)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subject is not None:
        say(json.dumps(measure(options)))
        return
    from voxport.runtime import load  # noqa: PLC0415

    with load("mel_matrix", models=options.models, device="cpu") as session:
        rate_hz = session.description.figure("sample_rate_hz", int)
        if session.description.recipe["configuration"]["scale"] != "power":
            sys.exit("bench_mel compares powers: export mel_matrix with scale=power")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        table(options, Path(folder), rate_hz)


if __name__ == "__main__":
    main()
