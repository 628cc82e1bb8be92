"""Mel matrices of a recording, and what they took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..diarization.result import Used

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ProcessingStats:
    """What a recording took.

    Attributes:
        total_s: wall time in seconds.
        audio_s: length of the audio in seconds.
        num_segments: short segments.
        stage_s: seconds by stage: ``decoding``, ``inference`` and, in files, ``writing``. Stages
            run beside one another, so that they may add up to more than the wall time, and what
            none of them counts (copies, waiting for the first audio) to less.
    """

    total_s: float
    audio_s: float
    num_segments: int
    stage_s: dict[str, float]

    @property
    def segments_per_s(self) -> float:
        """Short segments per second of wall time."""
        return self.num_segments / self.total_s if self.total_s > 0 else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """By stage, its part of the time of all stages."""
        whole = sum(self.stage_s.values())
        return {name: each / whole if whole else 0.0 for name, each in self.stage_s.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for files."""
        return {
            "total_s": self.total_s,
            "audio_s": self.audio_s,
            "num_segments": self.num_segments,
            "segments_per_s": self.segments_per_s,
            "stages": {
                name: {"seconds": self.stage_s[name], "share": share}
                for name, share in self.shares.items()
            },
        }


@dataclass(frozen=True)
class MelResult:
    """The answer of a ``MelMatrix``.

    Attributes:
        matrix: (W, long_segments, short_segments, n_mels, time_frames) float32: one row for each
            stretch of ``sample_length`` seconds; powers or decibels, as the artifact was exported.
        num_samples: samples of audio at the artifact's rate. The last row's rest is zeros.
        configuration: of the artifact: ``MelMatrixConfig``'s names and values.
        artifact: what was used.
        processing_stats: what it took.
    """

    matrix: FloatArray
    num_samples: int
    configuration: dict[str, Any]
    artifact: Used
    processing_stats: ProcessingStats
