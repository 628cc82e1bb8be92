"""Synthetic inputs for networks of speech: the same on every machine, from no generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .inputs import Arrays
from .manifest import Description

FloatArray = npt.NDArray[np.float32]

_RATE_HZ = 16000
_HARMONICS = 24
# Sizes of axes that neither the description nor its recipe fixes.
_SIZES = {"samples": 160000, "frames": 589, "speakers": 3, "database": 5, "size": 192}


def probe_inputs(shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """The synthetic inputs of these shapes, by name: the same on every machine."""
    return {name: _KINDS.get(name, _vectors)(shape) for name, shape in shapes.items()}


def example_shapes(description: Description, batch: int = 1) -> dict[str, tuple[int, ...]]:
    """The usual shapes of an artifact's inputs, by name."""
    return {
        spec.name: tuple(
            axis if isinstance(axis, int) else _size(description, axis, batch) for axis in spec.axes
        )
        for spec in description.inputs
    }


def example_inputs(description: Description, batch: int = 1) -> Arrays:
    """Inputs that an artifact takes, of its usual sizes."""
    inputs = probe_inputs(example_shapes(description, batch))
    return {spec.name: inputs[spec.name].astype(spec.dtype) for spec in description.inputs}


def _size(description: Description, axis: str, batch: int) -> int:
    if axis == "batch":
        return batch
    fixed = description.sizes.get(axis, ())
    told = description.recipe.get(f"window_{axis}")
    usual = told if isinstance(told, int) and 0 < told <= _SIZES["samples"] else _SIZES.get(axis, 1)
    if fixed:
        return fixed[0]
    enough = max(usual, description.minimums.get(axis, 1))
    return min(enough, description.maximums.get(axis, enough))


def _uniform(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Values in [0, 1) from a multiplicative hash of their positions: no generator to change."""
    positions = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64)
    hashed = (positions + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    values: npt.NDArray[np.float64] = (hashed >> np.uint64(40)).astype(np.float64) / 2**24
    return values.reshape(shape)


def _vectors(shape: tuple[int, ...]) -> FloatArray:
    return (2 * _uniform(shape) - 1).astype(np.float32)


def _waveform(shape: tuple[int, ...]) -> FloatArray:
    """Two synthetic voices in turns, now and then together, in [-0.5, 0.5].

    Speech-like on purpose: on a mere buzz the segmentation network is so unstable that rounding
    to FP16 changes its answer by 6 %, here by 0.03 %.
    """
    time_s = np.arange(shape[-1]) / _RATE_HZ
    first = _voice(time_s, 115.0, (560.0, 1350.0, 2500.0)) * (time_s % 3.1 < 1.7)
    second = _voice(time_s, 205.0, (720.0, 1750.0, 2900.0)) * ((time_s + 1.2) % 2.9 < 1.4)
    mixture = first + second + 0.02 * (_uniform(shape) - 0.5)
    waveform: FloatArray = (0.5 * mixture / np.abs(mixture).max()).astype(np.float32)
    return waveform


def _voice(
    time_s: npt.NDArray[np.float64], pitch_hz: float, formants_hz: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    """(N,) harmonics of a gliding pitch under moving formants, swelling with each syllable."""
    glide_hz = pitch_hz * (1 + 0.15 * np.sin(3.8 * time_s) + 0.04 * np.sin(29.5 * time_s))
    phase = 2 * np.pi * np.cumsum(glide_hz) / _RATE_HZ
    movement = 1 + 0.2 * np.sin(14.5 * time_s + pitch_hz)
    voice = np.zeros_like(time_s)
    for number in range(1, _HARMONICS + 1):
        resonance = sum(
            np.exp(-(((number * glide_hz - hz * movement) / 180.0) ** 2)) for hz in formants_hz
        )
        voice += (0.05 + resonance) / number**0.5 * np.sin(number * phase)
    swelling: npt.NDArray[np.float64] = voice * (0.55 + 0.45 * np.sin(24.5 * time_s))
    return swelling


def _masks(shape: tuple[int, ...]) -> FloatArray:
    """Speakers in turn, in eight stretches, the first one talking into the second's as well.

    Of the last two axes the longer one is taken for frames.
    """
    num_speakers, num_frames = sorted(shape[-2:])
    stretch = np.arange(num_frames) * 8 // num_frames
    speakers = np.arange(num_speakers)[:, None]
    active = (stretch % num_speakers == speakers) | ((speakers == 0) & (stretch == 1))
    plane = active if shape[-1] == num_frames else active.T
    return np.broadcast_to(plane, shape).astype(np.float32)


_KINDS: Mapping[str, Callable[[tuple[int, ...]], npt.NDArray[Any]]] = {
    "waveform": _waveform,
    "masks": _masks,
    "segments": _masks,
    # The only places that are in any waveform.
    "starts": lambda shape: np.zeros(shape, np.int64),
    "log_probs": lambda shape: (-5 * _uniform(shape)).astype(np.float32),
    "rms": lambda shape: _uniform(shape).astype(np.float32),
    # Messages: whole numbers from 0 to 3.
    "chat": lambda shape: np.floor(4 * _uniform(shape)).astype(np.float32),
}
