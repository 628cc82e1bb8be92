"""How many speak, and with which masks embeddings are pooled, against loops over everything."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_scenes import PYANNOTE, SMALL, Array, Scene, scenes
from voxport.runtime import InputError, OptionsError
from voxport.runtime.stages import clean_masks, embedding_masks, speaker_count, training_embeddings


def frame_counts(scene: Scene) -> list[int]:
    """Averages in exact fractions, rounded half to even."""
    offsets = SMALL.window_offsets(scene.starts)
    counts = []
    for frame in range(SMALL.num_frames(scene.starts)):
        seen = [
            int(mask[frame - offset].sum())
            for mask, offset in zip(scene.masks, offsets, strict=True)
            if 0 <= frame - offset < SMALL.window_frames
        ]
        counts.append(round(Fraction(sum(seen), len(seen))) if seen else 0)
    return counts


@given(scenes())
def test_count_is_the_rounded_average(scene: Scene) -> None:
    count = speaker_count(scene.masks, scene.starts, SMALL)

    assert count.dtype == np.uint8
    assert count.tolist() == frame_counts(scene)


@given(scenes(), st.integers(1, 3))
def test_count_is_capped(scene: Scene, most: int) -> None:
    count = speaker_count(scene.masks, scene.starts, SMALL, max_speakers=most)

    assert count.tolist() == [min(most, figure) for figure in frame_counts(scene)]


@given(scenes())
def test_count_ignores_the_order_of_local_speakers(scene: Scene) -> None:
    reordered = scene.masks[:, :, ::-1]

    expected = speaker_count(scene.masks, scene.starts, SMALL)

    assert np.array_equal(speaker_count(reordered, scene.starts, SMALL), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.bool_, np.int64])
def test_masks_of_any_dtype(dtype: type) -> None:
    masks = np.zeros((2, 9, 3), dtype)
    masks[:, 2:6, 0] = 1
    starts = np.array([0, 10])

    assert speaker_count(masks, starts, SMALL).tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert clean_masks(masks).dtype == dtype
    assert embedding_masks(masks, 100).dtype == np.float32


def test_half_of_two_windows_is_silence() -> None:
    masks = np.zeros((2, 9, 1), np.uint8)
    masks[0] = 1

    count = speaker_count(masks, np.array([0, 50]), SMALL)

    assert count.tolist() == [1] * 5 + [0] * 11


@pytest.mark.parametrize(
    "masks",
    [np.zeros((2, 9)), np.zeros((2, 9, 0)), np.full((2, 9, 3), 0.5), np.full((2, 9, 3), np.nan)],
)
def test_masks_that_are_none(masks: Array) -> None:
    with pytest.raises(InputError, match="masks"):
        speaker_count(masks, np.array([0, 10]), SMALL)


@pytest.mark.parametrize("shape", [(3, 9, 3), (2, 8, 3)])
def test_masks_must_fit_starts_and_grid(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="2 windows of 9 frames"):
        speaker_count(np.zeros(shape), np.array([0, 10]), SMALL)


def test_a_cap_below_one_is_refused() -> None:
    with pytest.raises(OptionsError, match="max_speakers"):
        speaker_count(np.zeros((1, 9, 3)), np.array([0]), SMALL, max_speakers=0)


# Masks for embeddings


@given(scenes(), st.integers(1, 120))
def test_embedding_masks(scene: Scene, min_num_samples: int) -> None:
    used = embedding_masks(scene.masks, SMALL.window_samples, min_num_samples)

    min_num_frames = math.ceil(Fraction(9 * min_num_samples, 100))
    assert used.flags.c_contiguous
    assert used.shape == scene.masks.transpose(0, 2, 1).shape
    for window, mask in enumerate(scene.masks):
        for speaker in range(mask.shape[1]):
            clean = [int(frame[speaker] and sum(frame) == 1) for frame in mask]
            full = mask[:, speaker].tolist()
            expected = clean if sum(clean) > min_num_frames else full
            assert used[window, speaker].tolist() == expected


@pytest.mark.parametrize(("alone", "serves"), [(2, False), (3, True)])
def test_a_clean_mask_needs_more_than_two_frames(alone: int, serves: bool) -> None:
    """589 frames in 160,000 samples: 400 samples are 1.47 frames, rounded up to 2."""
    masks = np.zeros((1, 589, 2), np.float32)
    masks[0, :100, 0] = 1
    masks[0, alone:100, 1] = 1

    used = embedding_masks(masks, PYANNOTE.window_samples)

    assert used[0, 0].sum() == (alone if serves else 100)
    # Nothing of the second speaker is clean.
    assert used[0, 1].sum() == 100 - alone


def test_samples_of_embedding_masks_must_be_positive() -> None:
    with pytest.raises(InputError, match="at least 1 sample"):
        embedding_masks(np.zeros((1, 9, 1)), 0)


# Which embeddings serve for training


@given(scenes(), st.integers(0, 2**32 - 1))
def test_training_embeddings(scene: Scene, seed: int) -> None:
    rng = np.random.default_rng(seed)
    windows, frames, speakers = scene.masks.shape
    embeddings = rng.normal(size=(windows, speakers, 4)).astype(np.float32)
    embeddings[rng.uniform(size=(windows, speakers)) < 0.2, 1] = np.nan
    embeddings[rng.uniform(size=(windows, speakers)) < 0.1] = 0
    embeddings[rng.uniform(size=(windows, speakers)) < 0.1, 3] = np.inf

    found = training_embeddings(embeddings, scene.masks)

    expected = [
        (window, speaker)
        for window in range(windows)
        for speaker in range(speakers)
        if sum(f[speaker] and sum(f) == 1 for f in scene.masks[window]) >= 0.2 * frames
        and all(map(math.isfinite, embeddings[window, speaker]))
        and any(embeddings[window, speaker])
    ]
    assert list(zip(found.windows.tolist(), found.speakers.tolist(), strict=True)) == expected
    assert found.embeddings.dtype == np.float32
    assert np.array_equal(found.embeddings, embeddings[found.windows, found.speakers])


@pytest.mark.parametrize(("frames", "enough"), [(117, False), (118, True)])
def test_a_fifth_of_the_window_is_enough(frames: int, enough: bool) -> None:
    masks = np.zeros((1, 589, 1), np.float32)
    masks[0, :frames] = 1

    assert len(training_embeddings(np.ones((1, 1, 4)), masks).embeddings) == enough


@pytest.mark.parametrize(
    "embeddings",
    [np.zeros((2, 3, 4)), np.zeros((1, 2, 4)), np.zeros((1, 4)), np.zeros((1, 3, 4), int)],
)
def test_embeddings_must_fit_the_masks(embeddings: Array) -> None:
    with pytest.raises(InputError, match="embeddings"):
        training_embeddings(embeddings, np.zeros((1, 9, 3)))
