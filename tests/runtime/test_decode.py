"""Sources other than plain paths: arrays, file objects, what ffmpeg reads; and damaged ones."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from signals import full_scale_noise, speechlike
from voxport.runtime import AudioError
from voxport.runtime.audio import read_audio
from voxport.runtime.audio_source import CHUNK_FRAMES, MAX_CHANNELS
from voxport.runtime.decode import open_audio
from voxport.runtime.truncation import promised_bytes

Samples = npt.NDArray[np.float32]
RATE_HZ = 16000


def encoded(
    samples: npt.NDArray[np.floating], kind: str, rate_hz: int = RATE_HZ, **options: Any
) -> bytes:
    """A file in memory, written in pieces: libsndfile's Vorbis encoder overflows its stack on
    minutes at once."""
    content = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(content, "w", rate_hz, channels, format=kind, **options) as file:
        for start in range(0, len(samples), CHUNK_FRAMES):
            file.write(samples[start : start + CHUNK_FRAMES])
    return content.getvalue()


def refused(source: Any, **options: Any) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(source, RATE_HZ, **options)
    return str(caught.value)


# Arrays


def test_a_mono_float_array_is_taken_as_it_is() -> None:
    samples = full_scale_noise(1000, 0)
    assert np.shares_memory(read_audio(samples, RATE_HZ, source_rate_hz=RATE_HZ), samples)
    column = read_audio(samples[:, None], RATE_HZ, source_rate_hz=RATE_HZ)
    assert np.shares_memory(column, samples)
    np.testing.assert_array_equal(column, samples)


FULL_SCALE = [
    ("int8", -128, -1.0),
    ("int16", -32768, -1.0),
    ("int16", 16384, 0.5),
    (">i2", 16384, 0.5),
    ("int32", -(2**31), -1.0),
    ("int64", 2**62, 0.5),
    ("uint8", 0, -1.0),
    ("uint8", 128, 0.0),
    ("uint16", 49152, 0.5),
    ("float16", 0.5, 0.5),
    ("float64", -0.25, -0.25),
    (">f4", 0.75, 0.75),
]


@pytest.mark.parametrize(("dtype", "value", "expected"), FULL_SCALE)
def test_full_scale_of_each_type(dtype: str, value: float, expected: float) -> None:
    for array in (np.full(10, value, dtype), np.full((10, 2), value, dtype)):
        samples = read_audio(array, RATE_HZ, source_rate_hz=RATE_HZ)
        assert samples.dtype == np.float32
        np.testing.assert_array_equal(samples, np.full(10, expected, np.float32))


@given(
    hnp.arrays(
        np.int16,
        st.tuples(st.integers(1, 50), st.integers(1, 4)),
        elements=st.integers(-(2**15), 2**15 - 1),
    )
)
def test_integers_are_read_as_from_a_file(samples: npt.NDArray[np.int16]) -> None:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV")
    np.testing.assert_array_equal(
        read_audio(samples, RATE_HZ, source_rate_hz=RATE_HZ), read_audio(file, RATE_HZ)
    )


@pytest.mark.parametrize("rate_hz", [8000, 44100])
def test_an_array_is_resampled_as_a_file(rate_hz: int) -> None:
    samples = full_scale_noise(2 * CHUNK_FRAMES + 99, 1)
    file = io.BytesIO(encoded(samples, "WAV", rate_hz, subtype="FLOAT"))
    np.testing.assert_array_equal(
        read_audio(samples, RATE_HZ, source_rate_hz=rate_hz), read_audio(file, RATE_HZ)
    )


def test_a_strided_or_reversed_array() -> None:
    samples = full_scale_noise(1000, 2)
    for view in (samples[::2], samples[::-1], np.stack([samples, samples], axis=1)[:, 0]):
        np.testing.assert_array_equal(
            read_audio(view, RATE_HZ, source_rate_hz=RATE_HZ), np.array(view)
        )


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(0, np.float32), "holds no samples"),
        (np.zeros((0, 2), np.int16), "holds no samples"),
        (np.zeros((5, 0), np.float32), "0 channels"),
        (np.zeros((2, 16000), np.float32), "(samples, channels), transpose it"),
        (np.zeros((5, 5, 5), np.float32), "expected (samples,) or (samples, channels)"),
        (np.ones(()), "expected (samples,) or (samples, channels)"),
        (np.zeros(5, bool), "got bool"),
        (np.zeros(5, complex), "got complex128"),
        (np.array(["a"]), "got <U1"),
        (np.array([1.0, None]), "got object"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
        (np.array([[0.0, -np.inf]]), "NaN or infinite"),
        (np.array([1e300]), "NaN or infinite"),
    ],
)
def test_arrays_that_are_no_audio(array: npt.NDArray[Any], reason: str) -> None:
    message = refused(array, source_rate_hz=RATE_HZ)
    assert message.startswith("array: ")
    assert reason in message


@pytest.mark.parametrize("rate_hz", [0, -1, 999, 1_000_001, 16000.0, True, "16000", 2**70])
def test_rates_that_are_none(rate_hz: Any) -> None:
    samples = np.zeros(10, np.float32)
    assert "samples per second" in refused(samples, source_rate_hz=rate_hz)
    with pytest.raises(AudioError, match="the wanted audio: has"):
        read_audio(samples, rate_hz, source_rate_hz=RATE_HZ)


def test_where_the_rate_comes_from(tmp_path: Path) -> None:
    assert "give its rate" in refused(np.zeros(10, np.float32))
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(full_scale_noise(10, 0), "WAV"))
    assert "a file says its own rate" in refused(path, source_rate_hz=RATE_HZ)


def test_what_overflows_when_it_is_resampled() -> None:
    loud = np.where(np.arange(1000) % 7 < 3, 3.4e38, -3.4e38).astype(np.float32)
    assert "NaN or infinite" in refused(loud, source_rate_hz=8000)


@pytest.mark.parametrize("source", [None, 5, [0.0, 1.0], b"RIFF", object()])
def test_sources_that_are_none(source: Any) -> None:
    assert f"got {type(source).__name__}" in refused(source)


# File objects


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_file_object_is_read_like_its_path(tmp_path: Path, kind: str) -> None:
    content = encoded(speechlike(20000, 0), kind)
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    expected = read_audio(path, RATE_HZ)
    memory = io.BytesIO(content)
    memory.seek(100)  # read from its start nevertheless
    np.testing.assert_array_equal(read_audio(memory, RATE_HZ), expected)
    assert not memory.closed
    for buffering in (-1, 0):
        with path.open("rb", buffering=buffering) as file:
            np.testing.assert_array_equal(read_audio(file, RATE_HZ), expected)
            assert not file.closed


class Recorded(io.BytesIO):
    """A file that notes what is read of it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads: list[tuple[int, int]] = []

    def read(self, size: int | None = -1, /) -> bytes:
        position = self.tell()
        data = super().read(size)
        self.reads.append((position, len(data)))
        return data


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF"])
def test_each_byte_is_read_once(kind: str) -> None:
    content = encoded(full_scale_noise(60 * RATE_HZ, 3), kind)
    file = Recorded(content)
    read_audio(file, RATE_HZ)
    total = sum(length for _, length in file.reads)
    # Headers are looked at more than once, and Ogg's last page for the length.
    assert len(content) - 1024 <= total <= len(content) + 2**17 + 1024
    half = sum(length for position, length in file.reads if position >= len(content) // 2)
    assert half <= len(content) // 2 + 2**17


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_reading_in_chunks_is_reading_at_once(kind: str) -> None:
    content = encoded(speechlike(5 * CHUNK_FRAMES + 321, 1), kind)
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    with open_audio(io.BytesIO(content)) as stream:
        chunks = list(stream.chunks)
        assert stream.num_frames == len(expected)
    assert len(chunks) > 4
    # mpg123 rounds the last bit by how much is asked of it.
    tolerance = 1e-7 if kind == "MP3" else 0
    np.testing.assert_allclose(np.concatenate(chunks)[:, 0], expected, rtol=0, atol=tolerance)


class Failing(io.BytesIO):
    """A file whose disk fails after 10,000 bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > 10000:
            raise OSError("disk error")
        return super().read(size)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_read_error_is_told(kind: str) -> None:
    file = Failing(encoded(full_scale_noise(60 * RATE_HZ, 4), kind))
    assert refused(file) == "<Failing>: cannot be read: disk error"


def test_files_that_cannot_be_read_as_binary(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(full_scale_noise(100, 0), "WAV"))
    with path.open(encoding="latin-1") as text:
        assert refused(text) == f"{path}: opened as text; open it with mode 'rb'"
    assert "must be open and seekable" in refused(text)
    read_end, write_end = os.pipe()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert "must be open and seekable" in refused(pipe)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind this user"
)
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(full_scale_noise(100, 0), "WAV"))
    path.chmod(0)
    assert refused(path) == f"{path}: cannot be opened: Permission denied"


def test_a_refused_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    path.touch()

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert refused(path) == f"{path}: cannot be opened: Permission denied"


# Headers


def test_more_channels_than_audio_has() -> None:
    content = encoded(np.zeros((10, MAX_CHANNELS), np.float32), "WAV")
    assert read_audio(io.BytesIO(content), RATE_HZ).shape == (10,)
    content = encoded(np.zeros((10, MAX_CHANNELS + 1), np.float32), "WAV")
    assert "has 65 channels; expected 1 to 64" in refused(io.BytesIO(content))


def test_a_header_with_the_largest_numbers_allocates_nothing() -> None:
    content = bytearray(encoded(np.zeros(100, np.float32), "WAV"))
    for position, size in ((22, 2), (24, 4), (28, 4), (32, 2), (40, 4)):
        damaged = content.copy()
        damaged[position : position + size] = b"\xff" * size
        try:
            samples = read_audio(io.BytesIO(damaged), RATE_HZ)
        except AudioError:
            continue
        assert len(samples) <= 200


def vbr_mp3(samples: Samples) -> bytes:
    return encoded(samples, "MP3", 44100, bitrate_mode="VARIABLE", compression_level=0.5)


def constant_mp3(samples: Samples) -> bytes:
    return encoded(samples, "MP3", 44100, bitrate_mode="CONSTANT", compression_level=0.5)


def second_frame(mp3: bytes) -> int:
    """Where the frames begin that hold audio: the first one holds their number."""
    sync = mp3[:2]
    return next(n for n in range(100, 2000) if mp3[n : n + 2] == sync)


def test_an_mp3_that_breaks_off() -> None:
    content = vbr_mp3(full_scale_noise(10 * 44100, 5))
    assert abs(len(read_audio(io.BytesIO(content), 44100)) - 441000) < 2400
    message = refused(io.BytesIO(content[: len(content) // 2]))
    assert "breaks off: its header promises 441000 samples" in message


def test_an_mp3_of_unknown_length() -> None:
    content = constant_mp3(full_scale_noise(10 * 44100, 5))
    body = content[second_frame(content) :]
    whole = read_audio(io.BytesIO(body), 44100)
    assert abs(len(whole) - 441000) < 5000
    # Where nothing says how long it is, what is there is read.
    half = read_audio(io.BytesIO(body[: len(body) // 2]), 44100)
    assert abs(len(half) - 220500) < 5000


def test_an_mp3_whose_bit_rate_falls_is_not_cut() -> None:
    # libsndfile guesses the length from the first frame and stops there.
    loud, quiet = full_scale_noise(44100 * 10, 6), 0.001 * full_scale_noise(44100 * 60, 7)
    content = vbr_mp3(np.concatenate([loud, quiet]))
    message = refused(io.BytesIO(content[second_frame(content) :]))
    assert "goes on after the" in message


def test_joined_mp3_files_are_not_cut() -> None:
    content = vbr_mp3(full_scale_noise(10 * 44100, 5))
    assert "goes on after the" in refused(io.BytesIO(content + content))


@pytest.mark.parametrize("tag", [b"TAG" + b"a" * 125, b"APETAGEX" + b"\xff\xfb" * 20000])
def test_tags_behind_an_mp3_are_no_audio(tag: bytes) -> None:
    content = vbr_mp3(full_scale_noise(10 * 44100, 5))
    expected = read_audio(io.BytesIO(content), 44100)
    np.testing.assert_array_equal(read_audio(io.BytesIO(content + tag), 44100), expected)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("data : 88200 (should be 49920)", (88200, 49920)),
        ("  Data Size   : 3200 (should be 1600)", (3200, 1600)),
        ("RIFF : 88272 (should be 49992)\nfmt  : 16", None),
        ("data : 0 (should be 49920)", None),
        ("data : 1601 (should be 1600)", None),
        ("data : 4294967295 (should be 1600)", None),
        ("", None),
    ],
)
def test_sizes_in_the_log(log: str, expected: tuple[int, int] | None) -> None:
    assert promised_bytes(log) == expected
