"""Audio files of all kinds become mono float32 at one rate, or an error that names the file."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from signals import full_scale_noise
from voxport.runtime import AudioError
from voxport.runtime.audio import read_audio

Samples = npt.NDArray[np.float32]
RATE_HZ = 16000


def sine(frequency_hz: float, seconds: float, rate_hz: int, amplitude: float = 0.5) -> Samples:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    wave: Samples = (amplitude * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)
    return wave


def amplitude_at(samples: Samples, frequency_hz: float, rate_hz: int) -> float:
    """The amplitude of one frequency: projection on a complex exponential."""
    times = np.arange(len(samples)) / rate_hz
    window = np.hanning(len(samples))
    projection = (samples * window) @ np.exp(-2j * np.pi * frequency_hz * times)
    return float(2 * abs(projection) / window.sum())


def refused(path: Path | str) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# Formats

# Half a step of the coarsest coding; Vorbis is lossy.
FORMATS = [
    ("wav", "PCM_16", 1e-4),
    ("wav", "PCM_24", 1e-6),
    ("wav", "PCM_32", 1e-6),
    ("wav", "FLOAT", 0.0),
    ("wav", "DOUBLE", 0.0),
    ("wav", "PCM_U8", 1e-2),
    ("wav", "ULAW", 3e-2),
    ("flac", "PCM_16", 1e-4),
    ("flac", "PCM_24", 1e-6),
    ("ogg", "VORBIS", 5e-2),
]


@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), FORMATS)
def test_formats(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    wave = sine(440, 1.0, RATE_HZ)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, wave, RATE_HZ, subtype=subtype)
    samples = read_audio(path)
    assert samples.dtype == np.float32
    assert samples.shape == wave.shape
    np.testing.assert_allclose(samples, wave, rtol=0, atol=tolerance)


def test_a_path_may_be_text_and_the_suffix_anything(tmp_path: Path) -> None:
    path = tmp_path / "recording.dat"
    soundfile.write(path, sine(440, 0.1, RATE_HZ), RATE_HZ, format="WAV")
    assert read_audio(str(path)).shape == (1600,)


def test_full_scale_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([-32768, 32767, 0], np.int16), RATE_HZ)
    np.testing.assert_array_equal(
        read_audio(path), np.array([-1.0, 32767 / 32768, 0.0], np.float32)
    )


# Channels


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = sine(440, 0.5, RATE_HZ), sine(1000, 0.5, RATE_HZ)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([left, right], axis=1), RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("gain", [-1.0, -0.9, -0.7])
def test_channels_in_opposite_phase_are_not_lost(tmp_path: Path, gain: float) -> None:
    left = sine(440, 0.5, RATE_HZ)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([gain * left, left], axis=1), RATE_HZ, subtype="FLOAT")
    samples = read_audio(path)
    # Where both are equally loud, either one is right.
    sign = -1 if gain == -1 and samples[1] == -left[1] else 1
    np.testing.assert_array_equal(sign * samples, left)


def test_a_voice_on_one_channel_only_is_kept(tmp_path: Path) -> None:
    left = sine(440, 0.5, RATE_HZ)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([left, 0 * left], axis=1), RATE_HZ, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path), left / 2, atol=1e-7)


# Rates


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("frequency_hz", [100.0, 1000.0, 3000.0])
def test_a_sine_keeps_its_frequency_amplitude_and_length(
    tmp_path: Path, rate_hz: int, frequency_hz: float
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(frequency_hz, 1.037, rate_hz), rate_hz, subtype="FLOAT")
    samples = read_audio(path)
    assert samples.dtype == np.float32
    assert abs(len(samples) - 1.037 * RATE_HZ) <= 1
    expected = sine(frequency_hz, 1.037, RATE_HZ)
    length = min(len(samples), len(expected))
    # Phase too: a delay would move the boundaries of turns. Edges ring.
    inner = slice(200, length - 200)
    np.testing.assert_allclose(samples[inner], expected[inner], atol=2e-3)


def test_what_is_above_the_new_rate_does_not_fold_back(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(11000, 1.0, 48000), 48000, subtype="FLOAT")
    # Without a low-pass filter 11 kHz would come back as 5 kHz.
    assert amplitude_at(read_audio(path), 5000, RATE_HZ) < 1e-3


def test_another_target_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(440, 1.0, RATE_HZ), RATE_HZ, subtype="FLOAT")
    samples = read_audio(path, 8000)
    assert abs(len(samples) - 8000) <= 1
    assert amplitude_at(samples, 440, 8000) == pytest.approx(0.5, abs=1e-2)


def test_stereo_is_mixed_before_it_is_resampled(tmp_path: Path) -> None:
    left = sine(440, 0.5, 48000)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([left, -left], axis=1), 48000, subtype="FLOAT")
    assert amplitude_at(read_audio(path), 440, RATE_HZ) == pytest.approx(0.5, abs=1e-2)


def test_one_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([0.25], np.float32), RATE_HZ, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(path), np.array([0.25], np.float32))


def test_too_few_samples_to_resample(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([0.25], np.float32), 48000, subtype="FLOAT")
    assert "too few to resample" in refused(path)


@pytest.mark.parametrize("rate_hz", [1, 999, 1_000_001, 2**31 - 1])
def test_a_rate_that_no_audio_has(tmp_path: Path, rate_hz: int) -> None:
    # At 1 Hz, a megabyte would become 16 billion samples.
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(100, np.float32), rate_hz)
    assert f"has {rate_hz} samples per second; expected 1000 to 1000000" in refused(path)


# What is no audio


def test_no_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0, np.float32), RATE_HZ)
    assert "no samples" in refused(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channel", [0, 1])
def test_samples_that_are_not_finite(tmp_path: Path, value: float, channel: int) -> None:
    samples = np.zeros((100, 2), np.float32)
    samples[50, channel] = value
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    assert "NaN or infinite" in refused(path)


def test_float64_beyond_float32(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([0.0, 1e300]), RATE_HZ, subtype="DOUBLE")
    assert "NaN or infinite" in refused(path)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "txt"])
@pytest.mark.parametrize("content", [b"", b"hello, world\n" * 100, b"\0" * 1000])
def test_other_files(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    assert "cannot be read as audio" in refused(path)


@pytest.mark.parametrize("name", ["none.wav", "none.raw", "none/none.wav"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path / name) == "no such file"


def test_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path) == "is not a regular file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe(tmp_path: Path) -> None:
    # Opened, it would block until somebody writes.
    os.mkfifo(tmp_path / "pipe.wav")
    assert refused(tmp_path / "pipe.wav") == "is not a regular file"


def test_headerless_audio(tmp_path: Path) -> None:
    path = tmp_path / "a.RAW"
    path.write_bytes(b"\0" * 1000)
    assert "convert it to WAV" in refused(path)


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b.wav"])
def test_a_name_that_the_system_refuses(path: str) -> None:
    refused(path)


# Files that break off


@pytest.mark.parametrize("length", [1, 11, 20, 30, 44])
def test_a_wav_cut_within_its_header(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(440, 0.1, RATE_HZ), RATE_HZ)
    path.write_bytes(path.read_bytes()[:length])
    refused(path)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.995])
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, full_scale_noise(RATE_HZ, 0), RATE_HZ, format=kind)
    assert read_audio(path).shape == (RATE_HZ,)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    reason = refused(path)
    assert "breaks off" in reason or (kind == "CAF" and "malformed" in reason)


@pytest.mark.parametrize("size", [2**31 - 2**12, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_wav_whose_writer_could_not_know_its_length(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(440, 0.1, RATE_HZ), RATE_HZ)
    whole = read_audio(path)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", size)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_audio(path), whole)


def test_a_streamed_wav_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, sine(440, 0.1, RATE_HZ), RATE_HZ)
    whole = read_audio(path)
    content = bytearray(path.read_bytes())
    # What `ffmpeg -f wav pipe:` writes for the sizes that it cannot know.
    content[4:8] = content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    np.testing.assert_array_equal(read_audio(path), whole)


def test_a_flac_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, sine(440, 0.1, RATE_HZ), RATE_HZ)
    whole = read_audio(path)
    content = bytearray(path.read_bytes())
    # What `flac -` writes: no total in STREAMINFO (see below).
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_array_equal(read_audio(path), whole)


def test_a_flac_that_claims_more_than_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, sine(440, 0.1, RATE_HZ), RATE_HZ)
    content = bytearray(path.read_bytes())
    # STREAMINFO: after the marker (4), the block's header (4), 13 bytes; 36 bits of total samples.
    content[21] |= 0x0F
    content[22:26] = struct.pack(">I", 2**32 - 1)
    path.write_bytes(content)
    assert "promises 68719476735 samples, but it holds 1600" in refused(path)


@settings(deadline=None)
@given(position=st.integers(0, 99), value=st.integers(0, 255))
def test_a_damaged_wav_gives_finite_samples_or_an_audio_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    soundfile.write(path, sine(440, 0.01, RATE_HZ), RATE_HZ, subtype="FLOAT")
    content = bytearray(path.read_bytes())
    content[position] = value
    path.write_bytes(content)
    try:
        samples = read_audio(path)
    except AudioError as error:
        assert str(path) in str(error)  # noqa: PT017 -- either outcome is right
    else:
        assert np.isfinite(samples).all()
        assert samples.ndim == 1
