"""Audio as it comes: pieces of any size, checked, mixed down, resampled and held for a while."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from ..audio_source import MAX_CHANNELS, FloatArray, check_rate, to_float
from ..errors import AudioError
from ..mixing import DownMixer

# Beyond the full scale of any integer format: networks square what they get.
_MAX_AMPLITUDE = 1e10
# Channels are mixed down in blocks of a tenth of a second, whatever pieces they come in.
_BLOCKS_PER_S = 10


class IncomingAudio:
    """Pieces of audio to mono float32 at the networks' rate.

    The samples do not depend on how the audio is cut into pieces.

    Args:
        source_rate_hz: of what is pushed.
        sample_rate_hz: of what comes out.
        num_channels: of what is pushed.

    Raises:
        AudioError: a rate or number of channels that no audio has.
    """

    def __init__(self, source_rate_hz: int, sample_rate_hz: int, num_channels: int) -> None:
        check_rate(source_rate_hz, "live audio")
        integer = isinstance(num_channels, int) and not isinstance(num_channels, bool)
        if not integer or not 1 <= num_channels <= MAX_CHANNELS:
            raise AudioError(
                f"live audio: has {num_channels!s:.40} channels; expected 1 to {MAX_CHANNELS}"
            )
        self.num_channels = num_channels
        self.num_frames = 0
        self._finished = False
        self._mixer = DownMixer()
        self._block_frames = source_rate_hz // _BLOCKS_PER_S
        self._unmixed = np.zeros((0, num_channels), np.float32)
        self._resampler = None
        if source_rate_hz != sample_rate_hz:
            self._resampler = soxr.ResampleStream(source_rate_hz, sample_rate_hz, 1, "float32")

    def push(self, samples: npt.NDArray[Any]) -> FloatArray:
        """(n,) or (n, num_channels) -> (m,) float32, a copy.

        Raises:
            AudioError: another type or shape, or samples that are not finite or beyond any scale;
                nothing of them is taken.
        """
        channels = self._checked(samples)
        self.num_frames += len(channels)
        return self._resampled(self._mixed(channels), last=False)

    def finish(self) -> FloatArray:
        """(m,) float32, what mixing and resampling had kept back; nothing the second time."""
        if self._finished:
            return np.zeros(0, np.float32)
        self._finished = True
        rest = self._unmixed
        mono = self._mixer.mix(rest) if len(rest) else rest[:, 0]
        return self._resampled(mono, last=True)

    def _checked(self, samples: npt.NDArray[Any]) -> FloatArray:
        if not isinstance(samples, np.ndarray) or samples.dtype.kind not in "fiu":
            kind = getattr(samples, "dtype", type(samples).__name__)
            raise AudioError(f"live audio: expected a numpy array of float or integers, got {kind}")
        fits = samples.ndim == 2 and samples.shape[1] == self.num_channels
        if not fits and not (samples.ndim == 1 and self.num_channels == 1):
            shapes = "(samples,)" if self.num_channels == 1 else f"(samples, {self.num_channels})"
            raise AudioError(f"live audio: expected {shapes}, got shape {samples.shape}")
        channels = to_float(samples).reshape(-1, self.num_channels)
        # NaN compares as False.
        if not (np.abs(channels) <= _MAX_AMPLITUDE).all():
            raise AudioError(
                "live audio: holds NaN, infinite samples, or samples beyond any scale (1e10): "
                "the full scale of floats is 1"
            )
        return channels

    def _mixed(self, channels: FloatArray) -> FloatArray:
        if self.num_channels == 1:
            return channels[:, 0]
        held = np.concatenate([self._unmixed, channels])
        whole = len(held) // self._block_frames * self._block_frames
        self._unmixed = held[whole:].copy()
        starts = range(0, whole, self._block_frames)
        blocks = [self._mixer.mix(held[start : start + self._block_frames]) for start in starts]
        return np.concatenate(blocks) if blocks else held[:0, 0]

    def _resampled(self, mono: FloatArray, *, last: bool) -> FloatArray:
        if self._resampler is None or not (len(mono) or last):
            return mono
        resampled: FloatArray = self._resampler.resample_chunk(
            np.ascontiguousarray(mono), last=last
        )
        return resampled


class HeldAudio:
    """The newest samples of a stream; ``end`` counts all that there were."""

    def __init__(self) -> None:
        self.end = 0
        self._start = 0
        self._held: FloatArray = np.zeros(0, np.float32)
        self._new: list[FloatArray] = []

    def append(self, samples: FloatArray) -> None:
        """Add (n,) samples, which must not be changed afterwards."""
        if len(samples):
            self._new.append(samples)
            self.end += len(samples)

    def window(self, start: int, length: int) -> FloatArray:
        """(length,) from a sample on, zeros where there is none yet or was none."""
        self._join()
        window = np.zeros(length, np.float32)
        first, last = max(start, self._start), min(start + length, self.end)
        if first < last:
            window[first - start : last - start] = self._held[
                first - self._start : last - self._start
            ]
        return window

    def forget(self, before: int) -> None:
        """Give up the samples before one; what is left takes no more memory than it needs."""
        self._join()
        gone = min(max(before - self._start, 0), len(self._held))
        self._held, self._start = self._held[gone:].copy(), self._start + gone

    def _join(self) -> None:
        if self._new:
            self._held, self._new = np.concatenate([self._held, *self._new]), []
