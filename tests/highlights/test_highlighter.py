"""Highlights of files and of live audio, against float64 and against each other."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published_highlights import publish_highlights
from scipy.stats import zscore
from signals import full_scale_noise, silence, speechlike
from voxport.graphs.highlights import HighlightsConfig
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    AudioError,
    SessionClosedError,
    load,
)
from voxport.runtime.diarization import Progress
from voxport.runtime.highlights import ChatCounts, Highlighter, HighlightResult, HighlightStream
from voxport.runtime.highlights.levels import FILE_BLOCK_SAMPLES
from voxport.runtime.highlights.selection import Selection

RATE_HZ = 16000
Samples = npt.NDArray[np.float32]


@lru_cache(maxsize=1)
def _show() -> Samples:
    samples = 0.2 * np.tile(speechlike(20 * RATE_HZ, seed=1), 3)
    samples[20 * RATE_HZ : 23 * RATE_HZ] += 0.5 * full_scale_noise(3 * RATE_HZ, seed=2)
    samples = samples.astype(np.float32)
    samples.flags.writeable = False
    return samples


def show(seconds: int = 60) -> Samples:
    """Speech, with applause from 20 to 23 s."""
    return _show()[: seconds * RATE_HZ]


def found(highlighter: Highlighter, samples: Samples, *rest: ChatCounts) -> HighlightResult:
    return highlighter(samples, *rest, source_rate_hz=RATE_HZ)


def assert_same(one: HighlightResult, other: HighlightResult) -> None:
    """But for the last bit of levels: kernels treat the ends of a call by other instructions."""
    np.testing.assert_allclose(one.rms, other.rms, rtol=2e-7, atol=0)
    for name in ("z", "chat_smoothed", "score"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=0, atol=2e-6)
    for name in ("peak_mask", "highlight_mask"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.duration_s, one.artifacts) == (other.duration_s, other.artifacts)
    times = [[(m.start_s, m.end_s) for m in result.moments] for result in (one, other)]
    assert times[0] == times[1]
    for first, second in zip(one.moments, other.moments, strict=True):
        assert first.score == pytest.approx(second.score, abs=2e-6)


def test_what_is_loud_is_a_highlight(highlighter: Highlighter) -> None:
    result = found(highlighter, show())
    (moment,) = result.moments
    assert moment.start_s == pytest.approx(20, abs=0.4)
    assert moment.end_s == pytest.approx(23, abs=0.4)
    assert moment.score == result.score.max() > 2
    assert result.duration_s == 60
    assert len(result.rms) == 597
    assert (result.frame_s, result.hop_s) == (0.4, 0.1)
    assert [used.name for used in result.artifacts] == ["highlights_rms", "highlights_score"]
    assert {"reading", "levels", "scores", "total"} == set(result.seconds)


def test_numbers_are_those_of_numpy_and_scipy_in_float64(highlighter: Highlighter) -> None:
    samples, rng = show(), np.random.default_rng(0)
    chat = ChatCounts.of_messages(rng.uniform(0, 60, 300))
    result = found(highlighter, samples, chat)
    squares = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64) ** 2, 6400)
    rms = np.sqrt(squares[::1600].mean(axis=1))
    counts = np.histogram(chat.times_s, np.arange(len(rms) + 1) * 0.1)[0]
    smoothed = np.convolve(counts, np.ones(51) / 51, "same")
    for name, expected in (
        ("rms", rms),
        ("z", zscore(rms)),
        ("chat_smoothed", smoothed),
        ("score", zscore(rms) + zscore(smoothed)),
    ):
        np.testing.assert_allclose(getattr(result, name), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(result.peak_mask, zscore(rms) > 2)
    np.testing.assert_array_equal(result.highlight_mask, result.score > 2)


def test_a_lively_chat_is_a_highlight_too(highlighter: Highlighter) -> None:
    # Without the applause.
    samples = np.tile(show(20), 3)
    chat = ChatCounts(np.array([5.0, 40.0, 41.0, 42.0]), np.array([1.0, 30, 50, 30]))
    assert not any(m.start_s < 41 < m.end_s for m in found(highlighter, samples).moments)
    assert any(m.start_s < 41 < m.end_s for m in found(highlighter, samples, chat).moments)


def test_messages_after_the_end_do_not_count(highlighter: Highlighter) -> None:
    late = ChatCounts(np.array([1e6]), np.array([5.0]))
    assert_same(found(highlighter, show(), late), found(highlighter, show()))


def test_the_stages_are_the_graph_of_the_whole(
    highlighter: Highlighter, highlight_models: Path
) -> None:
    """Levels of blocks are those of all samples at once."""
    samples = np.tile(show(), 3)
    assert len(samples) > 2 * FILE_BLOCK_SAMPLES
    result = found(highlighter, samples)
    chat = np.zeros((1, len(result.rms)), np.float32)
    whole = load("highlights", models=highlight_models, device="cpu").run(
        waveform=samples[None, None], chat=chat
    )
    assert_same(result, replace(result, **{name: array[0] for name, array in whole.items()}))


# Live


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), most=st.integers(1, 40_000))
def test_live_audio_ends_at_the_same_answer(highlighter: Highlighter, seed: int, most: int) -> None:
    samples, rng = show(30), np.random.default_rng(seed)
    chat = ChatCounts.of_messages(rng.uniform(0, 30, 50))
    cuts = np.cumsum(rng.integers(0, most + 1, 2 * len(samples) // max(most, 2000) + 1))
    stream, z = highlighter.stream(), []
    for number, piece in enumerate(np.split(samples, cuts[cuts < len(samples)])):
        z.append(stream.push(piece).z)
        if number == 3:
            stream.push_chat(chat)
    statistics = stream.statistics
    result = stream.finish()
    offline = found(highlighter, samples, chat)
    assert_same(result, offline)
    assert sum(map(len, z)) == len(result.z)
    # The statistics that judge while it goes on end at those of the graph.
    np.testing.assert_allclose(statistics.z(result.rms), offline.z, rtol=0, atol=1e-5)


def test_moments_are_provisional(highlighter: Highlighter) -> None:
    stream, samples = highlighter.stream(), show()
    assert stream.moments() == ()
    stream.push(samples[: 30 * RATE_HZ])
    (early,) = stream.moments()
    assert early.start_s == pytest.approx(20, abs=0.4)
    # Something louder makes what was a highlight ordinary.
    loud = full_scale_noise(5 * RATE_HZ, seed=3)
    update = stream.push(loud)
    assert update.now_s == 35
    assert update.start_s == pytest.approx(29.7)
    assert update.peaks.any()
    assert len(update.rms) == len(update.z) == 50
    (late,) = stream.moments()
    assert late.start_s > 29
    assert stream.finish().moments == (late,)


def test_live_audio_of_other_rates_and_channels(highlighter: Highlighter) -> None:
    samples = show(20)
    stereo = (np.repeat(samples, 3)[:, None] * [1.0, 0.5] * 32767).astype(np.int16)
    stream = highlighter.stream(source_rate_hz=48000, num_channels=2)
    for piece in np.array_split(stereo, 11):
        stream.push(piece)
    offline = highlighter(stereo, source_rate_hz=48000)
    np.testing.assert_allclose(stream.finish().rms, offline.rms, rtol=0, atol=1e-6)


def test_errors_of_live_audio(highlighter: Highlighter) -> None:
    with pytest.raises(AudioError, match="channels"):
        highlighter.stream(num_channels=0)
    stream: HighlightStream = highlighter.stream()
    with pytest.raises(AudioError, match="NaN"):
        stream.push(np.array([np.nan], np.float32))
    with pytest.raises(AudioError, match="before any sample"):
        stream.finish()
    with pytest.raises(SessionClosedError, match="finished"):
        stream.push(np.zeros(1, np.float32))
    with pytest.raises(SessionClosedError, match="finished"):
        stream.push_chat(ChatCounts.of_messages([1.0]))


# Any audio


@pytest.mark.parametrize("count", [1, 100, 6399, 6400, 6401, 7999, 8000, 48000])
def test_silence_and_audio_of_any_length(highlighter: Highlighter, count: int) -> None:
    silent = found(highlighter, silence(count))
    assert silent.moments == ()
    assert not silent.score.any()
    assert len(silent.rms) == max(1, 1 + (count - 6400) // 1600)
    assert silent.duration_s == count / RATE_HZ
    loud = found(highlighter, np.full(count, 0.5, np.float32))
    assert loud.moments == ()
    stream = highlighter.stream()
    stream.push(silence(count))
    assert_same(stream.finish(), silent)


def test_a_tone_has_no_highlights(highlighter: Highlighter) -> None:
    times_s = np.arange(20 * RATE_HZ) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 440.3 * times_s)).astype(np.float32)
    assert found(highlighter, tone).moments == ()


def test_what_cannot_be_read(highlighter: Highlighter, tmp_path: Path) -> None:
    for samples, reason in (
        (np.zeros(0), "no samples"),
        (np.array([np.nan] * 9000), "NaN"),
        (np.full(9000, 1e25), "array: holds samples beyond 1e19"),
    ):
        with pytest.raises(AudioError, match=reason):
            found(highlighter, samples.astype(np.float32))
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        highlighter(tmp_path / "nowhere.wav")
    with pytest.raises(AudioError, match="source_rate_hz"):
        highlighter(show())


def test_files_are_streamed_in_bounded_memory(highlighter: Highlighter, tmp_path: Path) -> None:
    samples = np.tile(show(), 10)
    soundfile.write(tmp_path / "a.wav", np.stack([samples] * 2, axis=1), RATE_HZ, subtype="FLOAT")
    told: list[Progress] = []
    tracemalloc.start()
    result = highlighter(tmp_path / "a.wav", progress=told.append)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_same(result, found(highlighter, samples))
    # A block, joined, and what is cut from it: not the 38 MB of the file.
    assert peak < 6 * 4 * FILE_BLOCK_SAMPLES < samples.nbytes
    assert {each.stage for each in told} == {"levels"}
    assert told[-1].done_s == told[-1].total_s == result.duration_s


def test_other_configurations(tmp_path: Path) -> None:
    config = HighlightsConfig(frame_s=0.025, hop_s=0.01, score_threshold=0.5, chat_window_s=1.0)
    models = publish_highlights(tmp_path / "models", config)
    with Highlighter(models=models, device="cpu") as loaded:
        result = found(loaded, show(), ChatCounts.of_messages([1.0]))
    assert (result.frame_s, result.hop_s, result.score_threshold) == (0.025, 0.01, 0.5)
    assert len(result.rms) == config.num_frames(60 * RATE_HZ)
    np.testing.assert_array_equal(result.highlight_mask, result.score > 0.5)
    assert (result.chat_smoothed > 0).sum() == 101


def test_the_selection_is_applied(highlighter: Highlighter) -> None:
    result = highlighter(show(), source_rate_hz=RATE_HZ, selection=Selection(min_duration_s=10))
    assert result.moments == ()
    assert result.highlight_mask.any()


# Refused


def test_artifacts_of_different_exports(highlight_models: Path, tmp_path: Path) -> None:
    other = publish_highlights(tmp_path / "models", HighlightsConfig(hop_s=0.2))
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    rows = []
    for name, folder in (("highlights_rms", highlight_models), ("highlights_score", other)):
        manifest = json.loads((folder / "manifest.json").read_text())
        rows += [row for row in manifest["artifacts"] if row["path"].startswith(name)]
        path = f"{name}.fp32.onnx"
        (mixed / path).write_bytes((folder / path).read_bytes())
    (mixed / "manifest.json").write_text(json.dumps({**manifest, "artifacts": rows}))
    with pytest.raises(ArtifactError, match="hop_samples 1600, but highlights_score has 3200"):
        Highlighter(models=mixed, device="cpu")


def test_a_closed_highlighter_and_missing_graphs(highlight_models: Path, tmp_path: Path) -> None:
    with Highlighter(models=highlight_models, device="cpu") as loaded:
        stream = loaded.stream()
    with pytest.raises(SessionClosedError):
        found(loaded, show(1))
    with pytest.raises(SessionClosedError):
        stream.push(show(1))
    with pytest.raises(ArtifactNotFoundError):
        Highlighter(models=tmp_path)
