"""SpeechDetector, on a tiny exact network: what a Diarizer would give, without its embeddings."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_artifacts import RATE_HZ, WINDOW
from tiny_diarization import (
    ALONE,
    FRAME_S,
    INVERTED,
    TOGETHER,
    Samples,
    dialogue,
    diarized,
    diarizer,
    publish,
    silence,
    speech,
)
from voxport.runtime import (
    ArtifactNotFoundError,
    AudioError,
    OptionsError,
    SessionClosedError,
    SpeechDetector,
)
from voxport.runtime.annotation.spans import covered
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.detection import DetectionResult
from voxport.runtime.diarization import Progress
from voxport.runtime.stages import to_turns, within


def detector(models: Path, **options: Any) -> SpeechDetector:
    return SpeechDetector(models=models, device="cpu", **{"step_s": 0.1, **options})


def detected(models: Path, samples: Samples, **options: Any) -> DetectionResult:
    with detector(models, **options) as loaded:
        return loaded(samples, source_rate_hz=RATE_HZ)


def times(turns: Turns) -> list[tuple[float, float]]:
    return [(turn.start_s, turn.end_s) for turn in turns]


def near(turns: Turns, expected: list[tuple[float, float]]) -> bool:
    """Up to a frame and a half."""
    return len(turns) == len(expected) and bool(
        np.allclose(times(turns), expected, atol=1.5 * FRAME_S)
    )


def meeting() -> Samples:
    """10 s: one from 1 to 4 s, two from 4 to 6 s, the other to 7 s, and both from 9 to 9.5 s."""
    return np.concatenate(
        [
            silence(1),
            speech(3, 0, ALONE),
            speech(2, 0, TOGETHER),
            speech(1, 5, INVERTED),
            silence(2),
            speech(0.5, 0, TOGETHER),
            silence(0.5),
        ]
    )


def test_speech_and_overlap(segmentation_only: Path) -> None:
    result = detected(segmentation_only, meeting())
    assert near(result.speech, [(1, 7), (9, 9.5)])
    assert near(result.overlap, [(4, 6), (9, 9.5)])
    assert result.speech.speakers == ("SPEECH",)
    assert result.overlap.speakers == ("OVERLAP",)
    assert result.duration_s == 10
    assert result.speech_s == pytest.approx(6.5, abs=3 * FRAME_S)
    assert result.overlap_s == pytest.approx(2.5, abs=3 * FRAME_S)
    (used,) = result.artifacts
    assert (used.name, used.device) == ("segmentation_masks", "cpu")
    assert {"reading", "segmentation", "total"} <= set(result.seconds)


def babble(seed: int, seconds: float) -> Samples:
    """Voices that come and go within frames, alone and together."""
    rng = np.random.default_rng(seed)
    parts: list[Samples] = []
    while sum(map(len, parts)) < seconds * RATE_HZ:
        length = float(rng.uniform(0.02, 0.9))
        level = rng.choice([0, ALONE, INVERTED, TOGETHER])
        parts.append(speech(length, int(rng.integers(30)), level) if level else silence(length))
    return np.concatenate(parts)[: round(seconds * RATE_HZ)]


@pytest.mark.parametrize(
    ("seconds", "step_s"), [(0.4, 0.1), (1, 0.1), (3.003, 0.1), (8, 0.13), (7.7, 0.5), (65, 0.25)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_exactly_the_union_of_a_diarization(
    tmp_path: Path, seed: int, seconds: float, step_s: float
) -> None:
    models, samples = publish(tmp_path), babble(seed, seconds)
    found = detected(models, samples, step_s=step_s)
    with diarizer(models, step_s=step_s) as loaded:
        full = diarized(loaded, samples)
    assert np.array_equal(found.speaker_count, full.speaker_count)
    assert found.hop_s == full.hop_s
    assert found.duration_s == full.duration_s
    union = [(span.start_s, span.end_s) for span in covered(full.turns)]
    assert times(found.speech) == union
    assert times(found.overlap) == [(span.start_s, span.end_s) for span in full.turns.overlap()]
    if seconds > 5:
        assert found.speech
        assert found.overlap


# Short turns and pauses


def test_short_pauses_are_filled_and_short_turns_dropped(segmentation_only: Path) -> None:
    samples = np.concatenate(
        [speech(1, 0), silence(0.2), speech(1, 0), silence(0.8), speech(0.3, 0), silence(1)]
    )
    plain = detected(segmentation_only, samples)
    assert near(plain.speech, [(0, 1), (1.2, 2.2), (3, 3.3)])
    filled = detected(segmentation_only, samples, min_duration_off_s=0.5)
    assert near(filled.speech, [(0, 2.2), (3, 3.3)])
    both = detected(segmentation_only, samples, min_duration_off_s=0.5, min_duration_on_s=0.5)
    assert near(both.speech, [(0, 2.2)])
    # Pauses first: two short turns and what is between them are a long one.
    everything = detected(segmentation_only, samples, min_duration_off_s=1, min_duration_on_s=2)
    assert near(everything.speech, [(0, 3.3)])
    for each in (filled, both, everything):
        assert np.array_equal(each.speaker_count, plain.speaker_count)


def test_a_turn_as_long_as_the_shortest_stays(segmentation_only: Path) -> None:
    with detector(segmentation_only) as loaded:
        heard = loaded(dialogue(), source_rate_hz=RATE_HZ)
        grid = loaded.grid
    plain = heard.speech
    # Before times are rounded.
    turns = within(to_turns((heard.speaker_count > 0)[:, None], grid), heard.duration_s)
    shortest_s = min(turn.duration_s for turn in turns)
    assert detected(segmentation_only, dialogue(), min_duration_on_s=shortest_s).speech == plain
    longer_s = np.nextafter(shortest_s, 9)
    assert len(detected(segmentation_only, dialogue(), min_duration_on_s=longer_s).speech) == 2


# Any audio


@pytest.mark.parametrize("samples", [1, 2, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
def test_silence_and_speech_of_any_length(segmentation_only: Path, samples: int) -> None:
    silent = detected(segmentation_only, np.zeros(samples, np.float32))
    assert not silent.speech
    assert not silent.overlap
    assert silent.duration_s == samples / RATE_HZ
    loud = detected(segmentation_only, np.full(samples, 0.5, np.float32))
    assert loud.speech.end_s <= loud.duration_s
    assert bool(loud.speech) == (samples > 2)


def test_what_cannot_be_read(segmentation_only: Path, tmp_path: Path) -> None:
    with detector(segmentation_only) as loaded:
        for samples, reason in ((np.zeros(0), "no samples"), (np.array([np.nan]), "NaN")):
            with pytest.raises(AudioError, match=reason):
                loaded(samples.astype(np.float32), source_rate_hz=RATE_HZ)
        with pytest.raises(AudioError, match=r"nowhere\.wav"):
            loaded(tmp_path / "nowhere.wav")
        with pytest.raises(AudioError, match="source_rate_hz"):
            loaded(dialogue())


def test_files_are_streamed(segmentation_only: Path, tmp_path: Path) -> None:
    samples = np.tile(meeting(), 8)
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ, subtype="FLOAT")
    with detector(segmentation_only) as loaded:
        result = loaded(tmp_path / "a.wav")
    assert result.speech == detected(segmentation_only, samples).speech
    assert len(result.speech) == 16


def test_threads_do_not_change_the_answer(segmentation_only: Path) -> None:
    samples = babble(3, 130)
    one, four = (detected(segmentation_only, samples, threads=number) for number in (1, 4))
    assert one.speech == four.speech
    assert one.overlap == four.overlap


def test_memory_does_not_grow_with_the_masks(segmentation_only: Path) -> None:
    samples = np.tile(meeting(), 90)
    peaks: list[int] = []
    with detector(segmentation_only, threads=1) as loaded:
        loaded(samples[: 60 * RATE_HZ], source_rate_hz=RATE_HZ)
        tracemalloc.start()
        loaded(
            samples,
            source_rate_hz=RATE_HZ,
            progress=lambda _: peaks.append(tracemalloc.get_traced_memory()[1]),
        )
        tracemalloc.stop()
    # A byte for each of 90,000 frames; all masks of these 15 minutes would be 2.7 MB.
    assert len(peaks) > 1000
    assert peaks[-1] - peaks[10] < 400_000


def test_progress(segmentation_only: Path) -> None:
    told: list[Progress] = []
    with detector(segmentation_only) as loaded:
        loaded(babble(0, 70), source_rate_hz=RATE_HZ, progress=told.append)
    assert {each.stage for each in told} == {"windows"}
    done = [each.done_s for each in told]
    assert done == sorted(done)
    assert done[-1] == told[-1].total_s == 70


def test_a_hook_that_raises_leaves_no_thread(segmentation_only: Path) -> None:
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with detector(segmentation_only, threads=3) as loaded, pytest.raises(KeyboardInterrupt):
        loaded(babble(0, 200), source_rate_hz=RATE_HZ, progress=stop)


# Refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads"),
        ({"step_s": 0.0}, "step_s"),
        ({"step_s": 1.5}, "step_s"),
        ({"step_s": float("nan")}, "step_s"),
        ({"min_duration_on_s": -1.0}, "min_duration_on_s"),
        ({"min_duration_off_s": float("inf")}, "min_duration_off_s"),
        ({"min_duration_on_s": float("nan")}, "min_duration_on_s"),
    ],
)
def test_options_out_of_range(
    segmentation_only: Path, options: dict[str, float], message: str
) -> None:
    with pytest.raises(OptionsError, match=message):
        detector(segmentation_only, **options)


def test_a_closed_detector_and_a_missing_network(segmentation_only: Path, tmp_path: Path) -> None:
    with detector(segmentation_only) as loaded:
        pass
    with pytest.raises(SessionClosedError):
        loaded(dialogue(), source_rate_hz=RATE_HZ)
    with pytest.raises(ArtifactNotFoundError):
        detector(tmp_path)
