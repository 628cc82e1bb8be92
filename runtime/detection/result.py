"""Where there is speech, and how it was found out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..annotation.spans import total_s
from ..annotation.turns import Turns
from ..diarization.result import Used

SPEECH, OVERLAP = "SPEECH", "OVERLAP"


@dataclass(frozen=True)
class DetectionResult:
    """The answer of a ``SpeechDetector``.

    Attributes:
        speech: where at least one speaks; every turn is labelled ``SPEECH``.
        overlap: where at least two speak at once; every turn is labelled ``OVERLAP``.
        speaker_count: (frames,) uint8, how many speak in each frame, before any turn was filled
            or dropped.
        hop_s: seconds from one of these frames to the next.
        duration_s: length of the audio.
        artifacts: what was used.
        seconds: by stage, summed over threads; "total" is wall time.
    """

    speech: Turns
    overlap: Turns
    speaker_count: npt.NDArray[np.uint8]
    hop_s: float
    duration_s: float
    artifacts: tuple[Used, ...]
    seconds: dict[str, float]

    @property
    def speech_s(self) -> float:
        """Seconds of speech."""
        return _seconds(self.speech)

    @property
    def overlap_s(self) -> float:
        """Seconds in which two or more speak."""
        return _seconds(self.overlap)


def _seconds(turns: Turns) -> float:
    return total_s(span for spans in turns.by_speaker().values() for span in spans)
