"""Mean and deviation of a stream so far."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


class RunningStatistics:
    """Statistics that grow block by block, in float64.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
    sample variances" (1979), which is Welford's algorithm for blocks.

    Args:
        min_relative_deviation: z-scores are relative to this share of the mean at least.
    """

    def __init__(self, min_relative_deviation: float) -> None:
        self._least = min_relative_deviation
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation (population) of all values so far; 0 without any."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0

    def update(self, values: FloatArray) -> None:
        """Take (n,) values, also none."""
        count = len(values)
        if not count:
            return
        exact = values.astype(np.float64)
        mean = float(exact.mean())
        squares = float(((exact - mean) ** 2).sum())
        total, shift = self.count + count, mean - self.mean
        self._squares += squares + shift * shift * self.count * count / total
        self.mean += shift * count / total
        self.count = total

    def z(self, values: FloatArray) -> npt.NDArray[np.float64]:
        """(n,) z-scores of values, by all that was taken so far; 0 where nothing varied."""
        scale = max(self.deviation, self._least * abs(self.mean))
        if not scale > 0:
            return np.zeros(len(values))
        scores: npt.NDArray[np.float64] = (values.astype(np.float64) - self.mean) / scale
        return scores
