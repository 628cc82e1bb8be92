"""Read audio as mono float32 at the rate that a graph wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import soxr

from .audio_source import CHUNK_FRAMES, AudioSource, AudioStream, FloatArray, check_rate
from .decode import open_audio
from .errors import AudioError
from .mixing import DownMixer

# What is kept in memory as a whole at most: 18 hours at 16 kHz, 4 GiB.
MAX_WHOLE_SAMPLES = 2**30


@dataclass(frozen=True)
class MonoStream:
    """``chunks`` gives (n,) float32 at the wanted rate, once; ``num_samples`` is an estimate."""

    name: str
    num_samples: int | None
    chunks: Iterator[FloatArray]


def read_audio(
    source: AudioSource, sample_rate_hz: int = 16000, *, source_rate_hz: int | None = None
) -> FloatArray:
    """(N,) float32 samples, full scale 1, mixed down to mono and resampled (soxr, high quality).

    ``source`` is a path, a binary file object (read from its start and left open), or an array
    (N,) or (N, channels), never (channels, N): float of full scale 1, or integers, which are
    scaled by their type's full scale. Arrays need ``source_rate_hz``. A float32 mono array of the
    wanted rate is returned as it is, not copied.

    Channels are averaged; where they cancel each other out (opposite phase), the loudest is
    taken. A file that breaks off is an error, unless its header does not know its length, as
    when a program wrote it into a pipe, or its format has none (OGG, MP3 without a length): of
    those, what is there is read. Resampling and mixing block by block gives the same samples as
    all at once: ``AudioWindows`` and this function agree exactly.

    Raises:
        AudioError: missing, unreadable or truncated file, no audio, no samples or too few to
            resample, samples that are not finite, an array of another type or shape, or more
            than ``MAX_WHOLE_SAMPLES`` samples.
    """
    with mono_stream(source, sample_rate_hz, source_rate_hz=source_rate_hz) as stream:
        return _whole(stream)


def _whole(stream: MonoStream) -> FloatArray:
    gathered = Gathered()
    for chunk in stream.chunks:
        gathered.add(chunk)
        if gathered.count > MAX_WHOLE_SAMPLES:
            raise AudioError(
                f"{stream.name}: longer than {MAX_WHOLE_SAMPLES} samples; AudioWindows streams it"
            )
    return gathered.samples()


class Gathered:
    """Chunks in one array, which grows as they come: headers that promise much cost nothing.

    A single chunk stays the array that it is. The array grows in place where the system can move
    pages, so that memory holds it once and not twice.
    """

    def __init__(self) -> None:
        self.count = 0
        self._array: FloatArray = np.zeros(0, np.float32)
        self._owned = False

    def add(self, chunk: FloatArray) -> None:
        """Append (n,) samples."""
        start, self.count = self.count, self.count + len(chunk)
        if not start:
            self._array = chunk
            return
        if not self._owned:
            self._array, self._owned = self._array.copy(), True
        if self.count > len(self._array):
            # Nobody else has seen the array: no views of it are left behind.
            self._array.resize(max(self.count, len(self._array) * 5 // 4), refcheck=False)
        self._array[start : self.count] = chunk

    def samples(self) -> FloatArray:
        """(count,) all of them; nothing may be added afterwards."""
        if self._owned:
            self._array.resize(self.count, refcheck=False)
        return self._array


@contextmanager
def mono_stream(
    source: AudioSource, sample_rate_hz: int, *, source_rate_hz: int | None = None
) -> Iterator[MonoStream]:
    """Audio chunk by chunk in bounded memory, each sample decoded once; as ``read_audio`` reads it.

    Raises:
        AudioError: as ``read_audio``, on opening or while the chunks are read.
    """
    check_rate(sample_rate_hz, "the wanted audio")
    with open_audio(source, source_rate_hz=source_rate_hz) as stream:
        frames = stream.num_frames
        num_samples = None if frames is None else round(frames * sample_rate_hz / stream.rate_hz)
        yield MonoStream(stream.name, num_samples, _mono_chunks(stream, sample_rate_hz))


def _mono_chunks(stream: AudioStream, sample_rate_hz: int) -> Iterator[FloatArray]:
    """Never without samples: an AudioError instead."""
    mono = _mixed(stream)
    if stream.rate_hz != sample_rate_hz:
        mono = _finite(_resampled(mono, stream.rate_hz, sample_rate_hz), stream.name)
    count = 0
    for chunk in mono:
        if len(chunk):
            count += len(chunk)
            yield chunk
    if not count:
        raise AudioError(
            f"{stream.name}: holds no samples, or too few to resample from {stream.rate_hz} to "
            f"{sample_rate_hz} Hz"
        )


def _mixed(stream: AudioStream) -> Iterator[FloatArray]:
    mixer = DownMixer()
    # Resampling does not depend on how the audio is cut; the decisions of the mixer do.
    chunks = stream.chunks if stream.num_channels == 1 else _regrid(stream.chunks)
    for chunk in _finite(chunks, stream.name):
        yield mixer.mix(chunk)


def _finite(chunks: Iterable[FloatArray], name: str) -> Iterator[FloatArray]:
    for chunk in chunks:
        if not np.isfinite(chunk).all():
            raise AudioError(f"{name}: holds NaN or infinite samples")
        yield chunk


def _regrid(chunks: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """The same samples in blocks of ``CHUNK_FRAMES``, the last one shorter."""
    held: list[FloatArray] = []
    missing = CHUNK_FRAMES
    for chunk in chunks:
        rest = chunk
        while len(rest) >= missing:
            yield np.concatenate([*held, rest[:missing]])
            rest, held, missing = rest[missing:], [], CHUNK_FRAMES
        held.append(rest)
        missing -= len(rest)
    if missing < CHUNK_FRAMES:
        yield np.concatenate(held)


def _resampled(
    chunks: Iterable[FloatArray], rate_hz: int, sample_rate_hz: int
) -> Iterator[FloatArray]:
    resampler = soxr.ResampleStream(rate_hz, sample_rate_hz, 1, dtype="float32")
    for chunk in chunks:
        # An array comes in one piece; its resampled copy need not.
        for start in range(0, len(chunk), CHUNK_FRAMES):
            yield resampler.resample_chunk(chunk[start : start + CHUNK_FRAMES])
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
