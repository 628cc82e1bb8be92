"""What a profiled stage runs on: a recording in batches of windows, or given arrays."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..audio import read_audio
from ..audio_source import AudioSource
from ..batching import BATCH, BatchPlan, batch_plan
from ..errors import AudioError, InputError
from ..inputs import Arrays
from ..manifest import Description, TensorSpec
from ..options import Options
from ..session import Session
from ..synthetic import example_inputs
from ..windows import WindowPlan, cut

WAVEFORM = "waveform"
_RATE = "sample_rate_hz"
_DEFAULT_RATE_HZ = 16000
_NO_SAMPLES = np.zeros(0, np.float32)


@dataclass(frozen=True)
class Batch:
    """The inputs of one call, and how many of its rows are not padding."""

    inputs: Arrays
    num_windows: int


class Workload(ABC):
    """Calls to a session, the same in every round.

    Attributes:
        batch_size: the most windows per call.
    """

    batch_size: int

    @abstractmethod
    def read(self) -> npt.NDArray[np.float32]:
        """(N,) samples, read and resampled anew; none where there is no audio."""

    @abstractmethod
    def batches(self, samples: npt.NDArray[np.float32]) -> Iterator[Batch]:
        """The calls' inputs, made as they are taken."""

    @abstractmethod
    def audio_duration_s(self, samples: npt.NDArray[np.float32]) -> float | None:
        """Seconds of audio in a round; None where there is none, or its rate is not told."""


class ArraysWorkload(Workload):
    """One call with given arrays."""

    def __init__(self, description: Description, arrays: Mapping[str, Any]) -> None:
        self._inputs = dict(arrays)
        shapes = {name: getattr(array, "shape", ()) for name, array in arrays.items()}
        sizes = [
            shapes[spec.name][spec.axes.index(BATCH)]
            for spec in description.inputs
            # What does not fit is for the session to refuse.
            if BATCH in spec.axes and len(shapes.get(spec.name, ())) == len(spec.axes)
        ]
        self.batch_size = max(sizes, default=1)
        self._audio_duration_s = None
        if WAVEFORM in shapes and _RATE in description.recipe:
            num_samples = math.prod(shapes[WAVEFORM])
            self._audio_duration_s = num_samples / description.figure(_RATE, int)

    def read(self) -> npt.NDArray[np.float32]:
        return _NO_SAMPLES

    def batches(self, samples: npt.NDArray[np.float32]) -> Iterator[Batch]:  # noqa: ARG002
        yield Batch(self._inputs, self.batch_size)

    def audio_duration_s(self, samples: npt.NDArray[np.float32]) -> float | None:  # noqa: ARG002
        return self._audio_duration_s


class AudioWorkload(Workload):
    """A recording in windows; inputs other than the waveform are synthetic, made once."""

    def __init__(
        self,
        description: Description,
        source: AudioSource,
        plan: BatchPlan,
        *,
        source_rate_hz: int | None = None,
        step_s: float | None = None,
    ) -> None:
        """``step_s``: from one window to the next, in seconds; by default a window's length.

        Raises:
            InputError: the artifact does not take (batch, 1, samples) or (batch, samples).
            AudioError: the step is longer than a window, or shorter than a sample.
        """
        spec = _waveform_spec(description)
        if spec is None:
            raise InputError(
                f"{description.name}: does not take audio as {WAVEFORM} (batch, 1, samples) or "
                "(batch, samples); leave the audio out for synthetic inputs, or give arrays="
            )
        self._channels = (1,) * (len(spec.axes) - 2)
        self.batch_size, self._padded = plan.size, plan.padded
        self.rate_hz: int = _rate_hz(description)
        self._description, self._source, self._source_rate_hz = description, source, source_rate_hz
        window_samples = example_inputs(description)[WAVEFORM].shape[-1]
        step = window_samples if step_s is None else _step_samples(step_s, self.rate_hz)
        self._windows = WindowPlan(window_samples, step, plan.size)
        self._others: dict[int, Arrays] = {}

    def read(self) -> npt.NDArray[np.float32]:
        return read_audio(self._source, self.rate_hz, source_rate_hz=self._source_rate_hz)

    def batches(self, samples: npt.NDArray[np.float32]) -> Iterator[Batch]:
        for block in cut([samples], self._windows):
            count = len(block.windows)
            size = self._padded(count)
            shape = (size, *self._channels, self._windows.window_samples)
            waveform = np.zeros(shape, np.float32)
            waveform.reshape(size, -1)[:count] = block.windows
            yield Batch({WAVEFORM: waveform, **self._other_inputs(size)}, count)

    def audio_duration_s(self, samples: npt.NDArray[np.float32]) -> float:
        return len(samples) / self.rate_hz

    def _other_inputs(self, size: int) -> Arrays:
        if size not in self._others:
            inputs = example_inputs(self._description, size)
            self._others[size] = {n: a for n, a in inputs.items() if n != WAVEFORM}
        return self._others[size]


def takes_audio(description: Description) -> bool:
    """Whether an artifact takes a recording's windows in batches."""
    return _waveform_spec(description) is not None


def _waveform_spec(description: Description) -> TensorSpec | None:
    spec = next((spec for spec in description.inputs if spec.name == WAVEFORM), None)
    return spec if spec and spec.axes[:-1] in ((BATCH, 1), (BATCH,)) else None


def _step_samples(step_s: float, rate_hz: int) -> int:
    if not math.isfinite(step_s):
        raise AudioError(f"the step between windows must be a number of seconds, got {step_s}")
    return round(step_s * rate_hz)


def _rate_hz(description: Description) -> int:
    if _RATE in description.recipe:
        return description.figure(_RATE, int)
    return _DEFAULT_RATE_HZ


def batch_plan_of(session: Session, batch_size: int | None, options: Options) -> BatchPlan:
    """Windows per call: as asked for, else as the session has it; 1 where nothing can be batched.

    Raises:
        InputError: a batch size was asked for that the artifact does not take.
    """
    description = session.description
    tensors = (*description.inputs, *description.outputs)
    if batch_size is None and not all(BATCH in spec.axes for spec in tensors):
        return BatchPlan(1)
    wanted = session.batch_size if batch_size is None else batch_size
    if wanted < 1:
        raise InputError(f"a batch size must be at least 1, got {wanted}")
    return batch_plan(wanted, description, options.batch_buckets)


def workload_for(  # noqa: PLR0913 -- all that says what to run
    session: Session,
    audio: AudioSource | None,
    arrays: Mapping[str, Any] | None,
    plan: BatchPlan,
    *,
    source_rate_hz: int | None = None,
    step_s: float | None = None,
) -> Workload:
    """What to run; without audio and arrays, synthetic inputs of one batch.

    Raises:
        InputError: both audio and arrays, or audio for an artifact that takes none.
    """
    if audio is not None and arrays is not None:
        raise InputError("profile a stage on audio or on arrays, not on both")
    if audio is not None:
        return AudioWorkload(
            session.description, audio, plan, source_rate_hz=source_rate_hz, step_s=step_s
        )
    if arrays is None:
        arrays = example_inputs(session.description, plan.size)
    return ArraysWorkload(session.description, arrays)
