from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import zscore
from signals import full_scale_noise, speechlike
from voxport.graphs.highlights import (
    FrameRms,
    Highlights,
    HighlightsConfig,
    HighlightScore,
    averaging_steps,
    z_scores,
)

CONFIG = HighlightsConfig()
Outputs = dict[str, npt.NDArray[np.float32]]
NAMES = ("z", "peak_mask", "chat_smoothed", "score", "highlight_mask")


def rms(samples: npt.NDArray[np.float32], config: HighlightsConfig = CONFIG) -> npt.NDArray:
    with torch.no_grad():
        return FrameRms(config)(torch.from_numpy(samples)[None, None]).numpy()[0]


def scored(
    levels: npt.ArrayLike, chat: npt.ArrayLike | None = None, config: HighlightsConfig = CONFIG
) -> Outputs:
    first = torch.from_numpy(np.asarray(levels, np.float32))[None]
    second = torch.zeros_like(first)
    if chat is not None:
        second = torch.from_numpy(np.asarray(chat, np.float32))[None]
    with torch.no_grad():
        outputs = HighlightScore(config)(first, second)
    return {name: each.numpy()[0] for name, each in zip(NAMES, outputs, strict=True)}


def textbook_rms(
    samples: npt.NDArray[np.float32], config: HighlightsConfig
) -> npt.NDArray[np.float64]:
    frames = np.lib.stride_tricks.sliding_window_view(
        samples.astype(np.float64), config.frame_samples
    )[:: config.hop_samples]
    return np.sqrt((frames**2).mean(axis=1))


# Levels


@pytest.mark.parametrize(
    ("frame_s", "hop_s"), [(0.4, 0.1), (0.025, 0.01), (1.0, 1.0), (0.3, 0.2), (1601 / 16000, 0.07)]
)
@pytest.mark.parametrize("extra", [0, 1, 159, 4711])
def test_levels_are_root_mean_squares(frame_s: float, hop_s: float, extra: int) -> None:
    config = HighlightsConfig(frame_s=frame_s, hop_s=hop_s)
    samples = speechlike(config.frame_samples + 3 * config.hop_samples + extra, seed=1)
    expected = textbook_rms(samples, config)
    found = rms(samples, config)
    assert len(found) == len(expected) == config.num_frames(len(samples))
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


def test_levels_do_not_depend_on_what_follows() -> None:
    """The runtime measures a stream in blocks."""
    samples = full_scale_noise(100_000, seed=2)
    whole = rms(samples)
    for frames in (1, 7, 30):
        part = rms(samples[: CONFIG.frame_samples + (frames - 1) * CONFIG.hop_samples])
        np.testing.assert_array_equal(part, whole[:frames])


@given(st.integers(1, 10**6))
def test_averages_are_made_in_small_steps(size: int) -> None:
    steps = averaging_steps(size)
    assert np.prod(steps, dtype=np.int64) == size
    largest_prime = max((p for p in range(2, 1001) if size % p == 0), default=1)
    assert max(steps) <= 64 or largest_prime > 64 or size > 1000


# Scores


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), num_frames=st.integers(2, 5000))
def test_z_scores_are_those_of_scipy(seed: int, num_frames: int) -> None:
    levels = np.random.default_rng(seed).lognormal(-3, 1, num_frames).astype(np.float32)
    np.testing.assert_allclose(
        scored(levels)["z"], zscore(levels.astype(np.float64)), rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize(
    ("mean", "deviation"), [(0.1, 0.05), (0.5, 1e-3), (1e-4, 5e-5), (0.3, 9e-4)]
)
def test_three_hours_are_accurate_to_a_hundred_thousandth(mean: float, deviation: float) -> None:
    """1.08 million frames, in hops of 10 ms; a running float32 sum is not."""
    rng = np.random.default_rng(3)
    levels = np.abs(mean + deviation * rng.standard_normal(3 * 3600 * 100)).astype(np.float32)
    expected = zscore(levels.astype(np.float64))
    assert np.abs(scored(levels)["z"] - expected).max() < 1e-5
    running = np.cumsum(levels, dtype=np.float32)[-1] / np.float32(len(levels))
    assert np.abs((levels - running) / levels.astype(np.float64).std() - expected).max() > 3e-5


def test_chat_is_smoothed_by_a_moving_average() -> None:
    config = HighlightsConfig(chat_window_s=0.5)
    assert config.chat_frames == 5
    chat = np.random.default_rng(4).poisson(1.0, 50)
    smoothed = scored(np.ones(50), chat, config)["chat_smoothed"]
    np.testing.assert_allclose(smoothed, np.convolve(chat, np.ones(5) / 5, "same"), atol=1e-6)


def test_the_score_is_a_weighted_sum() -> None:
    config = HighlightsConfig(loudness_weight=0.5, chat_weight=2.0, chat_window_s=0.1)
    rng = np.random.default_rng(5)
    levels, chat = rng.lognormal(-3, 1, 300), rng.poisson(1.0, 300)
    found = scored(levels, chat, config)
    expected = 0.5 * zscore(levels) + 2 * zscore(found["chat_smoothed"].astype(np.float64))
    np.testing.assert_allclose(found["score"], expected, atol=1e-5)


def test_masks_begin_strictly_above_their_thresholds() -> None:
    config = HighlightsConfig(peak_threshold=1.0, score_threshold=-1.0)
    found = scored([0.0, 2.0, 0.0, 2.0], config=config)
    np.testing.assert_array_equal(found["z"], [-1, 1, -1, 1])
    np.testing.assert_array_equal(found["peak_mask"], [0, 0, 0, 0])
    np.testing.assert_array_equal(found["highlight_mask"], [0, 1, 0, 1])


@pytest.mark.parametrize("level", [0.0, 0.1, 0.5, 1e-12, 1.0])
@pytest.mark.parametrize("num_frames", [1, 2, 127, 128, 129, 70_001])
def test_without_variation_nothing_stands_out(level: float, num_frames: int) -> None:
    found = scored(np.full(num_frames, level))
    for name in NAMES:
        assert np.abs(found[name]).max() < 1e-3, name


def test_a_tone_is_no_highlight() -> None:
    """Its levels differ by their rounding: a z-score must not magnify that."""
    samples = (0.3 * np.sin(2 * np.pi * 440.3 * np.arange(480_000) / 16000)).astype(np.float32)
    found = scored(rms(samples))
    assert np.abs(found["z"]).max() < 2.0
    assert not found["peak_mask"].any()


def test_rows_of_a_batch_are_streams_of_their_own() -> None:
    rng = np.random.default_rng(6)
    levels = torch.from_numpy(rng.lognormal(-3, 1, (3, 400)).astype(np.float32))
    chat = torch.from_numpy(rng.poisson(1.0, (3, 400)).astype(np.float32))
    graph = HighlightScore(CONFIG)
    with torch.no_grad():
        together = graph(levels, chat)
        for row in range(3):
            alone = graph(levels[row : row + 1], chat[row : row + 1])
            for one, other in zip(together, alone, strict=True):
                torch.testing.assert_close(one[row], other[0], rtol=1e-6, atol=1e-6)


def test_the_whole_is_its_stages() -> None:
    samples = torch.from_numpy(speechlike(64_000, seed=7))[None, None]
    graph = Highlights(CONFIG)
    chat = torch.ones(1, CONFIG.num_frames(64_000))
    with torch.no_grad():
        levels, *scores = graph(samples, chat)
        assert torch.equal(levels, FrameRms(CONFIG)(samples))
        for one, other in zip(scores, HighlightScore(CONFIG)(levels, chat), strict=True):
            assert torch.equal(one, other)


def test_z_scores_keep_channels_apart() -> None:
    values = torch.tensor([[[1.0, 3.0, 1.0, 3.0], [0.0, 0.0, 0.0, 4.0]]])
    expected = [[-1, 1, -1, 1], zscore([0.0, 0.0, 0.0, 4.0]).tolist()]
    np.testing.assert_allclose(z_scores(values)[0].numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frame_s": 0.0}, "frame_s"),
        ({"frame_s": float("nan")}, "frame_s"),
        ({"hop_s": 0.5}, "hop_s"),
        ({"hop_s": 1e-6}, "hop_s"),
        ({"chat_window_s": -1.0}, "chat_window_s"),
        ({"chat_weight": float("inf")}, "chat_weight"),
        ({"peak_threshold": float("nan")}, "peak_threshold"),
        ({"sample_rate_hz": 0}, "sample_rate_hz"),
    ],
)
def test_configurations_out_of_range(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HighlightsConfig(**values)  # type: ignore[arg-type]
