"""The Diarizer, on tiny exact networks: who speaks when is known to the frame."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_artifacts import HOP, RATE_HZ, WINDOW
from tiny_diarization import (
    FRAME_S,
    dialogue,
    diarized,
    diarizer,
    embedding,
    near,
    publish,
    segmentation,
    silence,
    speech,
)
from voxport.runtime import (
    AudioError,
    OptionsError,
    SessionClosedError,
    load,
)
from voxport.runtime.annotation.rttm import read_rttm, write_rttm
from voxport.runtime.diarization import Diarizer, Settings
from voxport.runtime.stages import (
    AhcOptions,
    FrameGrid,
    ahc_clusters,
    discrete_diarization,
    embedding_masks,
    speaker_count,
    to_turns,
)
from voxport.runtime.windows import AudioWindows, WindowPlan

MODES = ("fast", "exact")


def test_two_voices_are_told_apart(tiny: Diarizer) -> None:
    result = diarized(tiny, dialogue())
    one, other = "SPEAKER_00", "SPEAKER_01"
    if result.turns[0].speaker == other:
        one, other = other, one
    assert near(result, [(0, 3, one), (4, 7, other), (8, 9, one)])
    assert result.exclusive_turns == result.turns
    assert result.duration_s == 9
    assert set(result.embeddings) == set(result.speakers) == {one, other}
    unit = [vector / np.linalg.norm(vector) for vector in result.embeddings.values()]
    assert abs(unit[0] @ unit[1]) < 1e-3  # their rows are orthogonal


@pytest.mark.parametrize("samples", [1, 2, 480, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
def test_silence_of_any_length_has_no_turns(tiny: Diarizer, samples: int) -> None:
    result = diarized(tiny, np.zeros(samples, np.float32))
    assert len(result.turns) == len(result.exclusive_turns) == 0
    assert (result.embeddings, result.speakers) == ({}, ())
    assert result.duration_s == samples / RATE_HZ
    assert not result.speaker_count.any()


def test_a_single_sample_of_speech(tiny: Diarizer) -> None:
    result = diarized(tiny, np.ones(1, np.float32))
    assert len(result.turns) == 0
    assert result.duration_s == 1 / RATE_HZ


def test_a_third_of_a_second_is_one_turn_without_embedding(tiny: Diarizer) -> None:
    # Less than a fifth of a window would do: 0.15 s make no embedding to be known by.
    result = diarized(tiny, speech(0.3, 0)[: round(0.15 * RATE_HZ)])
    assert near(result, [(0, 0.15, "SPEAKER_00")])
    assert result.speakers == ("SPEAKER_00",)
    assert result.embeddings == {}
    longer = diarized(tiny, speech(0.3, 0))
    assert near(longer, [(0, 0.3, "SPEAKER_00")])
    assert np.isfinite(longer.embeddings["SPEAKER_00"]).all()


@pytest.mark.parametrize("extra", [-1, 0, 1, HOP])
@pytest.mark.parametrize("windows", [1, 3])
def test_around_whole_windows_and_blocks(tiny: Diarizer, extra: int, windows: int) -> None:
    samples = np.resize(speech(3.1, 4), windows * WINDOW + extra)
    result = diarized(tiny, samples)
    assert result.duration_s == len(samples) / RATE_HZ
    assert near(result, [(0, result.duration_s, "SPEAKER_00")])
    assert max(turn.end_s for turn in result.turns) <= result.duration_s


def test_speech_to_the_very_end_ends_with_the_audio(fast: Diarizer) -> None:
    result = diarized(fast, np.concatenate([silence(2.5), speech(0.5, 0), np.ones(7, np.float32)]))
    assert result.turns.end_s <= result.duration_s


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 12_000, -1])
def test_what_is_not_finite_is_an_error(tiny: Diarizer, value: float, place: int) -> None:
    samples = dialogue()
    samples[place] = value
    with pytest.raises(AudioError, match="NaN or infinite"):
        diarized(tiny, samples)


def test_no_audio_is_an_error(tiny: Diarizer, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no samples"):
        diarized(tiny, np.zeros(0, np.float32))
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        tiny(tmp_path / "nowhere.wav")
    (tmp_path / "text.wav").write_text("this is no audio")
    with pytest.raises(AudioError, match=r"text\.wav"):
        tiny(tmp_path / "text.wav")


def test_clipped_and_constant_audio(tiny: Diarizer) -> None:
    clipped = np.clip(3 * dialogue(), -1, 1)
    assert diarized(tiny, clipped).duration_s == 9
    # A constant is speech to this network, by everyone's voice: none.
    result = diarized(tiny, np.full(3 * RATE_HZ, 0.5, np.float32))
    assert near(result, [(0, 3, "SPEAKER_00")])
    assert not diarized(tiny, np.full(3 * RATE_HZ, 0.1, np.float32)).turns


def test_only_noise_and_only_music_are_what_the_network_says(tiny: Diarizer) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 5 * RATE_HZ).astype(np.float32)
    assert not diarized(tiny, noise).turns
    loud = np.random.default_rng(0).uniform(-1, 1, 5 * RATE_HZ).astype(np.float32)
    assert diarized(tiny, loud).turns == diarized(tiny, loud).turns
    times = np.arange(5 * RATE_HZ) / RATE_HZ
    music = sum(0.2 * np.sin(2 * np.pi * hertz * times) for hertz in (220, 277, 330))
    assert not diarized(tiny, np.asarray(music, np.float32)).turns


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (44100, 2), (48000, 1)])
def test_other_rates_and_channels(
    tiny: Diarizer, tmp_path: Path, rate_hz: int, channels: int
) -> None:
    # Voices 14 and 15 change slowest: resampling keeps them.
    scene = np.concatenate([speech(3, 14), silence(1), speech(3, 15), silence(1)])
    times = np.arange(round(8 * rate_hz)) / rate_hz
    mono = np.interp(times, np.arange(len(scene)) / RATE_HZ, scene)
    path = tmp_path / "scene.wav"
    soundfile.write(path, np.stack([mono] * channels, axis=1), rate_hz, subtype="FLOAT")
    result = tiny(path)
    assert result.duration_s == pytest.approx(8, abs=0.001)
    spans = [(turn.start_s, turn.end_s) for turn in result.turns]
    np.testing.assert_allclose(spans, [(0, 3), (4, 7)], atol=0.03)
    assert len(result.speakers) == 2


def test_twenty_speakers(tiny: Diarizer) -> None:
    parts = [part for voice in range(20) for part in (speech(4, voice), silence(1))]
    result = diarized(tiny, np.concatenate(parts))
    assert len(result.speakers) == len(result.turns) == 20
    assert len({turn.speaker for turn in result.turns}) == 20
    starts = [turn.start_s for turn in result.turns]
    np.testing.assert_allclose(starts, 5.0 * np.arange(20), atol=1.5 * FRAME_S)


def test_one_speaker_for_an_hour(tiny_models: Path) -> None:
    with diarizer(tiny_models, step_s=1.0, threads=2) as loaded:
        result = diarized(loaded, speech(3600, 3))
    assert near(result, [(0, 3600, "SPEAKER_00")])
    assert result.rtfx > 1


@pytest.mark.parametrize("mode", MODES)
def test_threads_and_batches_do_not_change_the_answer(
    tiny_models: Path, tmp_path: Path, mode: str
) -> None:
    rng = np.random.default_rng(5)
    parts = [
        speech(rng.uniform(0.2, 2), int(rng.integers(30)), (0.5, -0.5, 1.0)[rng.integers(3)])
        for _ in range(40)
    ]
    samples = np.concatenate(parts) + rng.normal(0, 0.2, sum(map(len, parts))).astype(np.float32)
    results = []
    for threads, batch_size in [(1, None), (1, None), (2, 1), (4, 3), (2, 64)]:
        with diarizer(tiny_models, mode=mode, threads=threads) as loaded:
            loaded.optimize_for_gpu(batch_size)
            results.append(diarized(loaded, samples))
    first = results[0]
    assert len(first.speakers) > 1
    for other in results[1:]:
        assert other.turns == first.turns
        assert other.exclusive_turns == first.exclusive_turns
        assert np.array_equal(other.speaker_count, first.speaker_count)
        assert other.embeddings.keys() == first.embeddings.keys()
        for speaker, vector in first.embeddings.items():
            assert np.array_equal(other.embeddings[speaker], vector)


def test_exact_mode_is_the_stages_one_after_the_other(tiny_models: Path) -> None:
    samples = dialogue()
    with diarizer(tiny_models, mode="exact") as loaded:
        result = diarized(loaded, samples)
    masks_net = load("segmentation_masks", models=tiny_models, device="cpu")
    voices_net = load("embedding_tiny", models=tiny_models, device="cpu")
    (block,) = AudioWindows(samples, RATE_HZ, WindowPlan(WINDOW, 160, 999), source_rate_hz=RATE_HZ)
    masks = masks_net.run(waveform=block.windows[:, None])["masks"]
    weights = embedding_masks(masks, WINDOW)
    voices = np.stack(
        [
            voices_net.run(waveform=window[None, None], masks=each[None])["embeddings"][0]
            for window, each in zip(block.windows, weights, strict=True)
        ]
    )
    voices[~masks.any(axis=1)] = np.nan
    grid = FrameGrid.from_description(masks_net.description)
    clusters = ahc_clusters(voices, masks, AhcOptions(0.75))
    counts = speaker_count(masks, block.starts, grid)
    full = discrete_diarization(masks, clusters.assignments, counts, block.starts, grid)
    # The last turn ends with the audio, not in the middle of the frame after it; microseconds.
    expected = [
        replace(turn, start_s=round(turn.start_s, 6), end_s=round(min(turn.end_s, 9.0), 6))
        for turn in to_turns(full, grid)
    ]
    assert list(result.turns) == expected
    assert np.array_equal(result.speaker_count, counts)


def test_times_are_printed_on_microseconds(fast: Diarizer) -> None:
    turns = diarized(fast, dialogue()).turns
    text = write_rttm(turns, "a")
    digits = [
        len(column.partition(".")[2]) for line in text.splitlines() for column in line.split()[3:5]
    ]
    assert digits
    assert max(digits) <= 6
    assert read_rttm(io.StringIO(text)) == {"a": turns}


def test_a_file_streams_and_says_the_same(
    fast: Diarizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.concatenate([dialogue(), silence(0.37), dialogue(), np.ones(3, np.float32)])
    path = tmp_path / "dialogue.wav"
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    held = []
    kept = AudioWindows._kept

    def watched(self: AudioWindows, stream: Any) -> Any:
        chunks = kept(self, stream)
        held.append(self._cached)
        return chunks

    monkeypatch.setattr(AudioWindows, "_kept", watched)
    in_memory, streamed = diarized(fast, samples), fast(path)
    with path.open("rb") as file:
        from_file = fast(io.BytesIO(file.read()))
    assert in_memory.turns == streamed.turns == from_file.turns
    assert in_memory.duration_s == streamed.duration_s == len(samples) / RATE_HZ
    # Nothing of the audio is kept: memory does not grow with it.
    assert held == [None, None, None]


@pytest.mark.parametrize(
    ("known", "allowed"),
    [
        ({"num_speakers": 1}, {1}),
        ({"num_speakers": 3}, {3}),
        ({"num_speakers": 4}, {4}),
        ({"min_speakers": 4}, {4}),
        ({"max_speakers": 2}, {2}),
        ({"min_speakers": 2, "max_speakers": 5}, {3}),
    ],
)
def test_numbers_of_speakers_are_honoured(
    tiny: Diarizer, known: dict[str, int], allowed: set[int]
) -> None:
    rng = np.random.default_rng(3)
    parts = [part for voice in (0, 6, 12, 0, 6, 12) for part in (speech(3, voice), silence(1))]
    samples = np.concatenate(parts)
    # Noise in the voices: else those of one speaker are equal and cannot be divided.
    samples += rng.normal(0, 0.05, len(samples)).astype(np.float32) * (samples != 0)
    assert len(diarized(tiny, samples, **known).speakers) in allowed


@pytest.mark.parametrize(
    "known", [{"num_speakers": 0}, {"max_speakers": -1}, {"min_speakers": 3, "max_speakers": 2}]
)
def test_contradictory_numbers_of_speakers(fast: Diarizer, known: dict[str, int]) -> None:
    with pytest.raises(OptionsError, match="speakers"):
        diarized(fast, dialogue(), **known)


def test_as_a_context_manager(tiny_models: Path) -> None:
    with diarizer(tiny_models) as loaded:
        assert diarized(loaded, dialogue()).turns
    with pytest.raises(SessionClosedError):
        diarized(loaded, dialogue())
    loaded.close()


def test_the_embedding_network_can_be_chosen(tmp_path: Path) -> None:
    both = embedding("embedding_a"), embedding("embedding_b")
    models = publish(tmp_path, segmentation(), embedding("embedding_inputs"), *both)

    def used(**choice: str) -> str:
        with Diarizer(models=models, device="cpu", settings=Settings(step_s=0.1), **choice) as one:
            return diarized(one, dialogue()).artifacts[1].name

    assert used() == "embedding_a"
    assert used(embedding="embedding_b") == "embedding_b"


def test_short_pauses_are_filled(tiny_models: Path) -> None:
    with diarizer(tiny_models, min_duration_off_s=1.5) as loaded:
        result = diarized(loaded, np.concatenate([speech(2, 0), silence(1), speech(2, 0)]))
    assert near(result, [(0, 5, "SPEAKER_00")])


def test_blocks_advance_by_a_window_at_least(tiny_models: Path) -> None:
    with diarizer(tiny_models, block_s=0.1) as short, diarizer(tiny_models, block_s=1.2) as window:
        turns = diarized(short, dialogue()).turns
        assert len(turns) == 3
        assert turns == diarized(window, dialogue()).turns
