"""Kaldi's filterbank, step by step, in float64 NumPy with a real FFT."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...graphs import FbankConfig

Array = npt.NDArray[np.float64]


def kaldi_fbank(samples: npt.NDArray[np.floating], config: FbankConfig) -> Array:
    """(N,) samples in [-1, 1] -> (T, num_mel_bins) log-mel energies."""
    scaled = np.asarray(samples, dtype=np.float64) * config.waveform_scale
    frames = np.lib.stride_tricks.sliding_window_view(scaled, config.frame_length_samples)
    frames = frames[:: config.hop_samples]
    frames = frames - frames.mean(axis=1, keepdims=True)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    windowed = (frames - config.preemphasis * previous) * _window(config)
    power = np.abs(np.fft.rfft(windowed, config.num_fft)) ** 2
    energies = power[:, : config.num_fft // 2] @ _mel_weights(config).T
    return np.log(np.maximum(energies, np.finfo(np.float32).eps))


def _window(config: FbankConfig) -> Array:
    if config.window == "hamming":
        return np.hamming(config.frame_length_samples)
    return np.hanning(config.frame_length_samples) ** 0.85


@lru_cache
def _mel_weights(config: FbankConfig) -> Array:
    """(num_mel_bins, num_fft // 2), bin by bin as in Kaldi's ``MelBanks``."""

    def mel(frequency_hz: float) -> float:
        return float(1127.0 * np.log(1.0 + frequency_hz / 700.0))

    low, high = mel(config.low_frequency_hz), mel(config.sample_rate_hz / 2)
    step = (high - low) / (config.num_mel_bins + 1)
    weights = np.zeros((config.num_mel_bins, config.num_fft // 2))
    for row in range(config.num_mel_bins):
        left = low + row * step
        for column in range(config.num_fft // 2):
            position = (mel(column * config.sample_rate_hz / config.num_fft) - left) / step
            weights[row, column] = max(0.0, min(position, 2.0 - position))
    return weights
