"""From masks to moments, by hand and against a plain loop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import OptionsError
from voxport.runtime.highlights import Moment
from voxport.runtime.highlights.selection import FrameTimes, Selection, select_moments
from voxport.runtime.highlights.statistics import RunningStatistics

TIMES = FrameTimes(frame_s=0.4, hop_s=0.1, duration_s=100.0)
EVERYTHING = Selection(min_gap_s=0.0, min_duration_s=0.0)


def mask(marks: str) -> npt.NDArray[np.float32]:
    return np.array([mark == "#" for mark in marks], np.float32)


def scores(marks: str) -> npt.NDArray[np.float32]:
    """Digits are scores, other marks 0."""
    return np.array([float(mark) if mark.isdigit() else 0 for mark in marks], np.float32)


def found(
    masks: str, values: str, selection: Selection = EVERYTHING, times: FrameTimes = TIMES
) -> list[tuple[float, float, float]]:
    moments = select_moments(mask(masks), scores(values), times, selection)
    return [(each.start_s, each.end_s, each.score) for each in moments]


def test_a_moment_spans_its_frames() -> None:
    assert found("..###....", "..354....") == [(0.2, 0.8, 5.0)]


@pytest.mark.parametrize("masks", ["", ".....", "#####"])
def test_nothing_and_everything(masks: str) -> None:
    expected = [(0.0, 0.8, 1.0)] if "#" in masks else []
    assert found(masks, "1" * len(masks)) == expected


def test_the_end_of_the_audio_ends_a_moment() -> None:
    assert found("#", "3", times=FrameTimes(0.4, 0.1, 0.25)) == [(0.0, 0.25, 3.0)]


def test_near_moments_are_one() -> None:
    """The first ends at 0.5 s, the second begins at 1.2 s."""
    masks, values = "##..........##", "34......9...52"
    assert len(found(masks, values, Selection(0.7, 0.0))) == 2
    # What lies between them is no highlight, whatever its score.
    assert found(masks, values, Selection(0.71, 0.0)) == [(0.0, 1.7, 5.0)]


def test_short_moments_are_dropped_after_that() -> None:
    masks, values = "#.....#" + "." * 20 + "###", "1.....2" + "." * 20 + "333"
    assert len(found(masks, values, Selection(0.0, 0.4))) == 3
    assert found(masks, values, Selection(0.0, 0.6)) == [(2.7, 3.3, 3.0)]
    assert [each[2] for each in found(masks, values, Selection(0.25, 0.7))] == [2.0]


def test_the_best_are_given_in_the_order_of_time() -> None:
    masks, values = "#.......#.......#.......#", "5.......3.......9.......5"
    assert [m[2] for m in found(masks, values, Selection(0.0, 0.0, top=2))] == [5.0, 9.0]
    starts = [m[0] for m in found(masks, values, Selection(0.0, 0.0, top=2))]
    assert starts == [0.0, 1.6]
    assert len(found(masks, values, Selection(0.0, 0.0, top=10))) == 4


def by_loop(
    masks: npt.NDArray[np.float32], values: npt.NDArray[np.float32], selection: Selection
) -> list[Moment]:
    runs: list[list[float]] = []
    for frame, (active, value) in enumerate(zip(masks, values, strict=True)):
        if not active:
            continue
        start, end = frame * 0.1, frame * 0.1 + 0.4
        adjacent = bool(runs) and frame > 0 and masks[frame - 1] > 0
        if runs and (adjacent or start - runs[-1][1] < selection.min_gap_s - 1e-6):
            runs[-1][1:] = [end, max(runs[-1][2], value)]
        else:
            runs.append([start, end, value])
    kept = [r for r in runs if r[1] - r[0] >= selection.min_duration_s - 1e-6]
    best = sorted(kept, key=lambda r: -r[2])[: selection.top]
    return [Moment(round(a, 6), round(b, 6), float(c)) for a, b, c in sorted(best)]


@given(
    bits=st.lists(st.booleans(), max_size=80),
    seed=st.integers(0, 99),
    gap=st.integers(0, 9),
    duration=st.integers(0, 12),
    top=st.none() | st.integers(1, 4),
)
def test_against_a_plain_loop(
    bits: list[bool], seed: int, gap: int, duration: int, top: int | None
) -> None:
    selection = Selection(gap / 10, duration / 10, top)
    values = np.random.default_rng(seed).integers(0, 5, len(bits)).astype(np.float32)
    masks = np.array(bits, np.float32)
    assert list(select_moments(masks, values, TIMES, selection)) == by_loop(
        masks, values, selection
    )


@pytest.mark.parametrize(
    "options", [{"min_gap_s": -1.0}, {"min_duration_s": float("nan")}, {"top": 0}]
)
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(OptionsError, match=next(iter(options))):
        Selection(**options)  # type: ignore[arg-type]


# Statistics


@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_running_statistics_are_those_of_all_values(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    blocks = [(0.5 + 1e-3 * rng.standard_normal(size)).astype(np.float32) for size in sizes]
    statistics = RunningStatistics(1e-3)
    for block in blocks:
        statistics.update(block)
    everything = np.concatenate(blocks).astype(np.float64)
    assert statistics.count == len(everything)
    if len(everything):
        assert statistics.mean == pytest.approx(everything.mean(), rel=1e-12)
        assert statistics.deviation == pytest.approx(everything.std(), rel=1e-9, abs=1e-15)


def test_without_variation_running_z_scores_are_zero() -> None:
    statistics = RunningStatistics(1e-3)
    assert statistics.z(np.zeros(2, np.float32)).tolist() == [0, 0]
    statistics.update(np.zeros(5, np.float32))
    assert statistics.z(np.zeros(2, np.float32)).tolist() == [0, 0]
