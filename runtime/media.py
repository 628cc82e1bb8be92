"""What libsndfile does not know, through ffmpeg (PyAV, the extra ``media``): m4a, mp4, mkv."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from .audio_source import AudioStream, FloatArray, SourceFile, to_float
from .errors import AudioError

# Containers may name other files and addresses (playlists, concat scripts): none is opened.
_OPTIONS = {"protocol_whitelist": "none"}
# Containers whose durations are written, not guessed from a bit rate.
_WITH_DURATION = ("mp4", "matroska", "webm")
# What a duration may exceed the samples by: packets are not split, and clocks are coarse.
_TOLERANCE_S, _TOLERANCE_SHARE = 0.5, 0.01


def media_stream(file: SourceFile, stack: ExitStack, reason: str) -> AudioStream:
    """The first audio stream of the file; ``reason`` is why libsndfile did not read it.

    What is opened is closed by ``stack``. Time stamps are not looked at: packets follow each
    other without gaps.

    Raises:
        AudioError: PyAV is missing, or knows no audio in this file.
    """
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise AudioError(
            f"{file.label}: cannot be read as audio: {reason} If it is m4a, mp4, mkv or another "
            "format that ffmpeg knows: pip install 'voxport[media]'"
        ) from error
    file.seek(0)
    try:
        container = stack.enter_context(av.open(file, options=_OPTIONS))
        streams = container.streams.audio
        frames = container.decode(streams[0]) if streams else iter(())
        first = next((frame for frame in frames if frame.samples), None)
    except _errors(av) as error:
        file.check()
        raise AudioError(f"{file.label}: cannot be read as audio: {_text(error)}") from error
    file.check()
    if first is None:
        raise AudioError(f"{file.label}: cannot be read as audio: ffmpeg finds none in it")
    # A closed generator lets go of the decoder before the container is closed.
    stack.callback(frames.close)
    promised_s = _duration_s(container, streams[0])
    return AudioStream(
        name=file.label,
        rate_hz=first.sample_rate,
        num_channels=len(first.layout.channels),
        num_frames=None if promised_s is None else round(promised_s * first.sample_rate),
        chunks=_chunks(file, first, frames, promised_s if _is_written(container) else None),
    )


def _errors(av: Any) -> tuple[type[Exception], ...]:
    """What PyAV raises for damaged files: ffmpeg's errors, and Python's for odd metadata."""
    return (av.error.FFmpegError, ValueError, TypeError, OverflowError, MemoryError)


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _duration_s(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        duration_s = float(stream.duration * stream.time_base)
    elif container.duration is not None and len(container.streams) == 1:
        duration_s = container.duration / 1e6
    else:
        return None
    return duration_s if duration_s > 0 else None


def _is_written(container: Any) -> bool:
    return any(name in container.format.name.split(",") for name in _WITH_DURATION)


def _chunks(
    file: SourceFile, first: Any, rest: Iterator[Any], promised_s: float | None
) -> Iterator[FloatArray]:
    av = importlib.import_module("av")
    layout = (first.sample_rate, len(first.layout.channels))
    frame, count = first, 0
    while frame is not None:
        if (frame.sample_rate, len(frame.layout.channels)) != layout:
            raise AudioError(f"{file.label}: changes its rate or channels; convert it to FLAC")
        yield _samples(frame)
        count += frame.samples
        try:
            frame = next(rest, None)
        except _errors(av) as error:
            file.check()
            raise AudioError(
                f"{file.label}: breaks off or is damaged after {count / layout[0]:.2f} s: "
                f"{_text(error)}"
            ) from error
        file.check()
    read_s = count / layout[0]
    if promised_s is not None and read_s < promised_s * (1 - _TOLERANCE_SHARE) - _TOLERANCE_S:
        raise AudioError(
            f"{file.label}: breaks off: its header promises {promised_s:.2f} s, but it holds "
            f"{read_s:.2f} s; to use what is there: ffmpeg -i FILE part.flac"
        )


def _samples(frame: Any) -> FloatArray:
    """(n, channels) of a frame: planar ones are (channels, n), packed ones (1, n * channels)."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1)
        return to_float(samples)
    return to_float(samples.T)
