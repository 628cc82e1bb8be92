"""Weights that a seed and a table of shapes reproduce, so that none need to be stored."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Shapes = Mapping[str, tuple[int, ...]]
State = dict[str, npt.NDArray[np.generic]]

_SINC_PREFIX = "filterbank."
_SAMPLE_RATE_HZ = 16000.0


def seeded_state(shapes: Shapes, seed: int) -> State:
    """Random tensors by name. Each has its own stream, so neither order nor other names matter."""
    return {name: _tensor(name, shape, seed) for name, shape in shapes.items()}


def shapes_to_json(shapes: Shapes) -> str:
    return json.dumps({name: list(shape) for name, shape in shapes.items()})


def shapes_from_json(text: str) -> Shapes:
    return {name: tuple(shape) for name, shape in json.loads(text).items()}


def fingerprint(state: Mapping[str, npt.NDArray[np.generic]]) -> float:
    """A figure that shows whether two machines drew the same weights."""
    return float(sum(np.abs(value.astype(np.float64)).sum() for value in state.values()))


def _tensor(name: str, shape: tuple[int, ...], seed: int) -> npt.NDArray[np.generic]:
    if _SINC_PREFIX in name:
        return _sinc_tensor(name.rpartition(".")[2], shape)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.array(1, dtype=np.int64)
    if kind == "running_var":
        values = rng.uniform(0.5, 1.5, shape)
    elif kind == "running_mean":
        values = 0.1 * rng.standard_normal(shape)
    elif len(shape) > 1:
        # He initialisation: the variance survives a layer that ends in a ReLU.
        values = rng.standard_normal(shape) * math.sqrt(2.0 / math.prod(shape[1:]))
    elif kind == "weight":
        values = rng.uniform(0.5, 1.0, shape)  # norms; below 1, lest residual branches add up
    else:
        values = 0.1 * rng.standard_normal(shape)
    return values.astype(np.float32)


def _sinc_tensor(kind: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The initial filterbank of SincNet: bands of equal width in mel, half a Hamming window.

    Random values here would not be band-pass filters. Source: ``ParamSincFB`` of
    asteroid-filterbanks with a minimum frequency and bandwidth of 50 Hz.
    """
    half_kernel = shape[-1]
    if kind == "n_":
        times = np.arange(-half_kernel, 0, dtype=np.float32) / np.float32(_SAMPLE_RATE_HZ)
        return (np.float32(2 * np.pi) * times).reshape(shape)
    if kind == "window_":
        return np.hamming(2 * half_kernel + 1)[:half_kernel].astype(np.float32)
    low_mel, high_mel = (2595 * np.log10(1 + hz / 700) for hz in (30.0, _SAMPLE_RATE_HZ / 2 - 100))
    mel = np.linspace(low_mel, high_mel, shape[0] + 1, dtype=np.float32)
    edges_hz = (700 * (10 ** (mel / np.float32(2595)) - 1)).astype(np.float32)
    values = edges_hz[:-1] if kind == "low_hz_" else np.diff(edges_hz)
    return values.reshape(shape)
