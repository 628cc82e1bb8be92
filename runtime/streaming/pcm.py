"""Raw PCM from a pipe: bytes to samples as they come."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import AudioError

# Little-endian on every machine; by the names that ffmpeg has for them.
ENCODINGS: Mapping[str, str] = MappingProxyType({"s16le": "<i2", "f32le": "<f4"})
# A second of 16-bit mono at 16 kHz; less where less has come.
_READ_BYTES = 32_768
# How files with a header begin. As 16-bit samples that would be a loud click and then, for all
# but WAV, noise.
_HEADERS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b"caff")


def read_pcm(
    stream: BinaryIO, encoding: str, num_channels: int, warn: Callable[[str], None]
) -> Iterator[npt.NDArray[Any]]:
    """(n, num_channels) samples, as soon as there are any.

    A last sample that is not whole is left out, with a warning: whatever wrote it was cut off.

    Args:
        stream: a binary stream with ``read1``.
        encoding: one of ``ENCODINGS``.
        num_channels: samples of one moment follow each other.
        warn: is told of bytes that are left out.

    Raises:
        AudioError: the stream begins as an audio file does, or cannot be read.
    """
    dtype = np.dtype(ENCODINGS[encoding])
    frame_bytes = dtype.itemsize * num_channels
    held = b""
    is_first = True
    while content := _read(stream):
        held += content
        if is_first and len(held) >= max(map(len, _HEADERS)):
            _check_headerless(held)
            is_first = False
        whole = 0 if is_first else len(held) // frame_bytes * frame_bytes
        if whole:
            yield np.frombuffer(held[:whole], dtype).reshape(-1, num_channels)
            held = held[whole:]
    whole = len(held) // frame_bytes * frame_bytes
    if whole:
        yield np.frombuffer(held[:whole], dtype).reshape(-1, num_channels)
    if len(held) > whole:
        warn(
            f"standard input ends within a sample: the last {len(held) - whole} bytes are left "
            f"out (a sample of {encoding} with {num_channels} channels has {frame_bytes})"
        )


def _read(stream: BinaryIO) -> bytes:
    try:
        if isinstance(stream, io.BufferedIOBase):
            # What is there: ``read`` would wait until all is there.
            return stream.read1(_READ_BYTES)
        return stream.read(_READ_BYTES)
    except OSError as error:
        raise AudioError(f"standard input: cannot be read: {error.strerror or error}") from error


def _check_headerless(content: bytes) -> None:
    for header in _HEADERS:
        if content.startswith(header):
            raise AudioError(
                f"standard input: begins with {header.decode()!r}: an audio file, not raw PCM; "
                "convert it on the way: ffmpeg -i FILE -f s16le -ac 1 -ar 16000 - | voxport stream"
            )
