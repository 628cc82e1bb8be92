"""Who spoke when, and how it was found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..annotation.turns import Turns
from ..session import Session


@dataclass(frozen=True)
class Used:
    """An artifact that took part: its name, precision, SHA-256 and the device it ran on."""

    name: str
    precision: str
    sha256: str
    device: str

    @classmethod
    def of(cls, session: Session) -> Used:
        """What a session runs."""
        described = session.description
        return cls(described.name, described.precision, session.identity, session.device)


@dataclass(frozen=True)
class DiarizationResult:
    """The answer of a ``Diarizer``.

    Attributes:
        turns: who speaks from when to when; several may at once.
        exclusive_turns: the same with one speaker at a time, as transcripts need it.
        embeddings: by speaker, (D,) float32: the mean of the embeddings that made its cluster;
            a speaker who says too little (less than a fifth of a window alone) may have none.
        speaker_count: (frames,) uint8, how many speak in each frame.
        hop_s: seconds from one of these frames to the next.
        duration_s: length of the audio.
        mode: "fast" or "exact", as it was done.
        artifacts: what was used.
        seconds: by stage, summed over threads; "total" is wall time.
    """

    turns: Turns
    exclusive_turns: Turns
    embeddings: dict[str, npt.NDArray[np.float32]]
    speaker_count: npt.NDArray[np.uint8]
    hop_s: float
    duration_s: float
    mode: str
    artifacts: tuple[Used, ...]
    seconds: dict[str, float]

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of all who have a turn, sorted."""
        return self.turns.speakers

    @property
    def rtfx(self) -> float:
        """Audio seconds per second."""
        total = self.seconds["total"]
        return self.duration_s / total if total > 0 else 0.0

    def to_annotation(self) -> Any:
        """A ``pyannote.core.Annotation``; see ``Turns.to_annotation``."""
        return self.turns.to_annotation()

    def to_dataframe(self) -> Any:
        """A pandas data frame; see ``Turns.to_dataframe``."""
        return self.turns.to_dataframe()

    def _repr_html_(self) -> str:
        return self.turns._repr_html_()
