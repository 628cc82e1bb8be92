"""What every runner does alike: one process that loads once and then diarizes file after file.

A runner is started as ``python run_<peer>.py JOB.json`` under its own Python. The job::

    {"cores": [0, 1], "files": ["first.wav", "long.wav"], "options": {...}}

It answers with a line of JSON on standard output when the networks are loaded, and one per file::

    {"event": "loaded", "versions": {"onnxruntime": "1.31.1"}}
    {"event": "result", "file": "first.wav", "seconds": 1.2, "peak_mib": 321.0,
     "turns": [[0.5, 2.25, "SPEAKER_00"]]}

The first file is the warm-up. Standard library and numpy only: it runs in every environment.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import resource
import sys
import time
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Turn = tuple[float, float, str]
Diarize = Callable[[str], list[Turn]]
# Given the options and the number of threads, loads everything and returns what diarizes a file.
Load = Callable[[Mapping[str, Any], int], Diarize]

RATE_HZ = 16_000
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def peak_mib() -> float:
    """The most memory that this process ever held, in MiB.

    On Linux ``getrusage`` tells a child of the peak of its parent, the process table does not.
    """
    if platform.system() == "Linux":
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(re.findall(r"VmHWM:\s*(\d+)", status)[0]) / 1024
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def read_wave(path: str) -> npt.NDArray[np.float32]:
    """(N,) samples of a mono 16-bit file at 16 kHz, in [-1, 1]."""
    import numpy as np  # noqa: PLC0415 -- after the threads are pinned

    with wave.open(path, "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, RATE_HZ):
            raise SystemExit(f"{path}: expected mono, 16 bits, {RATE_HZ} Hz")
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return samples.astype(np.float32) / np.float32(32768)


def serve(load: Load, packages: tuple[str, ...]) -> None:
    """Run the job that the command line names; ``packages`` are those whose versions matter."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answers = _claimed_stdout()
    threads = _pinned(job["cores"])
    diarize = load(job["options"], threads)
    versions = {name: importlib.metadata.version(name) for name in packages}
    _say(answers, {"event": "loaded", "versions": versions})
    for path in job["files"]:
        started = time.perf_counter()
        turns = diarize(path)
        seconds = time.perf_counter() - started
        answer = {"event": "result", "file": path, "seconds": seconds, "peak_mib": peak_mib()}
        _say(answers, {**answer, "turns": turns})


def _claimed_stdout() -> TextIO:
    """Standard output for the answers alone: what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _pinned(cores: list[int]) -> int:
    """Keep to these cores, before any library counts them; their number."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(len(cores))
    return len(cores)


def _say(answers: TextIO, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
