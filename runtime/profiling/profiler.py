"""``Profiler``: where the time of a stage goes, on one device or on several."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..audio_source import AudioSource
from ..environment import known_environment
from ..errors import (
    ArtifactNotFoundError,
    DeviceError,
    InputError,
    MissingDependencyError,
    OutOfMemoryError,
)
from ..loading import load
from ..locate import find_models
from ..manifest import MANIFEST_NAME, Manifest
from ..onnx_runtime import import_onnxruntime
from ..options import DEFAULT_OPTIONS, Options
from ..serving.address import is_server
from ..session import Session
from .distribution import KERNEL_EVENTS, OPERATORS, Distribution, OperatorTime, distribution
from .measuring import (
    ProfiledCalls,
    Round,
    first_call_s,
    profiled_calls,
    require_profile_of_operators,
    warm_round,
)
from .memory import PeakMemory
from .summary import Parts, Profile, StageProfile, Unavailable
from .workload import WAVEFORM, batch_plan_of, workload_for

_LOG = logging.getLogger("voxport")
# What rules a device out, as against what is wrong with the artifact or its input.
DEVICE_ERRORS = (DeviceError, MissingDependencyError, OutOfMemoryError)


class Profiler:
    """Profiles artifacts, one after the other, and keeps what it found.

    How long a stage takes is measured without ONNX Runtime's profiler, which slows small operators
    down; a second session with the profiler tells how that time divides.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        *,
        precision: str = "auto",
        options: Options = DEFAULT_OPTIONS,
        batch_size: int | None = None,
        rounds: int = 3,
    ) -> None:
        """Args are those of ``load``, and:

        Args:
            batch_size: windows per call; by default what ``run_batched`` takes.
            rounds: warm rounds, of which medians are given, from 1.

        Raises:
            InputError: ``rounds`` or ``batch_size`` is less than 1.
        """
        if rounds < 1 or (batch_size is not None and batch_size < 1):
            raise InputError(
                f"rounds and batch_size must be at least 1, got {rounds} and {batch_size}"
            )
        self._models, self._device, self._precision = models, device, precision
        self._options, self._batch_size, self._rounds = options, batch_size, rounds
        self._stages: list[StageProfile] = []
        self._unavailable: list[Unavailable] = []

    def profile(  # noqa: PLR0913 -- one keyword for each choice
        self,
        name: str | os.PathLike[str],
        audio: AudioSource | None = None,
        *,
        arrays: Mapping[str, Any] | None = None,
        device: str | None = None,
        source_rate_hz: int | None = None,
        step_s: float | None = None,
    ) -> StageProfile:
        """Profile an artifact.

        Args:
            name: as ``load`` takes it.
            audio: what ``read_audio`` takes; it is cut into windows, and other inputs than the
                waveform are synthetic. Without audio and arrays all inputs are.
            arrays: the inputs of one call, by name, instead of audio.
            device: instead of the profiler's.
            source_rate_hz: rate of audio given as an array.
            step_s: from one window to the next, in seconds; by default a window's length.

        Raises:
            InputError: the artifact does not take audio, the arrays, or the batch size.
            AudioError: audio that cannot be used.
            DeviceError: the device cannot be used, or has no profile of operators (Core ML).
            TraceError: ONNX Runtime's profile cannot be read.
            VoxportError: what ``load`` raises.
        """
        # Once per process, and not this stage's doing.
        import_onnxruntime()
        known_environment()
        memory = PeakMemory()
        started = time.perf_counter()
        session = self._load(name, device)
        load_s = time.perf_counter() - started
        with session:
            require_profile_of_operators(name, session)
            plan = batch_plan_of(session, self._batch_size, self._options)
            workload = workload_for(
                session, audio, arrays, plan, source_rate_hz=source_rate_hz, step_s=step_s
            )
            first_s = first_call_s(session, workload)
            warm = warm_round(session, workload, self._rounds)
            peak_host_bytes = memory.growth_bytes()
            calls = profiled_calls(name, self._models, session, workload, self._options)
        found = distribution(calls.trace, on_gpu=not session.on_cpu)
        stage = StageProfile(
            name=session.description.name,
            precision=session.description.precision,
            device=session.device,
            basis=found.basis,
            batch_size=workload.batch_size,
            num_windows=warm.num_windows,
            num_calls=warm.num_calls,
            audio_duration_s=warm.audio_duration_s,
            rounds=self._rounds,
            load_s=load_s,
            first_call_s=first_s,
            parts=divided(warm, calls, found),
            operators=scaled_operators(warm, calls, found),
            num_device_nodes=round(found.num_device_nodes * _more_windows(warm, calls)),
            launch_share=found.launch_s / found.run_s if found.run_s else 0.0,
            peak_host_bytes=peak_host_bytes,
            peak_device_bytes=found.peak_device_bytes,
        )
        self._stages.append(stage)
        return stage

    def compare(
        self,
        name: str | os.PathLike[str],
        audio: AudioSource | None = None,
        *,
        devices: Sequence[str],
        **choices: Any,
    ) -> tuple[StageProfile, ...]:
        """Profile on several devices; one that cannot be used is noted in the report.

        ``choices`` are those of ``profile``. What is wrong with the artifact, the audio or the
        arrays is an error, as there.
        """
        found = []
        for device in devices:
            try:
                found.append(self.profile(name, audio, device=device, **choices))
            except DEVICE_ERRORS as error:
                _LOG.warning("%s: not profiled on %s: %s", name, device, error)
                self._unavailable.append(Unavailable(str(name), device, str(error)))
        return tuple(found)

    def report(self) -> Profile:
        """All that was profiled so far."""
        return Profile(tuple(self._stages), tuple(self._unavailable))

    def _load(self, name: str | os.PathLike[str], device: str | None) -> Session:
        if is_server(device or self._device):
            raise DeviceError(
                f"{name}: a server's operators cannot be profiled from here: profile it on the "
                "device cpu or cuda, and measure the server with Triton's perf_analyzer "
                "(docs/serving.md)"
            )
        return load(
            name,
            device=device or self._device,
            precision=self._precision,
            models=self._models,
            options=self._options,
        )


def network_names(models: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """The artifacts of a models folder that have weights and take audio, sorted.

    Raises:
        ArtifactNotFoundError: there is none, or no models folder.
    """
    folder = find_models(models)
    described = [row.description for row in Manifest.read(folder / MANIFEST_NAME).artifacts]
    names = {
        one.name
        for one in described
        if one.checkpoints and any(spec.name == WAVEFORM for spec in one.inputs)
    }
    if not names:
        raise ArtifactNotFoundError(f"{folder} has no network that takes audio")
    return tuple(sorted(names))


def divided(warm: Round, calls: ProfiledCalls, found: Distribution) -> Parts:
    """A warm round's wall time in parts, which the profiled calls tell."""
    slower = _slower(warm, calls)
    # A card's own clock does not see the profiler: its times need no correction for it.
    own = _more_windows(warm, calls) if found.basis == KERNEL_EVENTS else slower
    copies_s = found.copies_s * own
    if found.basis != OPERATORS:
        # Around ONNX Runtime's calls, inputs and outputs are copied to and from the card.
        copies_s += max(0.0, calls.session_s - calls.checks_s - found.run_s) * slower
    left_s = warm.session_s
    shares = []
    for wanted_s in (found.device_s * own, copies_s, found.cpu_operators_s * slower):
        shares.append(min(wanted_s, left_s))
        left_s -= shares[-1]
    device_s, copies_s, cpu_operators_s = shares
    return Parts(warm.audio_s, warm.windows_s, copies_s, device_s, cpu_operators_s, left_s)


def scaled_operators(
    warm: Round, calls: ProfiledCalls, found: Distribution
) -> tuple[OperatorTime, ...]:
    """The operators' figures, of a warm round instead of the profiled calls."""
    slower, more = _slower(warm, calls), _more_windows(warm, calls)
    own = more if found.basis == KERNEL_EVENTS else slower
    return tuple(
        replace(
            one,
            count=round(one.count * more),
            host_s=one.host_s * slower,
            device_s=None if one.device_s is None else one.device_s * own,
        )
        for one in found.operators
    )


def _slower(warm: Round, calls: ProfiledCalls) -> float:
    """From the host's time in the profiled calls to that in a warm round."""
    return warm.session_s / calls.session_s if calls.session_s > 0 else 0.0


def _more_windows(warm: Round, calls: ProfiledCalls) -> float:
    """How many times the profiled calls' windows a round has."""
    return warm.num_windows / calls.num_windows
