"""Channels become one: their mean, or the loudest where the mean would be silence."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from signals import full_scale_noise
from voxport.runtime.audio import read_audio
from voxport.runtime.audio_source import CHUNK_FRAMES
from voxport.runtime.mixing import mix_down

Samples = npt.NDArray[np.float32]
RATE_HZ = 16000


def sine(frequency_hz: float, seconds: float, rate_hz: int, amplitude: float = 0.5) -> Samples:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    wave: Samples = (amplitude * np.sin(2 * np.pi * frequency_hz * times)).astype(np.float32)
    return wave


def test_uncorrelated_channels_are_averaged() -> None:
    channels = np.stack([full_scale_noise(8000, seed) for seed in range(4)], axis=1)
    np.testing.assert_allclose(mix_down(channels), channels.mean(axis=1), atol=1e-6)


def test_silence_on_all_channels_stays_silence() -> None:
    np.testing.assert_array_equal(mix_down(np.zeros((5, 2), np.float32)), np.zeros(5, np.float32))


def test_the_mean_of_very_loud_channels_is_finite() -> None:
    # Their sum exceeds float32.
    loud = np.full((4, 3), 3e38, np.float32)
    np.testing.assert_allclose(mix_down(loud), loud[:, 0], rtol=1e-6)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(-1, 1, width=32),
    )
)
def test_mixing_down_keeps_the_length_and_the_range(channels: Samples) -> None:
    mono = mix_down(channels)
    assert mono.shape == channels.shape[:1]
    assert mono.dtype == np.float32
    assert np.abs(mono).max() <= np.abs(channels).max()
    energies = np.square(channels, dtype=np.float64).mean(axis=0)
    # A fifth of what unrelated channels would leave, at least (float32 may round it a little).
    unrelated = energies.sum() / channels.shape[1] ** 2
    assert np.square(mono, dtype=np.float64).mean() >= 0.1999 * unrelated - 1e-30


def test_one_of_many_channels_is_not_taken_for_cancellation() -> None:
    # Eight microphones, one per person, two of whom talk: both must be heard.
    channels = np.zeros((16000, 8), np.float32)
    channels[:, 2], channels[:, 5] = sine(440, 1.0, RATE_HZ), sine(1000, 1.0, RATE_HZ, 0.1)
    np.testing.assert_allclose(mix_down(channels), channels.mean(axis=1), atol=1e-7)


def test_channels_that_cancel_in_one_part_only() -> None:
    left = full_scale_noise(8 * CHUNK_FRAMES, 0)
    sign = np.ones_like(left)
    sign[2 * CHUNK_FRAMES : 5 * CHUNK_FRAMES] = -1
    mono = mix_down(np.stack([left, sign * left], axis=1))
    # Heard throughout, but for the fade within the first 512 samples after the sign changes.
    for start in (2 * CHUNK_FRAMES, 5 * CHUNK_FRAMES):
        assert np.abs(mono[start : start + 512] - left[start : start + 512]).max() <= 1.0
        mono[start : start + 512] = left[start : start + 512]
    np.testing.assert_allclose(mono, left, rtol=0, atol=1e-7)


def test_a_change_of_the_mix_fades() -> None:
    # Constant channels: each jump of the output is one of the weights.
    channels = np.ones((4 * CHUNK_FRAMES, 2), np.float32)
    channels[CHUNK_FRAMES:, 1] = -0.75
    mono = mix_down(channels)
    assert mono[0] == mono[-1] == 1.0
    jumps = np.abs(np.diff(mono))
    assert jumps.argmax() == CHUNK_FRAMES - 1  # the channel itself
    assert np.delete(jumps, CHUNK_FRAMES - 1).max() <= 1.75 / 512


def test_the_channel_that_is_used_alone_changes_for_a_much_louder_one_only() -> None:
    noise = full_scale_noise(CHUNK_FRAMES, 0)
    # Right is a little louder, then four times, then left is a little.
    gains = [(1.0, -0.9), (0.9, -1.0), (0.4, -0.8), (1.0, -0.9)]
    blocks = [(left * noise, right * noise) for left, right in gains]
    mono = mix_down(np.concatenate([np.stack(block, axis=1) for block in blocks]))
    inner = [mono[k * CHUNK_FRAMES + 512 : (k + 1) * CHUNK_FRAMES] / noise[512:] for k in range(4)]
    np.testing.assert_allclose([np.median(part) for part in inner], [1, 0.9, -0.8, -0.9], rtol=1e-5)


@pytest.mark.parametrize("gain", [1.0, -1.0])
def test_silence_keeps_the_mix_that_was(gain: float) -> None:
    noise = full_scale_noise(CHUNK_FRAMES, 0)
    both = np.stack([noise, gain * noise], axis=1)
    mono = mix_down(np.concatenate([both, 0 * both, both]))
    np.testing.assert_array_equal(mono, np.concatenate([noise, 0 * noise, noise]))


def test_a_reader_gives_what_the_whole_array_is_mixed_to() -> None:
    rng = np.random.default_rng(0)
    channels = rng.uniform(-1, 1, (3 * CHUNK_FRAMES + 17, 2)).astype(np.float32)
    channels[CHUNK_FRAMES : 2 * CHUNK_FRAMES, 1] = -channels[CHUNK_FRAMES : 2 * CHUNK_FRAMES, 0]
    content = io.BytesIO()
    soundfile.write(content, channels, RATE_HZ, format="WAV", subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(content, RATE_HZ), mix_down(channels))
