"""How a diarization is made: windows, embeddings, clustering."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from ..errors import OptionsError
from ..segmenter import BLOCK_S
from ..stages import Plda

Mode = Literal["fast", "exact"]


@dataclass(frozen=True)
class Settings:
    """Choices of a diarization; the defaults are what voxport's figures are measured with.

    Attributes:
        mode: ``"exact"`` runs the embedding network on every window, as pyannote.audio does;
            ``"fast"`` runs its trunk once over each block of audio and pools all windows there,
            so that every second of audio is computed once instead of ten times.
        step_s: seconds from one window to the next, from a frame to a window.
        block_s: length of a block in seconds, in fast mode; in exact mode merely how much audio
            is taken at a time. At least a window and the overlap of blocks, a fifth of a window.
        threshold: of the clustering, a Euclidean distance between centroids of unit vectors; None
            takes the one that is stored with the embedding artifact, or VBx's own.
        min_cluster_size: clusters below it, or below a tenth of all embeddings if that is less,
            join the one most like them; not of VBx.
        min_duration_off_s: shorter pauses of a speaker are filled, in seconds.
        plda: cluster with VBx under this model, as community-1 does, instead of AHC; for
            WeSpeaker's 256-d embeddings only, which it was trained on.

    Raises:
        OptionsError: a value of the wrong type or out of range.
    """

    mode: Mode = "fast"
    step_s: float = 1.0
    block_s: float = BLOCK_S
    threshold: float | None = None
    min_cluster_size: int = 12
    min_duration_off_s: float = 0.0
    plda: Plda | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("fast", "exact"):
            raise OptionsError(f"mode must be 'fast' or 'exact', got {self.mode!r:.80}")
        for name in ("step_s", "block_s", "threshold"):
            value: Any = getattr(self, name)
            optional = name == "threshold" and value is None
            if not optional and not (_is_number(value) and 0 < value < math.inf):
                raise OptionsError(f"{name} must be a number above 0, got {value!r:.80}")
        size: Any = self.min_cluster_size
        pause_s: Any = self.min_duration_off_s
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise OptionsError(f"min_cluster_size must be a whole number from 1, got {size!r:.80}")
        if not (_is_number(pause_s) and 0 <= pause_s < math.inf):
            raise OptionsError(f"min_duration_off_s must be 0 or more, got {pause_s!r:.80}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
