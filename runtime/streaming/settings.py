"""How live audio is diarized: how often, how late, and how voices are told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

from ..errors import OptionsError

# The tail of windows that may still change is held in memory.
MAX_LATENCY_S = 600.0


@dataclass(frozen=True)
class StreamingSettings:
    """Choices of a streaming diarization; voxport's figures are measured with the defaults.

    Attributes:
        step_s: seconds from one window to the next, from a frame to a window.
        latency_s: how long after it was heard a moment is decided for good: from ``step_s`` to
            ten minutes. The longer, the more is known by then.
        max_speakers: the most labels there may be; None for any number.
        threshold: of the clustering, a Euclidean distance between centroids of unit vectors; None
            takes 1.02 times the one that is stored with the embedding artifact.
        min_cluster_size: clusters below it, or below a tenth of what is remembered if that is
            less, join the one most like them.
        memory_size: how many embeddings are remembered, over all speakers.

    Raises:
        OptionsError: a value of the wrong type or out of range.
    """

    step_s: float = 1.0
    latency_s: float = 5.0
    max_speakers: int | None = None
    threshold: float | None = None
    min_cluster_size: int = 2
    memory_size: int = 512

    def __post_init__(self) -> None:
        for name in ("step_s", "latency_s", "threshold"):
            value: Any = getattr(self, name)
            optional = name == "threshold" and value is None
            if not optional and not (_is_number(value) and 0 < value < math.inf):
                raise OptionsError(f"{name} must be a number above 0, got {value!r:.80}")
        if not self.step_s <= self.latency_s <= MAX_LATENCY_S:
            raise OptionsError(
                f"latency_s must be from step_s, {self.step_s:g}, to {MAX_LATENCY_S:g} s, got "
                f"{self.latency_s:g}: nothing is decided between two windows"
            )
        for name in ("max_speakers", "min_cluster_size", "memory_size"):
            number: Any = getattr(self, name)
            if name == "max_speakers" and number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise OptionsError(f"{name} must be a whole number from 1, got {number!r:.80}")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
