"""Read audio as mono float32 at the rate that a graph wants."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from .errors import AudioError

FloatArray = npt.NDArray[np.float32]

# Channels whose sum keeps less than this share of their energy cancel each other out.
_MIN_KEPT_ENERGY = 0.05
# Rates that audio has. Others come from damaged headers; resampling from 1 Hz exhausts memory.
_MIN_RATE_HZ, _MAX_RATE_HZ = 1_000, 1_000_000


def mix_down(channels: FloatArray) -> FloatArray:
    """(N, C) -> (N,): the mean of the channels, or the loudest one where they cancel out.

    The mean of two channels in opposite phase is silence; speech must not vanish that way.
    """
    # In float64: the sum of loud channels may exceed float32, their mean cannot.
    mean: FloatArray = channels.mean(axis=1, dtype=np.float64).astype(np.float32)
    if channels.shape[1] == 1:
        return mean
    energies = np.square(channels, dtype=np.float64).mean(axis=0)
    loudest = int(energies.argmax())
    if np.square(mean, dtype=np.float64).mean() < _MIN_KEPT_ENERGY * energies[loudest]:
        return np.ascontiguousarray(channels[:, loudest])
    return mean


def read_audio(path: str | os.PathLike[str], sample_rate_hz: int = 16000) -> FloatArray:
    """(N,) float32 samples, full scale 1, mixed down to mono and resampled (soxr, high quality).

    Of a WAV file that breaks off, as a recorder leaves it when it is switched off, what is there
    is read. A FLAC file that breaks off is an error; of other formats libsndfile decides.

    Raises:
        AudioError: missing or unreadable file, no samples, or samples that are not finite.
    """
    channels, rate_hz = _channels(path)
    _check_samples(path, channels)
    mono = mix_down(channels)
    if rate_hz == sample_rate_hz:
        return mono
    resampled: FloatArray = soxr.resample(mono, rate_hz, sample_rate_hz)
    _check_samples(path, resampled)
    return resampled


def _channels(path: str | os.PathLike[str]) -> tuple[FloatArray, int]:
    """(N, C) samples as they are in the file, and their rate."""
    problem = _unreadable(Path(path))
    if problem:
        raise AudioError(f"{path}: {problem}")
    try:
        channels, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, MemoryError, soundfile.SoundFileError) as error:
        raise AudioError(f"{path}: cannot be read as audio: {error}") from error
    if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
        raise AudioError(
            f"{path}: has {rate_hz} samples per second; expected {_MIN_RATE_HZ} to {_MAX_RATE_HZ}"
        )
    return channels, rate_hz


def _unreadable(path: Path) -> str | None:
    """What libsndfile does not say clearly, or not at all."""
    try:
        if path.is_file():
            headerless = path.suffix.lower() == ".raw"
            return "headerless audio: convert it to WAV or FLAC" if headerless else None
        return "is not a regular file" if path.exists() else "no such file"
    except OSError as error:
        return str(error)


def _check_samples(path: str | os.PathLike[str], samples: FloatArray) -> None:
    if not len(samples):
        raise AudioError(f"{path}: holds no samples, or too few to resample")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds NaN or infinite samples")
