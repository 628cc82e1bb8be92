"""The answer does not depend on how the audio is cut, and hardly on its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import even, final_turns, pieces, streaming
from tiny_artifacts import RATE_HZ
from tiny_diarization import FRAME_S, INVERTED, TOGETHER, silence, speech
from voxport.runtime import StreamingDiarizer
from voxport.runtime.annotation.scoring import score
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.streaming.incoming import HeldAudio, IncomingAudio

SCENE = np.concatenate(
    [speech(1.3, 0), silence(0.3), speech(1, 9, INVERTED), speech(0.7, 9, TOGETHER), silence(0.21)]
)
SIZES = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 3000)), max_size=12)


@settings(max_examples=25)
@given(sizes=SIZES)
def test_pieces_of_any_size_give_the_same_turns(
    tiny_stream: StreamingDiarizer, sizes: list[int]
) -> None:
    expected = final_turns(tiny_stream, [SCENE])
    assert len(expected) > 2
    # Floats and all: bit by bit.
    assert final_turns(tiny_stream, pieces(SCENE, sizes)) == expected


def test_single_samples(tiny_stream: StreamingDiarizer) -> None:
    assert final_turns(tiny_stream, even(SCENE, 1)) == final_turns(tiny_stream, [SCENE])


@settings(max_examples=40)
@given(
    sizes=SIZES,
    rate_hz=st.sampled_from([1600, 1000, 1601, 4800, 8000, 44_100]),
    num_channels=st.integers(1, 3),
)
def test_mixing_and_resampling_do_not_depend_on_the_pieces(
    sizes: list[int], rate_hz: int, num_channels: int
) -> None:
    rng = np.random.default_rng(sum(sizes))
    samples = rng.normal(0, 0.2, (9001, num_channels)).astype(np.float32)
    # Opposite phase in the middle: the mixer takes the loudest channel there.
    samples[3000:6000, -1] = -1.1 * samples[3000:6000, 0]
    results = []
    for parts in ([samples], pieces(samples, sizes)):
        audio = IncomingAudio(rate_hz, RATE_HZ, num_channels)
        chunks = [*(audio.push(part) for part in parts), audio.finish(), audio.finish()]
        results.append(np.concatenate(chunks))
        assert audio.num_frames == len(samples)
    assert np.array_equal(*results)
    assert len(results[0]) == pytest.approx(9001 * RATE_HZ / rate_hz, abs=1)


@pytest.mark.parametrize(
    "dtype", [np.int16, np.int32, np.uint8, np.float64, np.float32, np.dtype(">i2")]
)
def test_formats_of_samples(tiny_stream: StreamingDiarizer, dtype: Any) -> None:
    kind = np.dtype(dtype)
    scaled = SCENE.astype(np.float64)
    if kind.kind != "f":
        full_scale = 2 ** (8 * kind.itemsize - 1)
        # Up to 1.2, which integers cannot hold.
        scaled = 0.8 * scaled * full_scale + (full_scale if kind.kind == "u" else 0)
    found = Turns(final_turns(tiny_stream, even(scaled.astype(kind), 500)))
    expected = Turns(final_turns(tiny_stream, [SCENE * (1 if kind.kind == "f" else 0.8)]))
    assert found == expected
    assert found.speakers == ("SPEAKER_00", "SPEAKER_01")


def test_what_is_pushed_is_copied(tiny_stream: StreamingDiarizer) -> None:
    tiny_stream.reset()
    buffer, found = np.zeros(50, np.float32), []
    for part in even(SCENE, 50):
        buffer[: len(part)] = part
        found += tiny_stream.push(buffer[: len(part)]).final
    buffer[:] = 1
    assert [*found, *tiny_stream.finish().final] == final_turns(tiny_stream, [SCENE])


def test_other_rates(tiny_stream_models: Path) -> None:
    # Voices without the highest frequencies, which resampling takes away.
    parts = [speech(3, 14), silence(1), speech(3, 22, INVERTED), silence(1), speech(1, 14)]
    scene = np.concatenate(parts)
    samples = soxr.resample(scene, RATE_HZ, 48_000)
    with streaming(tiny_stream_models, rate_hz=48_000) as loaded:
        told = [loaded.push(part) for part in even(samples, 4800)]
        last = loaded.finish()
    turns = Turns(turn for update in [*told, last] for turn in update.final)
    assert last.now_s == 9
    assert [update.now_s for update in told] == pytest.approx(np.arange(1, 91) / 10)
    with streaming(tiny_stream_models) as loaded:
        expected = Turns(final_turns(loaded, [scene]))
    assert score(expected, turns).der < 0.02
    assert np.isclose(turns.end_s, expected.end_s, atol=2 * FRAME_S)


def test_channels(tiny_stream_models: Path) -> None:
    with streaming(tiny_stream_models) as loaded:
        expected = final_turns(loaded, [SCENE])
    with streaming(tiny_stream_models, num_channels=2) as loaded:
        assert final_turns(loaded, even(np.stack([SCENE, SCENE], axis=1), 333)) == expected
        inverted = np.stack([SCENE, -0.9 * SCENE], axis=1)
        # Their mean is next to nothing: the louder one is taken.
        assert final_turns(loaded, even(inverted, 333)) == expected


# What is held


@given(lengths=st.lists(st.integers(0, 60), max_size=10), start=st.integers(-30, 60))
def test_a_window_of_held_audio(lengths: list[int], start: int) -> None:
    samples = np.arange(1, sum(lengths) + 1, dtype=np.float32)
    audio = HeldAudio()
    for part in pieces(samples, lengths):
        audio.append(part)
    assert audio.end == len(samples)
    around = np.pad(samples, (100, 100))
    assert np.array_equal(audio.window(start, 40), around[100 + start : 140 + start])
    audio.forget(start)
    assert np.array_equal(audio.window(start, 40), around[100 + start : 140 + start])
    assert audio.end == len(samples)
