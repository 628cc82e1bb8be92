"""Where audio comes from: a path, a binary file or an array, and what a decoder says of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import AudioError

FloatArray = npt.NDArray[np.float32]
AudioSource: TypeAlias = str | os.PathLike[str] | BinaryIO | npt.NDArray[Any]

# Samples per channel that are decoded at once: 0.7 s at 48 kHz, 8 MiB for 64 channels.
CHUNK_FRAMES = 32768
# More are a damaged header, or an array of shape (channels, samples).
MAX_CHANNELS = 64
# Rates that audio has. Others come from damaged headers; resampling from 1 Hz exhausts memory.
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 1_000_000


@dataclass(frozen=True)
class AudioStream:
    """Audio that is being read.

    ``chunks`` gives (n, num_channels) float32 once, n as the decoder likes it, and raises
    AudioError where the audio breaks off. ``num_frames`` is what the header says, for progress;
    None where it says nothing. ``name`` begins error messages.

    Raises:
        AudioError: a rate or a number of channels that no audio has.
    """

    name: str
    rate_hz: int
    num_channels: int
    num_frames: int | None
    chunks: Iterator[FloatArray]

    def __post_init__(self) -> None:
        check_rate(self.rate_hz, self.name)
        if not 1 <= self.num_channels <= MAX_CHANNELS:
            raise AudioError(
                f"{self.name}: has {self.num_channels} channels; expected 1 to {MAX_CHANNELS}"
            )


def check_rate(rate_hz: object, what: str) -> None:
    """Check that audio of this rate exists; ``what`` begins the message.

    Raises:
        AudioError: not a whole number, or out of range.
    """
    if isinstance(rate_hz, int | np.integer) and MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        return
    raise AudioError(
        f"{what}: has {rate_hz!s:.40} samples per second; expected {MIN_RATE_HZ} to {MAX_RATE_HZ}"
    )


# Arrays


def array_stream(array: npt.NDArray[Any], rate_hz: int | None) -> AudioStream:
    """The stream of (N,) or (N, channels) samples, float or integer.

    Raises:
        AudioError: no rate, or another type or shape.
    """
    if rate_hz is None:
        raise AudioError("array: give its rate as source_rate_hz")
    if array.dtype.kind not in "fiu":
        raise AudioError(f"array: expected float or integer samples, got {array.dtype}")
    if array.ndim not in (1, 2):
        raise AudioError(f"array: expected (samples,) or (samples, channels), got {array.shape}")
    channels = array[:, None] if array.ndim == 1 else array
    if channels.shape[1] > MAX_CHANNELS:
        raise AudioError(
            f"array: {array.shape} has {channels.shape[1]} channels; expected 1 to {MAX_CHANNELS}: "
            "the shape is (samples, channels), transpose it"
        )
    return AudioStream("array", rate_hz, channels.shape[1], len(array), _slices(channels))


def _slices(channels: npt.NDArray[Any]) -> Iterator[FloatArray]:
    if channels.dtype == np.float32 and channels.shape[1] == 1:
        # As it is: windows of it are views of the caller's array.
        yield channels
        return
    for start in range(0, len(channels), CHUNK_FRAMES):
        yield to_float(channels[start : start + CHUNK_FRAMES])


def to_float(samples: npt.NDArray[Any]) -> FloatArray:
    """Samples of any real type as float32, integers scaled by their type's full scale.

    Unsigned ones have their zero in the middle, as in 8-bit WAV. What exceeds float32 becomes
    infinite.
    """
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return samples.astype(np.float32)
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    offset = full_scale if samples.dtype.kind == "u" else 0.0
    scaled: FloatArray = ((samples.astype(np.float64) - offset) / full_scale).astype(np.float32)
    return scaled


# Files


class SourceFile:
    """What decoders see of a file: no name to guess a format from, and no exceptions.

    An exception cannot pass through a decoder's C code: a failed read looks like the end of the
    file there, and ``check`` says afterwards what it was.
    """

    def __init__(self, file: BinaryIO, label: str) -> None:
        self.label = label
        self._file = file
        self._problem: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; b"" at the end and after an error."""
        try:
            return self._file.read(size)
        except Exception as error:
            # A file object of the caller's may raise anything.
            self._problem = self._problem or error
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Damaged headers make decoders seek to anywhere; they notice if it did not work."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self.tell()

    def tell(self) -> int:
        return self._file.tell()

    def check(self) -> None:
        """Raise what a read met.

        Raises:
            AudioError: a read failed since the file was opened.
        """
        if self._problem is not None:
            raise AudioError(f"{self.label}: cannot be read: {self._problem}") from self._problem


@contextmanager
def open_source(source: object) -> Iterator[SourceFile]:
    """A path, opened and closed again, or a seekable binary file, from its start and left open.

    Raises:
        AudioError: what it is instead, or why it cannot be opened.
    """
    if not isinstance(source, str | os.PathLike):
        yield _given(source)
        return
    path = Path(source)
    problem = _unreadable(path)
    if problem:
        raise AudioError(f"{source}: {problem}")
    try:
        file = path.open("rb")
    except OSError as error:
        raise AudioError(f"{source}: cannot be opened: {error.strerror}") from error
    with file:
        yield SourceFile(file, str(source))


def _unreadable(path: Path) -> str | None:
    try:
        if path.is_file():
            headerless = path.suffix.lower() == ".raw"
            return "headerless audio: convert it to WAV or FLAC" if headerless else None
        # Opened, a pipe would block until somebody writes.
        return "is not a regular file" if path.exists() else "no such file"
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        return str(error)


def _given(source: Any) -> SourceFile:
    kind = type(source).__name__
    label = getattr(source, "name", None)
    name = label if isinstance(label, str) else f"<{kind}>"
    if not all(hasattr(source, method) for method in ("read", "seek", "tell")):
        raise AudioError(f"expected a path, a binary file or a numpy array, got {kind}")
    try:
        source.seek(0)
        content = source.read(0)
    except (OSError, ValueError) as error:
        raise AudioError(
            f"{name}: a file object must be open and seekable ({error}); "
            "pass io.BytesIO(stream.read()) for a stream"
        ) from error
    if not isinstance(content, bytes):
        raise AudioError(f"{name}: opened as text; open it with mode 'rb'")
    return SourceFile(source, name)
