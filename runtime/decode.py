"""Decoders: a path, a binary file or an array becomes chunks of float32 samples, read once.

libsndfile reads what it knows (WAV, FLAC, OGG, MP3 and more), ffmpeg the rest. Headers are not
believed: nothing is allocated for what they announce.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import soundfile

from .audio_source import (
    CHUNK_FRAMES,
    AudioSource,
    AudioStream,
    FloatArray,
    SourceFile,
    array_stream,
    open_source,
)
from .errors import AudioError
from .media import media_stream
from .truncation import mp3_goes_on, mp3_length_is_known, promised_bytes

# libsndfile's error codes for formats and encodings that it does not know.
_UNKNOWN_FORMAT = (1, 4)
# Above it, libsndfile means that it does not know.
_MAX_FRAMES = 2**62
# MP3 encoders do not agree on whether padding counts: two frames.
_MP3_PADDING = 2304


@contextmanager
def open_audio(source: AudioSource, *, source_rate_hz: int | None = None) -> Iterator[AudioStream]:
    """Open a path, a seekable binary file (read from its start, left open) or an array.

    Arrays are (N,) or (N, channels), float, or integers that are scaled by their full scale, and
    need ``source_rate_hz``; files say their own rate. Reading the chunks raises AudioError where
    a file breaks off or holds less than its header promises (as far as its format tells: OGG and
    MP3 streams without a length may end anywhere).

    Raises:
        AudioError: what the source is instead, or why it cannot be read.
    """
    if isinstance(source, np.ndarray):
        yield array_stream(source, source_rate_hz)
        return
    if source_rate_hz is not None:
        raise AudioError("source_rate_hz is for arrays; a file says its own rate")
    with ExitStack() as stack:
        file = stack.enter_context(open_source(source))
        yield _file_stream(file, stack)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc,unused-ignore]
    """A file that is read from start to end: soundfile else seeks after each read."""

    def seekable(self) -> bool:
        return False


def _file_stream(file: SourceFile, stack: ExitStack) -> AudioStream:
    """A stream of the open file, through ffmpeg if libsndfile does not know its format."""
    try:
        sound = stack.enter_context(_Sequential(file))
    except (soundfile.SoundFileError, MemoryError) as error:
        file.check()
        reason = str(getattr(error, "error_string", error))
        if getattr(error, "code", None) not in _UNKNOWN_FORMAT:
            raise AudioError(f"{file.label}: cannot be read as audio: {reason}") from error
    else:
        file.check()
        frames = int(sound.frames) if 0 <= sound.frames < _MAX_FRAMES else None
        return AudioStream(
            file.label, sound.samplerate, sound.channels, frames, _chunks(file, sound, frames)
        )
    return media_stream(file, stack, reason)


def _chunks(file: SourceFile, sound: Any, promised_frames: int | None) -> Iterator[FloatArray]:
    sizes = promised_bytes(sound.extra_info)
    if sizes:
        raise _broken_off(file, f"its header promises {sizes[0]} bytes, but it holds {sizes[1]}")
    count = 0
    while len(chunk := _read(file, sound, count)):
        count += len(chunk)
        yield chunk
    if sound.format == "MP3":
        _check_mp3(file, count, promised_frames)
    elif promised_frames is not None and count < promised_frames:
        raise _broken_off(
            file, f"its header promises {promised_frames} samples, but it holds {count}"
        )


def _read(file: SourceFile, sound: Any, count: int) -> FloatArray:
    try:
        chunk: FloatArray = sound.read(CHUNK_FRAMES, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, MemoryError) as error:
        file.check()
        place_s = count / sound.samplerate
        raise AudioError(
            f"{file.label}: breaks off or is damaged after {place_s:.2f} s: {error}"
        ) from error
    file.check()
    return chunk


def _check_mp3(file: SourceFile, count: int, promised_frames: int | None) -> None:
    if mp3_goes_on(file):
        raise AudioError(
            f"{file.label}: goes on after the {count} samples that its header tells: its bit rate "
            "varies, or files were joined; to use all of it: ffmpeg -i FILE whole.flac"
        )
    missing = (promised_frames or 0) - count
    if missing > _MP3_PADDING and mp3_length_is_known(file):
        raise _broken_off(
            file, f"its header promises {promised_frames} samples, but it holds {count}"
        )


def _broken_off(file: SourceFile, how: str) -> AudioError:
    return AudioError(
        f"{file.label}: breaks off: {how}; to use what is there: ffmpeg -i FILE part.flac"
    )
