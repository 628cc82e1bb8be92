"""Mel scales and mel filters as librosa defines them, in float64.

Unlike Kaldi's and VGGish's (see ``mel``), the triangles are straight in Hz.

Source of the numerics: librosa 0.10 and later, ``hz_to_mel``, ``mel_to_hz``, ``filters.mel``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# Slaney's scale: linear up to 1 kHz, logarithmic above, as in his Auditory Toolbox.
_LINEAR_HZ_PER_MEL = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


@dataclass(frozen=True)
class MelFilters:
    """``librosa.filters.mel``; ``htk`` is its ``htk=True``, the norm ``none`` its None."""

    sample_rate_hz: int
    n_fft: int
    n_mels: int
    low_hz: float
    high_hz: float
    mel_scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["slaney", "none"] = "slaney"

    def weights(self) -> FloatArray:
        """(n_mels, n_fft // 2 + 1) triangles, straight in Hz between centres even in mels."""
        low, high = hz_to_mel(np.array([self.low_hz, self.high_hz]), self.mel_scale)
        edges_hz = mel_to_hz(np.linspace(low, high, self.n_mels + 2), self.mel_scale)[:, None]
        left, centre, right = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
        bins_hz = np.arange(self.n_fft // 2 + 1) * self.sample_rate_hz / self.n_fft
        rising = (bins_hz - left) / (centre - left)
        falling = (right - bins_hz) / (right - centre)
        weights: FloatArray = np.maximum(0.0, np.minimum(rising, falling))
        return weights * 2.0 / (right - left) if self.norm == "slaney" else weights


def hz_to_mel(frequency_hz: FloatArray, scale: str) -> FloatArray:
    """Mels of frequencies, on Slaney's or HTK's scale."""
    if scale == "htk":
        mels: FloatArray = 2595.0 * np.log10(1.0 + frequency_hz / 700.0)
        return mels
    above = np.maximum(frequency_hz, _BREAK_HZ)
    logarithmic = _BREAK_MEL + np.log(above / _BREAK_HZ) / _LOG_STEP
    return np.where(frequency_hz < _BREAK_HZ, frequency_hz / _LINEAR_HZ_PER_MEL, logarithmic)


def mel_to_hz(mels: FloatArray, scale: str) -> FloatArray:
    """The inverse of ``hz_to_mel``."""
    if scale == "htk":
        frequency_hz: FloatArray = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
        return frequency_hz
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mels, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mels < _BREAK_MEL, mels * _LINEAR_HZ_PER_MEL, above)
