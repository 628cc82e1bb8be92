"""Counts that come in parts, against ``speaker_count`` on all masks at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import InputError
from voxport.runtime.detection.counts import CountTrack
from voxport.runtime.stages import FrameGrid, speaker_count

REAL = FrameGrid(16000, 160000, 589, 270, 991)
TINY = FrameGrid(1600, 100, 9, 10, 33)


@given(
    seed=st.integers(0, 2**32 - 1),
    grid=st.sampled_from([REAL, TINY]),
    num_windows=st.integers(1, 40),
    step=st.floats(0.05, 1),
    parts=st.lists(st.integers(1, 8), min_size=40, max_size=40),
)
def test_it_is_the_count_of_all_masks(
    seed: int, grid: FrameGrid, num_windows: int, step: float, parts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    starts = np.arange(num_windows) * max(grid.hop_samples, round(step * grid.window_samples))
    masks = (rng.random((num_windows, grid.window_frames, 3)) < 0.4).astype(np.uint8)
    track, first = CountTrack(grid), 0
    for size in parts:
        if first < num_windows:
            track.add(masks[first : first + size], starts[first : first + size])
            first += size
    counts = track.result()
    assert counts.dtype == np.uint8
    assert np.array_equal(counts, speaker_count(masks, starts, grid))


def test_without_windows_there_are_no_frames() -> None:
    assert CountTrack(REAL).result().shape == (0,)


def test_halves_round_to_even() -> None:
    masks = np.zeros((2, 9, 1), np.uint8)
    masks[0] = 1
    track = CountTrack(TINY)
    # The second window begins at frame 5: what one of two finds active is silent.
    track.add(masks, np.array([0, 50]))
    assert track.result()[:14].tolist() == [1] * 5 + [0] * 9


@pytest.mark.parametrize(
    ("frames", "starts"), [(8, [100]), (9, [100, 200]), (9, [-1]), (9, [0]), (9, [])]
)
def test_what_does_not_fit(frames: int, starts: list[int]) -> None:
    track = CountTrack(TINY)
    track.add(np.ones((1, 9, 2), np.uint8), np.array([90]))
    with pytest.raises(InputError):
        track.add(np.ones((1, frames, 2), np.uint8), np.array(starts, np.int64))
