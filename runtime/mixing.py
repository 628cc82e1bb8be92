"""Mix channels down to one without losing what is in opposite phase."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .audio_source import CHUNK_FRAMES, FloatArray

# Channels cancel out if their mean keeps less than this share of the energy that unrelated
# channels of the same levels would leave. To be averaged again they must keep twice as much.
_CANCELLED, _RECOVERED = 0.2, 0.4
# Another channel must have more than this many times the energy of the one that is used.
_LOUDER = 2.0
# Over so many samples one way of mixing changes into another.
_FADE_FRAMES = 512


class DownMixer:
    """Mixes blocks of channels down to one: their mean, or the loudest one if they cancel out.

    The mean of two channels in opposite phase is silence; speech must not vanish that way, not
    even in one part of a recording. So each block of ``CHUNK_FRAMES`` frames is decided by
    itself, and where the decision changes, one mix fades into the other. The grid of blocks
    starts with the audio: a stream and a whole file are mixed alike.
    """

    def __init__(self) -> None:
        self._weights: npt.NDArray[np.float64] | None = None

    def mix(self, block: FloatArray) -> FloatArray:
        """(n, C) -> (n,), the next block."""
        if block.shape[1] == 1:
            return np.ascontiguousarray(block[:, 0])
        weights = self._next_weights(block)
        before = weights if self._weights is None else self._weights
        self._weights = weights
        mono = _weighted(block, weights)
        if not np.array_equal(before, weights):
            head = block[:_FADE_FRAMES]
            share = np.arange(1, len(head) + 1) / (_FADE_FRAMES + 1)
            mono[: len(head)] = (1 - share) * _weighted(head, before) + share * mono[: len(head)]
        return mono.astype(np.float32)

    def _next_weights(self, block: FloatArray) -> npt.NDArray[np.float64]:
        count = block.shape[1]
        mean = np.full(count, 1.0 / count)
        energies = np.array([_energy(channel) for channel in block.T])
        unrelated = energies.sum() / count**2
        if not unrelated:
            return mean if self._weights is None else self._weights
        channel = self._channel()
        limit = _CANCELLED if channel is None else _RECOVERED
        if _energy(_weighted(block, mean)) >= limit * unrelated:
            return mean
        if channel is None or energies.max() > _LOUDER * energies[channel]:
            channel = int(energies.argmax())
        alone = np.zeros(count)
        alone[channel] = 1.0
        return alone

    def _channel(self) -> int | None:
        """The channel that is used alone."""
        if self._weights is None or self._weights.max() < 1:
            return None
        return int(self._weights.argmax())


def _weighted(block: FloatArray, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """In float64: the sum of loud channels may exceed float32, their mean cannot."""
    mono = np.zeros(len(block))
    for channel, weight in zip(block.T, weights, strict=True):
        if weight:
            mono += np.multiply(channel, weight, dtype=np.float64)
    return mono


def _energy(samples: npt.NDArray[np.floating]) -> float:
    return float(np.square(samples, dtype=np.float64).mean())


def mix_down(channels: FloatArray) -> FloatArray:
    """(N, C) -> (N,) float32, N > 0: the mean of the channels, or the loudest where they cancel.

    What ``DownMixer`` gives for all blocks of the audio.
    """
    mixer = DownMixer()
    starts = range(0, len(channels), CHUNK_FRAMES)
    return np.concatenate([mixer.mix(channels[start : start + CHUNK_FRAMES]) for start in starts])
