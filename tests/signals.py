"""Deterministic synthetic audio: 16 kHz, float32, nothing to download.

Parity needs inputs that exercise a network as speech does (gliding pitch, moving formants, pauses,
two voices that overlap now and then), not inputs that sound good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Signal = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 16000
_HARMONICS = 24


@dataclass(frozen=True)
class _Voice:
    pitch_hz: float
    formants_hz: tuple[float, ...]


_VOICES = (_Voice(115.0, (560.0, 1350.0, 2500.0)), _Voice(205.0, (720.0, 1750.0, 2900.0)))


def speechlike(num_samples: int, seed: int) -> Signal:
    """(num_samples,) two voices that take turns with pauses and some overlap, in [-0.5, 0.5]."""
    rng = np.random.default_rng(seed)
    mixture = 0.004 * rng.standard_normal(num_samples)
    for voice in _VOICES:
        mixture += _harmonics(voice, num_samples, rng) * _turns(num_samples, rng)
    scaled: Signal = (0.5 * mixture / np.abs(mixture).max()).astype(np.float32)
    return scaled


def full_scale_noise(num_samples: int, seed: int) -> Signal:
    """(num_samples,) uniform noise over the whole range [-1, 1)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 1.0, num_samples).astype(np.float32)


def silence(num_samples: int) -> Signal:
    """(num_samples,) digital silence."""
    return np.zeros(num_samples, dtype=np.float32)


def _wave(times: _Float64, rate_hz: float, rng: np.random.Generator) -> _Float64:
    return np.sin(2 * np.pi * (rate_hz * times + rng.uniform()))


def _harmonics(voice: _Voice, num_samples: int, rng: np.random.Generator) -> _Float64:
    """A stack of harmonics under formants that move, swelling with each syllable."""
    times = np.arange(num_samples) / SAMPLE_RATE_HZ
    glide = 1.0 + 0.15 * _wave(times, 0.6, rng) + 0.04 * _wave(times, 4.7, rng)
    pitch_hz = voice.pitch_hz * glide
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    centres_hz = [hz * (1.0 + 0.2 * _wave(times, 2.3, rng)) for hz in voice.formants_hz]
    stack = np.zeros(num_samples)
    for number in range(1, _HARMONICS + 1):
        resonances = [np.exp(-(((number * pitch_hz - hz) / 180.0) ** 2)) for hz in centres_hz]
        stack += (0.05 + np.sum(resonances, axis=0)) / number**0.5 * np.sin(number * phase)
    return stack * (0.55 + 0.45 * _wave(times, 3.9, rng))


def _turns(num_samples: int, rng: np.random.Generator) -> _Float64:
    """On and off in turns of 0.3 to 1.8 s, with ramps of 10 ms."""
    gate = np.zeros(num_samples)
    position, talking = 0, bool(rng.integers(2))
    while position < num_samples:
        length = int(rng.uniform(0.3, 1.8) * SAMPLE_RATE_HZ)
        gate[position : position + length] = float(talking)
        position, talking = position + length, not talking
    return np.convolve(gate, np.full(160, 1.0 / 160.0))[:num_samples]
