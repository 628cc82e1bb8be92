"""Highlights of a stream, in textbook form and float64."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def frame_rms(samples: npt.NDArray[np.floating], frame_samples: int, hop_samples: int) -> Array:
    """(N,) -> (T,): the root mean square of each frame that fits."""
    starts = range(0, len(samples) - frame_samples + 1, hop_samples)
    frames = (samples[start : start + frame_samples].astype(np.float64) for start in starts)
    return np.array([math.sqrt(float(frame @ frame) / frame_samples) for frame in frames])


def z_scores(values: npt.NDArray[np.floating], min_relative_deviation: float) -> Array:
    """(T,) -> (T,): 0 where nothing varies; a deviation below that share of the mean is not used.

    Sums are exact up to their last rounding (``math.fsum``).
    """
    exact = values.astype(np.float64)
    mean = math.fsum(exact) / len(exact)
    deviation = math.sqrt(math.fsum((exact - mean) ** 2) / len(exact))
    scale = max(deviation, min_relative_deviation * abs(mean))
    scores: Array = (exact - mean) / scale if scale > 0 else np.zeros(len(exact))
    return scores


def moving_average(values: npt.NDArray[np.floating], num_frames: int) -> Array:
    """(T,) -> (T,): the mean of ``num_frames`` (odd) values around each, zeros beyond the ends."""
    padded = np.pad(values.astype(np.float64), num_frames // 2)
    sums = np.convolve(padded, np.ones(num_frames), "valid")
    averages: Array = sums / num_frames
    return averages
