"""Measure a stage: without ONNX Runtime's profiler how long it takes, with it where time goes."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from ..errors import ArtifactError, DeviceError
from ..inputs import checked_inputs
from ..locate import find_models
from ..manifest import MANIFEST_NAME, Manifest
from ..onnx_session import OnnxSession
from ..options import Options
from ..session import Session
from .trace import Trace, read_trace
from .workload import Batch, Workload

# Calls that are profiled: their batches are held in memory, and each node of each call is an event.
_PROFILED_CALLS = 8
_PROFILED_PASSES = 2
# A first call of a shape allocates, a second one may record a CUDA graph.
_WARM_UP_PASSES = 2


@dataclass(frozen=True)
class Round:
    """One pass over the workload, or the medians of several: wall times in seconds, and counts.

    ``audio_duration_s`` is that of the audio, None without; ``calls_s`` are the calls that make up
    ``session_s``, and empty in medians.
    """

    audio_s: float
    windows_s: float
    session_s: float
    num_calls: int
    num_windows: int
    audio_duration_s: float | None
    calls_s: tuple[float, ...] = ()


def timed_round(session: Session, workload: Workload) -> Round:
    """Read, cut and run everything, one after the other."""
    started = time.perf_counter()
    samples = workload.read()
    audio_s = time.perf_counter() - started
    windows_s = 0.0
    calls_s: list[float] = []
    num_windows = 0
    batches = workload.batches(samples)
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        made = time.perf_counter()
        windows_s += made - started
        if batch is None:
            break
        session.run(**batch.inputs)
        calls_s.append(time.perf_counter() - made)
        num_windows += batch.num_windows
    return Round(
        audio_s,
        windows_s,
        sum(calls_s),
        len(calls_s),
        num_windows,
        workload.audio_duration_s(samples),
        tuple(calls_s),
    )


def warm_round(session: Session, workload: Workload, rounds: int) -> Round:
    """The medians of several rounds, after one that is not counted."""
    timed_round(session, workload)
    measured = [timed_round(session, workload) for _ in range(rounds)]
    last = measured[-1]
    return Round(
        median(one.audio_s for one in measured),
        median(one.windows_s for one in measured),
        median(one.session_s for one in measured),
        last.num_calls,
        last.num_windows,
        last.audio_duration_s,
    )


def first_call_s(session: Session, workload: Workload) -> float:
    """Seconds of the first call of a session that has not run yet."""
    batch = next(workload.batches(workload.read()))
    started = time.perf_counter()
    session.run(**batch.inputs)
    return time.perf_counter() - started


@dataclass(frozen=True)
class ProfiledCalls:
    """Calls under ONNX Runtime's profiler, warm.

    Attributes:
        trace: their events.
        session_s: wall time of ``Session.run`` over them.
        checks_s: of checking their inputs, which is part of ``session_s``.
        num_windows: that they processed.
    """

    trace: Trace
    session_s: float
    checks_s: float
    num_windows: int


def profiled_calls(
    name: str | os.PathLike[str],
    models: str | os.PathLike[str] | None,
    session: Session,
    workload: Workload,
    options: Options,
) -> ProfiledCalls:
    """Run the first batches under ONNX Runtime's profiler, on the device of ``session``.

    ``session`` is closed before, so that no device has to hold both.

    Raises:
        ArtifactError: the file changed while it was profiled.
        TraceError: the profile does not hold the calls.
    """
    content = _artifact_bytes(name, models, session)
    batches = list(islice(workload.batches(workload.read()), _PROFILED_CALLS))
    session.close()
    with _profiled_session(content, str(name), session, options) as profiled:
        for batch in batches * _WARM_UP_PASSES:
            profiled.run(**batch.inputs)
        passes = [_timed_calls(profiled, batches) for _ in range(_PROFILED_PASSES)]
        trace = read_trace(profiled.end_profiling()).last(len(batches) * _PROFILED_PASSES)
    session_s, checks_s = (sum(times) for times in zip(*passes, strict=True))
    num_windows = sum(batch.num_windows for batch in batches) * _PROFILED_PASSES
    return ProfiledCalls(trace, session_s, checks_s, num_windows)


def _timed_calls(session: Session, batches: list[Batch]) -> tuple[float, float]:
    """Seconds of ``Session.run``, and of checking the inputs alone."""
    session_s = checks_s = 0.0
    for batch in batches:
        started = time.perf_counter()
        checked_inputs(session.description, batch.inputs)
        checked = time.perf_counter()
        session.run(**batch.inputs)
        checks_s += checked - started
        session_s += time.perf_counter() - checked
    return session_s, checks_s


@contextmanager
def _profiled_session(
    content: bytes, source: str, session: Session, options: Options
) -> Iterator[OnnxSession]:
    """A session with ONNX Runtime's profiler on, whose profile goes when it is closed."""
    with tempfile.TemporaryDirectory(prefix="voxport-profile-") as folder:
        profiled = OnnxSession(
            content,
            source,
            # Of several sessions any: they are the same graph.
            plan=next(iter(session.plan.parts), session.plan),
            options=options,
            profile_to=Path(folder) / "profile",
        )
        with profiled:
            yield profiled


def require_profile_of_operators(name: str | os.PathLike[str], session: Session) -> None:
    """Raise DeviceError for a session that is not one of ONNX Runtime."""
    if not isinstance(session, OnnxSession):
        raise DeviceError(
            f"{name}: runs on {session.device}, which has no profile of operators: profile it on "
            "the device cpu or cuda"
        )


def _artifact_bytes(
    name: str | os.PathLike[str], models: str | os.PathLike[str] | None, session: Session
) -> bytes:
    """The file that ``session`` was loaded from."""
    path = Path(name)
    if path.suffix != ".onnx":
        folder = find_models(models)
        described = session.description
        row = Manifest.read(folder / MANIFEST_NAME).find(described.name, described.precision)
        path = folder / row.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: unreadable: {error}") from error
    if hashlib.sha256(content).hexdigest() != session.identity:
        raise ArtifactError(f"{path}: changed while it was profiled")
    return content
