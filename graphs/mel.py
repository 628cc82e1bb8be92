"""Triangular filters on the mel scale, and the Fourier transform as a matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

FloatMatrix = npt.NDArray[np.float64]
# Steps of coarse samples and weights per 1. Their products are multiples of 2**-18, of which
# float32 adds up 2**24 exactly: sums up to 64. Under a Hann window a tone of full scale comes to
# a quarter of the samples, away from 0 Hz and half the rate: 64 in 256, 100 in VGGish's 400.
_SAMPLE_STEPS = 1 << 10
_WEIGHT_STEPS = 1 << 8


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


def split_kernels(transform: FloatMatrix) -> tuple[FloatMatrix, FloatMatrix]:
    """(outputs, length) -> kernels (outputs, 1, length) and (outputs, 2, length).

    A bin without a tone should hold nothing, but holds what rounding leaves of the tone elsewhere.
    So samples and weights are split into a coarse part, whose products add up in float32 without
    rounding as far as no sum exceeds 64, and a rest, whose rounding is as small as it is. Sums
    beyond are off by up to 7.6e-6 in VGGish's frames of 400 samples: those are the bins of the
    tone itself, and in a sweep of tones sums below 32 were exact. The transform is the first
    kernels over the coarse part of ``split_samples`` plus the second ones over both parts.
    """
    coarse = np.round(transform * _WEIGHT_STEPS) / _WEIGHT_STEPS
    rest = np.stack([transform - coarse, transform], axis=1)
    # The samples come in steps; dividing by a power of two is exact.
    return coarse[:, None] / _SAMPLE_STEPS, rest / _SAMPLE_STEPS


def split_samples(samples: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1, ...) in [-1, 1] -> their coarse part (B, 1, ...), and both parts (B, 2, ...)."""
    steps = samples * _SAMPLE_STEPS
    coarse = torch.round(steps)
    return coarse, torch.cat([coarse, steps - coarse], dim=1)
