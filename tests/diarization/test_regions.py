"""Which region a mask is pooled in, and where in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_artifacts import FRAMES, HOP, RATE_HZ, WINDOW
from voxport.runtime.diarization.regions import Region, placed
from voxport.runtime.stages import FrameGrid
from voxport.runtime.windows import AudioWindows, WindowBlock, WindowPlan

GRID = FrameGrid(
    sample_rate_hz=RATE_HZ,
    window_samples=WINDOW,
    window_frames=FRAMES,
    hop_samples=HOP,
    receptive_field_samples=HOP,
)


def block(step: int = 160, count: int = 20) -> WindowBlock:
    samples = np.arange(WINDOW + (count - 1) * step, dtype=np.float32)
    plan = WindowPlan(WINDOW, step, count)
    (found,) = AudioWindows(samples, RATE_HZ, plan, source_rate_hz=RATE_HZ)
    return found


def region(step: int = 160, count: int = 20, overlap: int = 320, *, last: bool = False) -> Region:
    advance = step * count
    return Region.of(block(step, count), GRID, advance + overlap, None if last else advance)


def masks(count: int, first: int, last: int) -> np.ndarray:
    """(W, 1, F): active in the frames of one stretch of the block."""
    weights = np.zeros((count, 1, FRAMES), np.float32)
    for window in range(count):
        place = window * 10
        weights[window, 0, max(0, first - place) : max(0, min(FRAMES, last - place))] = 1
    return weights


def test_a_region_ends_where_the_overlap_does_and_the_last_one_with_the_audio() -> None:
    assert np.array_equal(region().waveform, np.arange(20 * 160 + 320))
    assert region().num_frames == 220
    assert region().next_frame == 200
    assert len(region(last=True).waveform) == WINDOW + 19 * 160
    assert region(last=True).next_frame is None


def test_everything_active_is_kept_in_the_last_region() -> None:
    weights = masks(20, 50, 280)
    assert np.array_equal(region(last=True).keeps(weights), weights.any(axis=2))


@pytest.mark.parametrize("stretch", [(0, 200), (150, 215), (0, 220)])
def test_what_lies_here_is_kept(stretch: tuple[int, int]) -> None:
    weights = masks(20, *stretch)
    assert np.array_equal(region().keeps(weights), weights.any(axis=2))


def test_what_lies_in_the_next_region_is_left_to_it() -> None:
    weights = masks(20, 230, 290)
    assert weights.any()
    assert not region().keeps(weights).any()


def test_the_larger_part_decides_and_both_halves_stay_here() -> None:
    # 30 frames before the end of this region at 220, 20 of them behind the next one's start.
    assert region().keeps(masks(20, 190, 221)).sum() == masks(20, 190, 221).any(axis=2).sum()
    late = region().keeps(masks(20, 215, 260))
    windows = masks(20, 215, 260).any(axis=2)
    # Windows that end early see more of it here, the others more of it there.
    assert 0 < late.sum() < windows.sum()
    assert np.array_equal(np.flatnonzero(late), np.flatnonzero(windows)[: late.sum()])


@given(
    st.integers(1, 30),
    st.integers(-150, 250),
    st.integers(0, 200),
)
def test_masks_are_laid_at_their_places_and_cut(count: int, place: int, num_frames: int) -> None:
    rng = np.random.default_rng(count)
    weights = (rng.random((1, 2, count)) < 0.5).astype(np.float32)
    row = placed(weights, np.array([place]), num_frames)
    expected = np.zeros((1, 2, num_frames), np.float32)
    for frame in range(count):
        if 0 <= place + frame < num_frames:
            expected[:, :, place + frame] = weights[:, :, frame]
    assert np.array_equal(row, expected)
