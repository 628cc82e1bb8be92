"""The embedding network on a piece of audio, pooled under the mask of each voice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..session import Session
from .pieces import Masks, Piece

FloatArray = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
# The windows of the diarization recipe, which distances between voices were measured on.
_WINDOW_S = 10.0
# A mask may have any rate; this is that of the networks' features.
FRAMES_PER_S = 100


@dataclass(frozen=True)
class Part:
    """What one piece says: voices (R,), seconds of speech (R,), unit vectors (R, D).

    ``end`` is the sample behind the piece.
    """

    voices: npt.NDArray[np.int64]
    seconds: Doubles
    units: Doubles
    end: int


class PooledNetwork:
    """An embedding artifact in the sizes it takes; may be called from several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        described = session.description
        self.rate_hz = described.figure("sample_rate_hz", int)
        self.size = described.figure("embedding_size", int)
        # A format that fixes a size takes no other.
        self._fixed = described.sizes
        self.window_samples = max(self._fixed.get("samples", (round(_WINDOW_S * self.rate_hz),)))
        if "min_samples" in described.recipe:
            self._min_samples = described.figure("min_samples", int)
        else:
            self._min_samples = described.minimums.get("samples", 1)

    @property
    def padded(self) -> bool:
        """Whether audio that is shorter than a window must be filled up."""
        return "samples" in self._fixed

    def __call__(self, piece: Piece, masks: Masks) -> Part:
        """Embeddings of the voices that say more in the piece than the shortest input holds."""
        length = len(piece.samples)
        wanted = max(1, round(length * FRAMES_PER_S / self.rate_hz))
        frames = max(self._fixed.get("frames", (wanted,)))
        voices, rows = masks.of(piece, frames)
        # Strictly more, as in the masks of a diarization.
        enough = rows.sum(axis=1) > math.ceil(frames * self._min_samples / length)
        voices, rows = voices[enough], rows[enough]
        vectors = self._run(piece.samples, rows).astype(np.float64)
        norms = np.linalg.norm(vectors, axis=1)
        usable = np.isfinite(norms) & (norms > 0)
        seconds = rows.sum(axis=1, dtype=np.float64) * (length / frames / self.rate_hz)
        return Part(
            voices[usable], seconds[usable], vectors[usable] / norms[usable, None], piece.end
        )

    def _run(self, samples: FloatArray, rows: FloatArray) -> FloatArray:
        """(N,), (R, F) -> (R, D); as many rows at a time as the artifact takes."""
        found = [np.zeros((0, self.size), np.float32)]
        most = max(self._fixed.get("speakers", (max(1, len(rows)),)))
        for first in range(0, len(rows), most):
            part = rows[first : first + most]
            missing = most - len(part) if "speakers" in self._fixed else 0
            masks = np.pad(part, ((0, missing), (0, 0)))
            outputs = self._session.run(waveform=samples[None, None], masks=masks[None])
            found.append(outputs["embeddings"][0, : len(part)])
        return np.concatenate(found)
