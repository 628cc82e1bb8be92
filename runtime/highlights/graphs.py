"""The two stages of ``highlights`` as sessions: audio to levels, and levels to scores."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ArtifactError
from ..inputs import Arrays
from ..loading import load
from ..manifest import Description
from ..options import DEFAULT_OPTIONS, Options
from ..session import Session

FloatArray = npt.NDArray[np.float32]

RMS, SCORE = "highlights_rms", "highlights_score"
# Both must be of one export: what one measures, the other judges.
_SHARED = ("sample_rate_hz", "frame_samples", "hop_samples")


class HighlightGraphs:
    """The loaded artifacts, and what their recipes say.

    Args:
        models: folder with the artifacts; see ``load``.
        device: see ``load``.
        precision: see ``load``.
        fallback: see ``load``.
        options: see ``load``.

    Attributes:
        sample_rate_hz: of the audio.
        frame_samples: what one level spans.
        hop_samples: from one to the next.
        peak_threshold: of the z-score, for a loudness peak.
        score_threshold: of the score, for a highlight.
        min_relative_deviation: what z-scores are relative to at least, as a share of the mean.

    Raises:
        ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError: as ``load``.
        ArtifactError: the artifacts are of two different exports.
    """

    def __init__(
        self,
        *,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        fallback: bool = False,
        options: Options = DEFAULT_OPTIONS,
    ) -> None:
        self._rms, self._score = (
            load(
                name,
                models=models,
                device=device,
                precision=precision,
                fallback=fallback,
                options=options,
            )
            for name in (RMS, SCORE)
        )
        described = self._rms.description
        _check_alike(described, self._score.description)
        self.sample_rate_hz, self.frame_samples, self.hop_samples = (
            described.figure(key, int) for key in _SHARED
        )
        self.peak_threshold = _threshold(self._score.description, "peak_threshold")
        self.score_threshold = _threshold(self._score.description, "score_threshold")
        self.min_relative_deviation = described.figure("min_relative_deviation", float)

    @property
    def sessions(self) -> tuple[Session, Session]:
        return self._rms, self._score

    @property
    def frame_s(self) -> float:
        return self.frame_samples / self.sample_rate_hz

    @property
    def hop_s(self) -> float:
        return self.hop_samples / self.sample_rate_hz

    def levels(self, samples: FloatArray) -> FloatArray:
        """(N,) samples, a frame or more -> (T,) root mean squares.

        Raises:
            VoxportError: the graph failed.
        """
        rms: FloatArray = self._rms.run(waveform=samples[None, None])["rms"][0]
        return rms

    def scores(self, rms: FloatArray, chat: FloatArray) -> Arrays:
        """(T,), (T,) -> the outputs of ``highlights_score``, (T,) each."""
        outputs = self._score.run(rms=rms[None], chat=chat[None])
        return {name: array[0] for name, array in outputs.items()}

    def close(self) -> None:
        """Give back the sessions' memory."""
        self._rms.close()
        self._score.close()


def _check_alike(first: Description, second: Description) -> None:
    for key in _SHARED:
        one, other = first.figure(key, int), second.figure(key, int)
        if one != other:
            raise ArtifactError(
                f"{first.name} has {key} {one}, but {second.name} has {other}: they are of "
                "different exports. Run `voxport export` again."
            )


def _threshold(description: Description, name: str) -> float:
    configuration: Any = description.recipe.get("configuration")
    value: Any = configuration.get(name) if isinstance(configuration, dict) else None
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if not numeric or not math.isfinite(value):
        raise ArtifactError(
            f"{description.name}: the configuration in its recipe must hold {name!r} as a number, "
            f"got {value!r:.80}"
        )
    return float(value)
