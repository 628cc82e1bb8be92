"""Turns against a state machine that walks through the frames."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from stage_scenes import PYANNOTE, SMALL, Array
from voxport.runtime import InputError, OptionsError
from voxport.runtime.stages import Turn, rounded, speaker_names, to_turns, within

DIARIZATIONS = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12),
    elements=st.integers(0, 1),
)


def walk(frames: list[int]) -> list[tuple[float, float]]:
    """Spans from the middle of a first active frame to that of the next inactive or last one."""
    times = [0.001 * (10 * frame + 8.5) for frame in range(len(frames))]
    spans, since = [], None
    for frame, active in enumerate(frames):
        if active and since is None:
            since = frame
        ends = since is not None and (not active or frame == len(frames) - 1)
        if ends and since is not None:
            if frame > since:
                spans.append((times[since], times[frame]))
            since = None
    return spans


@given(DIARIZATIONS)
def test_turns_of_frames(discrete: Array) -> None:
    found = to_turns(discrete, SMALL)

    spans = [
        (start, end, cluster)
        for cluster in range(discrete.shape[1])
        for start, end in walk(discrete[:, cluster].tolist())
    ]
    names = speaker_names(discrete)
    expected = [Turn(start, end, names[cluster]) for start, end, cluster in sorted(spans)]
    assert [turn.speaker for turn in found] == [turn.speaker for turn in expected]
    assert [turn.start_s for turn in found] == pytest.approx([t.start_s for t in expected])
    assert [turn.end_s for turn in found] == pytest.approx([t.end_s for t in expected])


@given(DIARIZATIONS, st.integers(0, 6))
def test_short_pauses_are_filled(discrete: Array, frames: int) -> None:
    """A pause of n frames lasts n hops; the same frames filled by hand give the same turns."""
    pause_s = (frames + 0.5) * SMALL.hop_s
    filled = discrete.copy()
    for cluster in filled.T:
        # What is active only in the last frame makes no turn to fill a pause to.
        active = np.flatnonzero(cluster[:-1])
        for one, other in pairwise(active):
            if other - one - 1 <= frames:
                cluster[one:other] = 1

    names = speaker_names(discrete)

    assert to_turns(discrete, SMALL, pause_s, names) == to_turns(filled, SMALL, 0, names)


def test_a_pause_as_long_as_the_limit_stays() -> None:
    discrete = np.array([[1, 1, 0, 1, 1]]).T
    turns = to_turns(discrete, PYANNOTE)
    pause_s = turns[1].start_s - turns[0].end_s

    assert to_turns(discrete, PYANNOTE, pause_s) == turns
    assert len(to_turns(discrete, PYANNOTE, np.nextafter(pause_s, 1))) == 1


def test_one_frame_of_segmentation_3() -> None:
    discrete = np.array([[0, 0], [1, 0], [0, 0]])

    (turn,) = to_turns(discrete, PYANNOTE)

    assert turn == Turn(pytest.approx(765.5 / 16000), pytest.approx(1035.5 / 16000), "SPEAKER_00")
    assert turn.duration_s == pytest.approx(270 / 16000)


def test_speakers_are_named_in_the_order_of_digits() -> None:
    """As pyannote.audio does, which sorts its labels as text. Cluster 1 has no turn."""
    discrete = np.ones((3, 12), np.uint8)
    discrete[:2, 1] = 0

    names = speaker_names(discrete)

    clusters = [0, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    assert names == {cluster: f"SPEAKER_{rank:02d}" for rank, cluster in enumerate(clusters)}
    # Equal turns are in the order of clusters.
    ranks = [int(turn.speaker[-2:]) for turn in to_turns(discrete, SMALL)]
    assert ranks == [0, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2]


def test_names_that_are_given() -> None:
    discrete = np.array([[0, 1], [0, 1], [0, 0]])

    assert [turn.speaker for turn in to_turns(discrete, SMALL, names={1: "Ada"})] == ["Ada"]
    with pytest.raises(InputError, match="cluster 1 has turns but no name"):
        to_turns(discrete, SMALL, names={0: "Ada"})


@pytest.mark.parametrize("discrete", [np.zeros(3), np.full((3, 1), 2), np.full((3, 1), np.nan)])
def test_what_is_no_diarization(discrete: Array) -> None:
    with pytest.raises(InputError, match=r"frames, clusters|0 and 1"):
        to_turns(discrete, SMALL)


@pytest.mark.parametrize("pause_s", [-0.1, np.inf, np.nan])
def test_pauses_that_are_none(pause_s: float) -> None:
    with pytest.raises(OptionsError, match="min_duration_off_s"):
        to_turns(np.zeros((3, 1)), SMALL, pause_s)


# What people are given


def test_turns_are_given_on_whole_microseconds() -> None:
    found = rounded([Turn(6.730343750000001, 6.7303438, "A"), Turn(1.5, 2.00000049, "B")])
    # The first is shorter than half a microsecond.
    assert found == [Turn(1.5, 2.0, "B")]
    assert rounded([Turn(0.1234565001, 9.87654351, "A")]) == [Turn(0.123457, 9.876544, "A")]


@given(st.integers(1, 48_000 * 3600), st.sampled_from((8000, 16_000, 44_100, 48_000)))
def test_no_turn_ends_after_the_audio(num_samples: int, rate_hz: int) -> None:
    duration_s = num_samples / rate_hz
    found = rounded(within([Turn(0.0, 1e6, "A")], duration_s))
    (turn,) = found
    assert duration_s - 1e-6 - 1e-9 < turn.end_s <= duration_s
    assert within(found, duration_s) == found
    assert within([Turn(duration_s, duration_s + 1, "A")], duration_s) == []
