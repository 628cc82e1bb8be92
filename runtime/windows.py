"""Cut audio into overlapping windows, in blocks, whatever its length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from .audio import Gathered, MonoStream, mono_stream
from .audio_source import AudioSource, FloatArray
from .errors import AudioError

# One hour at 48 kHz, 660 MiB: audio up to this length is kept in memory, longer audio streams.
CACHE_MAX_SAMPLES = 3600 * 48_000


@dataclass(frozen=True)
class WindowPlan:
    """How audio is cut: windows of ``window_samples`` at 0, step, 2 * step, ...

    ``step_samples`` is at most ``window_samples``; ``block_windows`` windows are given at once.

    Raises:
        AudioError: sizes out of range, or a block that spans more than ``CACHE_MAX_SAMPLES``.
    """

    window_samples: int
    step_samples: int
    block_windows: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.step_samples <= self.window_samples:
            raise AudioError(
                f"windows of {self.window_samples} samples in steps of {self.step_samples}: the "
                "step must be at least 1 and at most the window"
            )
        if self.block_windows < 1:
            raise AudioError(f"blocks of {self.block_windows} windows; expected at least 1")
        if self.span(self.block_windows) > CACHE_MAX_SAMPLES:
            raise AudioError(
                f"a block of {self.block_windows} windows spans {self.span(self.block_windows)} "
                f"samples; at most {CACHE_MAX_SAMPLES} are held: take fewer windows per block"
            )

    def count(self, num_samples: int) -> int:
        """How many windows so many samples give (pyannote's rule); 0 of nothing.

        All that fit, and a zero-padded one if samples remain or not even one fits.
        """
        if num_samples <= self.window_samples:
            return min(max(num_samples, 0), 1)
        return 1 - (self.window_samples - num_samples) // self.step_samples

    def span(self, num_windows: int) -> int:
        """From the first sample of consecutive windows to behind the last one's last."""
        return (num_windows - 1) * self.step_samples + self.window_samples

    @property
    def advance(self) -> int:
        """Samples from one block to the next; blocks overlap by the rest of their span."""
        return self.block_windows * self.step_samples


@dataclass(frozen=True)
class WindowBlock:
    """Windows that follow each other.

    ``windows`` is (W, window_samples) float32, read-only and overlapping in memory;
    ``starts`` (W,) int64 holds their first samples, ``num_valid`` (W,) int64 how many samples of
    each are audio and not padding. The last window's start + num_valid is the audio's length.
    """

    windows: FloatArray
    starts: npt.NDArray[np.int64]
    num_valid: npt.NDArray[np.int64]


class AudioWindows:
    """Windows of audio, mono at ``sample_rate_hz``: iterate, as often as needed, for blocks.

    Blocks hold ``plan.block_windows`` windows, the last one fewer. Its last window is padded
    with zeros if samples remain after the last whole window, or if there is none.

    A file of at most ``cache_samples`` samples is decoded once and kept, and windows are views of
    it, as they are of a float32 mono array of the wanted rate, of any length; only a block with a
    padded window is a copy. A longer file, and one whose header does not tell its length,
    streams: it is decoded once per iteration, and only a block and its overlap with the next one
    are held. Both give the same windows as ``read_audio`` and slicing, exactly.

    Args:
        source: what ``read_audio`` takes. File objects must not be read by others meanwhile.
        sample_rate_hz: rate of the windows.
        plan: their sizes.
        source_rate_hz: rate of an array.
        cache_samples: the longest file that is kept in memory; 0 always streams.

    Raises:
        AudioError: what cannot be opened (see ``read_audio``); errors within the audio come
            while iterating.
    """

    def __init__(
        self,
        source: AudioSource,
        sample_rate_hz: int,
        plan: WindowPlan,
        *,
        source_rate_hz: int | None = None,
        cache_samples: int = CACHE_MAX_SAMPLES,
    ) -> None:
        self.plan = plan
        self._source = source
        self._rate_hz, self._source_rate_hz = sample_rate_hz, source_rate_hz
        self._cache_samples = cache_samples
        self._cached: FloatArray | None = None
        with mono_stream(source, sample_rate_hz, source_rate_hz=source_rate_hz) as stream:
            self._estimate = stream.num_samples

    @property
    def num_samples(self) -> int | None:
        """Length at ``sample_rate_hz``, for progress.

        The header's word until the audio is cached, exact then; None if the header says nothing.
        """
        return self._estimate if self._cached is None else len(self._cached)

    @property
    def num_windows(self) -> int | None:
        """Number of windows in ``num_samples``."""
        return None if self.num_samples is None else self.plan.count(self.num_samples)

    def __iter__(self) -> Iterator[WindowBlock]:
        if self._cached is not None:
            yield from cut([self._cached], self.plan)
            return
        with mono_stream(
            self._source, self._rate_hz, source_rate_hz=self._source_rate_hz
        ) as stream:
            yield from cut(self._kept(stream), self.plan)

    def _kept(self, stream: MonoStream) -> Iterable[FloatArray]:
        """The stream's chunks; all in one, which is kept, if they are few enough."""
        if stream.num_samples is None or stream.num_samples > self._cache_samples:
            return stream.chunks
        gathered = Gathered()
        for chunk in stream.chunks:
            gathered.add(chunk)
            if gathered.count > self._cache_samples:
                # The header promised less than there is.
                return chain([gathered.samples()], stream.chunks)
        self._cached = gathered.samples()
        return [self._cached]


def cut(chunks: Iterable[FloatArray], plan: WindowPlan) -> Iterator[WindowBlock]:
    """Blocks of windows from (n,) chunks; views of a chunk that holds the whole block."""
    span = plan.span(plan.block_windows)
    held: list[FloatArray] = []
    count = start = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        if count < span:
            continue
        rest = _joined(held)
        while len(rest) >= span:
            yield _block(rest[:span], start, plan)
            start += plan.advance
            rest = rest[plan.advance :]
        held, count = [rest], len(rest)
    remaining = plan.count(start + count) - start // plan.step_samples
    if remaining > 0:
        rest = _joined(held)
        missing = plan.span(remaining) - len(rest)
        yield _block(np.pad(rest, (0, missing)) if missing else rest, start, plan, missing)


def _joined(chunks: list[FloatArray]) -> FloatArray:
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def _block(samples: FloatArray, start: int, plan: WindowPlan, padding: int = 0) -> WindowBlock:
    """All windows of ``samples``, of which the last ``padding`` are no audio."""
    windows = sliding_window_view(samples, plan.window_samples)[:: plan.step_samples]
    offsets = np.arange(len(windows), dtype=np.int64) * plan.step_samples
    num_valid = np.minimum(len(samples) - padding - offsets, plan.window_samples)
    return WindowBlock(windows, start + offsets, num_valid)
