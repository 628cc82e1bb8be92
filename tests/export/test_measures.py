"""Figures of comparisons, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from voxport.export.verification import measures
from voxport.export.verification.measures import EmbeddingDecisions, Mismatch


def test_shapes_and_non_finite_values_are_mismatches() -> None:
    with pytest.raises(Mismatch, match=r"shape \(2,\), expected \(3,\)"):
        measures.check_comparable("x", np.zeros(3), np.zeros(2))
    with pytest.raises(Mismatch, match="2 of 3 values are not finite"):
        measures.check_comparable("x", np.zeros(3), np.array([0, np.nan, -np.inf]))
    with pytest.raises(Mismatch, match="1 of 2 expected values are not finite"):
        measures.check_comparable("x", np.array([0, np.nan]), np.zeros(2))
    measures.check_comparable("x", np.zeros((0, 2)), np.zeros((0, 2)))


def test_differences() -> None:
    expected, observed = np.array([1.0, -4.0]), np.array([1.5, -4.25])
    assert measures.max_abs(expected, observed) == 0.5
    assert measures.mean_abs(expected, observed) == 0.375
    assert measures.relative_max_abs(expected, observed) == 0.125
    assert measures.max_abs(np.zeros(0), np.zeros(0)) == 0
    assert measures.mean_abs(np.zeros(0), np.zeros(0)) == 0


def test_small_float32_differences_are_not_lost() -> None:
    # 1 + 1e-9 rounds to 1 in float32: the difference must be taken in float64.
    assert measures.max_abs(np.float32([1.0]), np.array([1.0 + 1e-9])) == pytest.approx(1e-9)


def test_flipped_frames_ignore_ties_only() -> None:
    expected = np.log(np.array([[[0.6, 0.4], [0.5, 0.5], [0.4, 0.6]]]))
    observed = expected[..., ::-1]
    assert measures.flipped_frames(expected, expected) == (0, 3)
    assert measures.flipped_frames(expected, observed) == (2, 3)


def test_changed_frames_count_frames_not_speakers() -> None:
    expected = np.zeros((1, 4, 3))
    observed = expected.copy()
    observed[0, 1] = 1
    observed[0, 3, 2] = 1
    assert measures.changed_frames(expected, observed) == (2, 4)


def test_cosine_distances() -> None:
    expected = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    observed = np.array([[3.0, 0.0], [1.0, 0.0], [0.0, -1.0]])
    np.testing.assert_allclose(
        measures.cosine_distances(expected, observed), [0, 1 - np.sqrt(0.5), 2], atol=1e-12
    )


def _at(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def _decisions(before: list[float], after: list[float], margin: float = 1e-4) -> dict[str, float]:
    decisions = EmbeddingDecisions()
    for old, new in zip(before, after, strict=True):
        activity = np.array([[100, 3]])
        rows = (np.array([[_at(angle), _at(77)]]) for angle in (old, new))
        decisions.add(*rows, activity)
    # cos(60 degrees): pairs closer than 60 degrees are one speaker.
    return decisions.judge(0.5, margin)


def test_pairs_and_partitions_that_change_are_counted() -> None:
    same = _decisions([0, 10, 100], [0, 11, 101])
    assert same == {"pairs": 3, "changed_pairs": 0, "close_pairs": 0, "changed_partition": 0}
    moved = _decisions([0, 10, 100], [0, 90, 100])
    assert moved["changed_pairs"] == 2
    assert moved["changed_partition"] == 1


def test_pairs_at_the_threshold_are_no_decisions() -> None:
    close = _decisions([0, 59.9], [0, 60.1], margin=0.01)
    assert (close["changed_pairs"], close["close_pairs"]) == (0, 1)
    strict = _decisions([0, 59.9], [0, 60.1])
    assert (strict["changed_pairs"], strict["close_pairs"]) == (1, 0)


def test_speakers_with_little_speech_take_no_part() -> None:
    assert _decisions([0, 10], [0, 10])["pairs"] == 1
