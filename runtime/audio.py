"""Read audio as mono float32 at the rate that a graph wants."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from .errors import AudioError

FloatArray = npt.NDArray[np.float32]

# Channels whose sum keeps less than this share of their energy cancel each other out.
_MIN_KEPT_ENERGY = 0.05


def mix_down(channels: FloatArray) -> FloatArray:
    """(N, C) -> (N,): the mean of the channels, or the loudest one where they cancel out.

    The mean of two channels in opposite phase is silence; speech must not vanish that way.
    """
    mean: FloatArray = channels.mean(axis=1, dtype=np.float32)
    if channels.shape[1] == 1:
        return mean
    energies = np.square(channels, dtype=np.float64).mean(axis=0)
    loudest = int(energies.argmax())
    if np.square(mean, dtype=np.float64).mean() < _MIN_KEPT_ENERGY * energies[loudest]:
        return np.ascontiguousarray(channels[:, loudest])
    return mean


def read_audio(path: str | os.PathLike[str], sample_rate_hz: int = 16000) -> FloatArray:
    """(N,) float32 samples in [-1, 1], mixed down to mono and resampled (soxr, high quality).

    Raises:
        AudioError: missing or unreadable file, no samples, or samples that are not finite.
    """
    try:
        channels, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"{path}: cannot be read as audio: {error}") from error
    if not len(channels):
        raise AudioError(f"{path}: holds no samples")
    if not np.isfinite(channels).all():
        raise AudioError(f"{path}: holds NaN or infinite samples")
    mono = mix_down(channels)
    if rate_hz == sample_rate_hz:
        return mono
    resampled: FloatArray = soxr.resample(mono, rate_hz, sample_rate_hz)
    return resampled
