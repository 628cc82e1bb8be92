"""Triangular filters on the mel scale, and the Fourier transform as a matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatMatrix = npt.NDArray[np.float64]


def hertz_to_mel(frequency_hz: npt.ArrayLike) -> FloatMatrix:
    """The mel scale of HTK and Kaldi: 1127 ln(1 + f / 700)."""
    mel: FloatMatrix = 1127.0 * np.log1p(np.asarray(frequency_hz, np.float64) / 700.0)
    return mel


def mel_triangles(
    bins_hz: npt.NDArray[np.float64], low_hz: float, high_hz: float, num_mel_bins: int
) -> FloatMatrix:
    """(len(bins_hz), num_mel_bins) weights: triangles of equal width in mel that touch half-way.

    Each rises from its left neighbour's centre to 1 at its own and falls to 0 at its right
    neighbour's, linearly in mel.
    """
    low, high = hertz_to_mel([low_hz, high_hz])
    edges = np.linspace(low, high, num_mel_bins + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    mel = hertz_to_mel(bins_hz)[:, None]
    rising = (mel - left) / (centre - left)
    falling = (right - mel) / (right - centre)
    weights: FloatMatrix = np.maximum(0.0, np.minimum(rising, falling))
    return weights


def fourier_matrix(bins: npt.NDArray[np.int64], length: int, num_fft: int) -> FloatMatrix:
    """(2 * len(bins), length): the real parts of the zero-padded transform, then the imaginary."""
    angle = 2 * np.pi * np.outer(bins, np.arange(length)) / num_fft
    return np.concatenate([np.cos(angle), -np.sin(angle)])
