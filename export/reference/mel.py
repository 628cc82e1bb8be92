"""librosa's mel spectrogram and decibels, step by step, in float64 NumPy with a real FFT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...graphs.mel_matrix import MelMatrixConfig

Array = npt.NDArray[np.float64]


def mel_matrix(samples: npt.NDArray[np.floating], config: MelMatrixConfig) -> Array:
    """(N,) samples -> (long_segments, short_segments, n_mels, time_frames)."""
    long_points = round(config.long_segment_scale * config.sample_rate)
    points = config.short_segment_points
    weights = mel_weights(config)
    matrix = [
        [
            _short_segment(samples[start : start + points], weights, config)
            for start in range(first, first + long_points - points + 1, points)
        ]
        for first in range(0, len(samples) - long_points + 1, long_points)
    ]
    return np.array(matrix)


def _short_segment(
    samples: npt.NDArray[np.floating], weights: Array, config: MelMatrixConfig
) -> Array:
    power = weights @ _power_spectrum(samples, config)
    return power if config.scale == "power" else power_to_db(power, config)


def _power_spectrum(samples: npt.NDArray[np.floating], config: MelMatrixConfig) -> Array:
    """(n_fft // 2 + 1, frames), frame by frame."""
    signal = np.asarray(samples, np.float64)
    if config.center:
        signal = np.pad(signal, config.n_fft // 2, mode=config.pad_mode)
    window = np.hanning(config.n_fft + 1)[:-1]
    frames = [
        np.fft.rfft(window * signal[start : start + config.n_fft])
        for start in range(0, len(signal) - config.n_fft + 1, config.hop_length)
    ]
    power: Array = np.abs(np.array(frames).T) ** 2
    return power


def power_to_db(power: Array, config: MelMatrixConfig) -> Array:
    """Decibels of one spectrogram, as ``librosa.power_to_db``."""
    reference = power.max() if config.ref == "max" else config.ref
    level = 10.0 * np.log10(np.maximum(config.amin, power))
    level -= 10.0 * np.log10(max(config.amin, float(reference)))
    return level if config.top_db is None else np.maximum(level, level.max() - config.top_db)


def mel_weights(config: MelMatrixConfig) -> Array:
    """(n_mels, n_fft // 2 + 1), weight by weight as in ``librosa.filters.mel``."""
    slaney = config.mel_scale == "slaney"
    to_mel, to_hz = (_slaney_mel, _slaney_hz) if slaney else (_htk_mel, _htk_hz)
    high_hz = config.fmax or config.sample_rate / 2
    low, high = to_mel(config.fmin), to_mel(high_hz)
    step = (high - low) / (config.n_mels + 1)
    centres_hz = [to_hz(low + step * index) for index in range(config.n_mels + 2)]
    weights = np.zeros((config.n_mels, config.n_fft // 2 + 1))
    for band in range(config.n_mels):
        left, centre, right = centres_hz[band : band + 3]
        height = 2.0 / (right - left) if config.norm == "slaney" else 1.0
        for column in range(weights.shape[1]):
            hz = column * config.sample_rate / config.n_fft
            slope = min((hz - left) / (centre - left), (right - hz) / (right - centre))
            weights[band, column] = height * max(0.0, slope)
    return weights


def _slaney_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + float(np.log(hz / 1000)) * 27 / float(np.log(6.4))


def _slaney_hz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * float(np.exp((mel - 15) * np.log(6.4) / 27))


def _htk_mel(hz: float) -> float:
    return 2595 * float(np.log10(1 + hz / 700))


def _htk_hz(mel: float) -> float:
    return 700 * float(10 ** (mel / 2595) - 1)
