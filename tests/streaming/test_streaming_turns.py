"""What a stream tells, and when: final and provisional turns, latency, labels."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from streams import STEP_S, even, final_turns, frames, streaming, updates
from tiny_artifacts import RATE_HZ
from tiny_diarization import (
    FRAME_S,
    INVERTED,
    TOGETHER,
    dialogue,
    diarized,
    diarizer,
    silence,
    speech,
)
from voxport.runtime import StreamingDiarizer
from voxport.runtime.annotation.scoring import score
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.stages import Turn

PIECE = 80  # half a step
EXPECTED = [(0, 3, "SPEAKER_00"), (4, 7, "SPEAKER_01"), (8, 9, "SPEAKER_00")]


def conversation() -> np.ndarray:
    """30 s of four voices, some of them at the same time."""
    parts = [
        *(speech(2.5, 0), silence(0.4), speech(1.7, 9, INVERTED), speech(0.3, 0)),
        *(silence(1.1), speech(3.1, 20), speech(1.2, 20, TOGETHER), speech(2.2, 0)),
        *(silence(2), speech(0.15, 13), silence(0.6), speech(4, 13, INVERTED), speech(2, 9)),
        *(speech(3.3, 20), speech(0.05, 0), speech(2.4, 0), silence(3)),
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("latency_s", [0.5, 1.0, 3.0])
def test_a_dialogue(tiny_stream_models: Path, latency_s: float) -> None:
    with streaming(tiny_stream_models, latency_s=latency_s) as loaded:
        found = final_turns(loaded, even(dialogue(), PIECE))
    assert [turn.speaker for turn in found] == [each[2] for each in EXPECTED]
    times = [(turn.start_s, turn.end_s) for turn in found]
    np.testing.assert_allclose(times, [each[:2] for each in EXPECTED], atol=1.5 * FRAME_S)


@pytest.mark.parametrize("latency_s", [0.1, 0.25])
def test_a_dialogue_at_a_short_latency(tiny_stream_models: Path, latency_s: float) -> None:
    with streaming(tiny_stream_models, latency_s=latency_s) as loaded:
        found = Turns(final_turns(loaded, even(dialogue(), PIECE)))
    result = score(Turns(Turn(*each) for each in EXPECTED), found)
    # A new voice is told from those that are known once it was heard for two tenths of a window.
    # What is final by then went out as the only one known; nothing else is wrong.
    assert 0 < result.confusion_s <= 0.3 - latency_s + 1.5 * FRAME_S
    assert result.miss_s + result.false_alarm_s <= 6 * FRAME_S


def test_all_that_is_final_is_told_within_the_latency(tiny_stream_models: Path) -> None:
    samples = conversation()
    for latency_s in (0.1, 0.35, 1.2):
        with streaming(tiny_stream_models, latency_s=latency_s) as loaded:
            told = updates(loaded, even(samples, 37))
        for number, update in enumerate(told, start=1):
            assert update.now_s == min(37 * number, len(samples)) / RATE_HZ
            if update.now_s > STEP_S:
                # A frame is in its window once it is heard as a whole.
                assert update.final_until_s >= update.now_s - latency_s - FRAME_S
        assert told[-1].final_until_s == told[-1].now_s


def test_what_is_final_never_changes(tiny_stream: StreamingDiarizer) -> None:
    told = updates(tiny_stream, even(conversation(), 37))
    everything = [turn for update in told for turn in update.final]
    assert len(everything) > 8
    assert len(set(everything)) == len(everything)
    final: list[Turn] = []
    before_s = 0.0
    for update in told:
        assert before_s <= update.final_until_s <= update.now_s
        before_s = update.final_until_s
        final += update.final
        assert all(turn.end_s <= before_s for turn in update.final)
        assert all(turn.end_s >= before_s for turn in update.provisional)
        # Of turns that go on, what is final stays as it is.
        known = frames([*final, *update.provisional], before_s)
        assert known == frames(everything, before_s)


def test_turns_of_a_speaker_lie_apart(tiny_stream: StreamingDiarizer) -> None:
    found = Turns(final_turns(tiny_stream, even(conversation(), PIECE)))
    for speaker in found.speakers:
        own = [turn for turn in found if turn.speaker == speaker]
        assert all(one.end_s < other.start_s for one, other in pairwise(own))


def test_it_speaks_from_the_first_step(tiny_stream: StreamingDiarizer) -> None:
    tiny_stream.reset()
    samples = speech(0.3, 0)
    assert tiny_stream.push(samples[:159]).provisional == ()
    (turn,) = tiny_stream.push(samples[159:160]).provisional
    # A window is 1 s: so far there are 0.1 s.
    assert turn.speaker == "SPEAKER_00"
    assert turn.start_s <= FRAME_S
    assert turn.end_s == pytest.approx(0.1, abs=FRAME_S)
    (later,) = tiny_stream.push(samples[160:]).provisional
    assert later.end_s == pytest.approx(0.3, abs=FRAME_S)


def test_a_turn_that_goes_on_is_provisional(tiny_stream: StreamingDiarizer) -> None:
    told = updates(tiny_stream, even(speech(5, 0), PIECE))
    assert all(not update.final for update in told[:-1])
    (final,) = told[-1].final
    for update in told[2:-1]:
        (turn,) = update.provisional
        assert turn.start_s == final.start_s
    assert told[-1].provisional == ()


def test_a_new_voice_is_provisional_under_another_label_before(
    tiny_stream: StreamingDiarizer,
) -> None:
    samples = np.concatenate([speech(2, 0), speech(2, 9)])
    told = updates(tiny_stream, even(samples, PIECE))
    final = Turns(turn for update in told for turn in update.final)
    assert final.speakers == ("SPEAKER_00", "SPEAKER_01")
    # Two tenths of a window have to be heard, before which it sounds like the only one known.
    (early,) = next(each for each in told if each.now_s == pytest.approx(2.15)).provisional
    assert (early.speaker, early.end_s > 2) == ("SPEAKER_00", True)


def test_the_offline_answer_is_given_at_a_windows_latency(tiny_stream_models: Path) -> None:
    samples = conversation()
    with diarizer(tiny_stream_models, mode="exact", threads=1, min_cluster_size=2) as loaded:
        offline = diarized(loaded, samples).turns
    with streaming(tiny_stream_models, latency_s=1.0) as loaded:
        online = Turns(final_turns(loaded, even(samples, PIECE)))
    assert len(offline.speakers) == 4
    # A new voice's first words are final before it is known. Measured: 0.025, 0.6 s.
    assert score(offline, online).der < 0.03


def test_a_longer_latency_is_nearer_to_the_offline_answer(tiny_stream_models: Path) -> None:
    samples = conversation()
    with diarizer(tiny_stream_models, mode="exact", threads=1, min_cluster_size=2) as loaded:
        offline = diarized(loaded, samples).turns
    rates = []
    for latency_s in (0.1, 0.5, 1.0):
        with streaming(tiny_stream_models, latency_s=latency_s) as loaded:
            online = Turns(final_turns(loaded, even(samples, PIECE)))
        rates.append(score(offline, online).der)
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1]


@pytest.mark.parametrize("samples", [0, 1, 15, 16, 159, 160, 161, 1599, 1600, 1601, 1760])
def test_short_streams(tiny_stream: StreamingDiarizer, samples: int) -> None:
    audio = speech(2, 3)[:samples]
    (last,) = updates(tiny_stream, [])
    assert (last.final, last.provisional, last.now_s, last.final_until_s) == ((), (), 0, 0)
    found = final_turns(tiny_stream, [audio])
    # A frame of the tiny network is loud enough with half of its samples.
    assert len(found) == (samples >= 15)
    for turn in found:
        assert turn.start_s <= FRAME_S
        assert samples / RATE_HZ - 1.5 * FRAME_S <= turn.end_s <= samples / RATE_HZ


def test_silence(tiny_stream: StreamingDiarizer) -> None:
    told = updates(tiny_stream, even(silence(3.05), 100))
    assert all(not update.final and not update.provisional for update in told)
    assert told[-1].final_until_s == 3.05


def test_a_largest_number_of_speakers(tiny_stream_models: Path) -> None:
    everyone = np.concatenate([speech(1.5, voice) for voice in (0, 4, 9, 13, 20, 0, 9, 25)])
    for most in (1, 2, 3):
        with streaming(tiny_stream_models, max_speakers=most) as loaded:
            told = updates(loaded, even(everyone, PIECE))
        shown = [turn for each in told for turn in (*each.final, *each.provisional)]
        assert len({turn.speaker for turn in shown}) == most
    with streaming(tiny_stream_models) as loaded:
        assert len(Turns(final_turns(loaded, [everyone])).speakers) == 6


def test_a_largest_number_of_speakers_at_once(tiny_stream_models: Path) -> None:
    with streaming(tiny_stream_models, max_speakers=1) as loaded:
        found = Turns(final_turns(loaded, [np.concatenate([speech(2, 0), speech(2, 0, TOGETHER)])]))
    assert not found.overlap()
    assert found.speakers == ("SPEAKER_00",)


@pytest.mark.parametrize("step_s", [0.02, 0.0375, 0.3, 1.0])
def test_steps_that_do_not_divide_a_window(tiny_stream_models: Path, step_s: float) -> None:
    # At 0.0375 s a window begins within a frame.
    with streaming(tiny_stream_models, step_s=step_s, latency_s=1.0) as loaded:
        found = final_turns(loaded, even(dialogue(), 777))
    assert {turn.speaker for turn in found} == {"SPEAKER_00", "SPEAKER_01"}
    reference = Turns(Turn(*each) for each in EXPECTED)
    # Frames that two windows find half a hop apart are averaged.
    assert score(reference, Turns(found)).der < 0.02


def test_another_stream_knows_nothing_of_the_one_before(tiny_stream: StreamingDiarizer) -> None:
    first = final_turns(tiny_stream, even(dialogue(), PIECE))
    final_turns(tiny_stream, [np.concatenate([speech(2, 7), speech(2, 20)])])
    assert final_turns(tiny_stream, even(dialogue(), PIECE)) == first
