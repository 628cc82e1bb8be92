"""One way to run an artifact: opened, run for the first time, warm."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from ..audio_source import AudioSource
from ..batching import is_batched
from ..loading import load
from ..onnx_session import OnnxSession
from ..options import Options
from ..profiling.distribution import distribution
from ..profiling.measuring import Round, first_call_s, profiled_calls, timed_round
from ..profiling.memory import PeakMemory
from ..profiling.trace import TraceError
from ..profiling.workload import Workload, batch_plan_of, takes_audio, workload_for
from ..session import Session

_LOG = logging.getLogger("voxport")
Name = str | os.PathLike[str]


@dataclass(frozen=True)
class Setting:
    """What variants of an artifact have in common."""

    name: Name
    audio: AudioSource | None
    source_rate_hz: int | None
    models: Name | None
    options: Options


@dataclass(frozen=True)
class Choice:
    """What tells them apart; ``batch_size`` None: what ``run_batched`` takes."""

    device: str
    precision: str
    batch_size: int | None


class Variant:
    """A session of its own, so that load, first call and memory are its own as well.

    Attributes:
        choice: what it was made of.
        session: open until ``session.close()``.
        workload: the same inputs in every round.
        load_s: finding, checking and opening the artifact.
        first_call_s: of the first call; 0 before ``warm_up``.
        peak_host_bytes: growth of the process's memory up to ``warm_up``.
    """

    def __init__(self, setting: Setting, choice: Choice) -> None:
        """Load.

        Raises:
            InputError: the artifact does not take the batch size.
            VoxportError: what ``load`` raises.
        """
        self.choice, self._setting = choice, setting
        self._memory = PeakMemory()
        self.first_call_s = 0.0
        self.peak_host_bytes: int | None = None
        started = time.perf_counter()
        self.session: Session = load(
            setting.name,
            device=choice.device,
            precision=choice.precision,
            models=setting.models,
            options=setting.options,
        )
        self.load_s = time.perf_counter() - started
        try:
            self.workload = self._workload(choice.batch_size)
        except BaseException:
            self.session.close()
            raise

    @property
    def on_audio(self) -> bool:
        """Whether it runs on the recording, not on synthetic inputs."""
        return self._setting.audio is not None and takes_audio(self.session.description)

    def _workload(self, batch_size: int | None) -> Workload:
        if not is_batched(self.session.description):
            batch_size = None
        plan = batch_plan_of(self.session, batch_size, self._setting.options)
        audio, rate_hz = (
            (self._setting.audio, self._setting.source_rate_hz) if self.on_audio else (None, None)
        )
        return workload_for(self.session, audio, None, plan, source_rate_hz=rate_hz)

    @property
    def key(self) -> tuple[str, str, int]:
        """What two variants that are the same have in common."""
        return self.session.device, self.session.description.precision, self.workload.batch_size

    def warm_up(self) -> None:
        """The first call, and a round that is not counted."""
        self.first_call_s = first_call_s(self.session, self.workload)
        timed_round(self.session, self.workload)
        self.peak_host_bytes = self._memory.growth_bytes()

    def round(self) -> Round:
        """A round that counts."""
        return timed_round(self.session, self.workload)

    def peak_device_bytes(self) -> int | None:
        """From a profile by ONNX Runtime, of a session of its own; closes the variant's."""
        self.session.close()
        if self.session.on_cpu or not isinstance(self.session, OnnxSession):
            return None
        setting = self._setting
        name = setting.name
        try:
            calls = profiled_calls(
                name, setting.models, self.session, self.workload, setting.options
            )
        except TraceError as error:
            _LOG.warning("%s: memory of %s not known: %s", name, self.session.device, error)
            return None
        return distribution(calls.trace, on_gpu=True).peak_device_bytes


def is_file(name: Name) -> bool:
    """Whether an artifact is given by its path, as ``load`` takes it."""
    return Path(name).suffix in (".onnx", ".mlpackage")
