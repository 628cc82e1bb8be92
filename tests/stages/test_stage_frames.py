"""Where windows and frames lie."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_scenes import PYANNOTE, SMALL
from voxport.runtime import ArtifactError, InputError
from voxport.runtime.manifest import Description
from voxport.runtime.stages import FrameGrid

RECIPE: dict[str, Any] = {
    "sample_rate_hz": 16000,
    "window_samples": 160000,
    "window_frames": 589,
    "hop_samples": 270,
    "receptive_field_samples": 991,
}


def description(**changes: Any) -> Description:
    return Description("segmentation", "fp32", (), (), recipe=RECIPE | changes)


def test_the_recipe_of_an_artifact_gives_the_grid() -> None:
    assert FrameGrid.from_description(description()) == PYANNOTE


@pytest.mark.parametrize(
    "changes", [{"hop_samples": None}, {"window_frames": 593}, {"sample_rate_hz": -1}]
)
def test_a_damaged_recipe_is_named(changes: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="segmentation"):
        FrameGrid.from_description(description(**changes))


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(FrameGrid)])
def test_every_figure_must_be_positive(field: str) -> None:
    with pytest.raises(InputError, match="at least 1"):
        dataclasses.replace(PYANNOTE, **{field: 0})


def test_a_window_of_one_second_steps() -> None:
    # 1 s is 59.26 frames.
    assert PYANNOTE.window_offsets(np.arange(5) * 16000).tolist() == [0, 59, 119, 178, 237]


@pytest.mark.parametrize(("windows", "frames"), [(1, 594), (7, 949), (18, 1601), (27, 2134)])
def test_frames_of_a_file(windows: int, frames: int) -> None:
    assert PYANNOTE.num_frames(np.arange(windows) * 16000) == frames


def test_no_window_no_frame() -> None:
    assert PYANNOTE.num_frames(np.zeros(0, np.int64)) == 0


@given(st.integers(0, 40_000), st.integers(1, 20))
def test_offsets_are_the_nearest_frames(window: int, tenths: int) -> None:
    start = window * tenths * 1600

    offset = PYANNOTE.window_offsets(np.array([start]))[0]

    # Steps of whole tenths of a second are never half-way between frames of 270 samples.
    assert offset == round(Fraction(start, 270))


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(9, 12))
def test_the_last_window_lies_within_the_file(starts: list[int], hop: int) -> None:
    grid = dataclasses.replace(SMALL, hop_samples=hop, window_frames=100 // hop)
    ascending = np.sort(np.array(starts))

    last = grid.window_offsets(ascending)[-1]

    assert last + grid.window_frames <= grid.num_frames(ascending)


def test_frame_times_are_middles() -> None:
    times = PYANNOTE.frame_times(3)

    assert times.dtype == np.float64
    assert times == pytest.approx([495.5 / 16000, 765.5 / 16000, 1035.5 / 16000], abs=1e-15)


@pytest.mark.parametrize(
    "starts", [np.array([0.0]), np.array([[0]]), np.array([-1]), np.array([10, 5])]
)
def test_starts_must_be_ascending_samples(starts: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InputError, match="starts"):
        PYANNOTE.window_offsets(starts)
