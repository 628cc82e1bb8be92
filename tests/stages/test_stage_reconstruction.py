"""Who speaks in which frame, against loops; ties, order and exclusive speech."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_scenes import SMALL, Array, Scene, scenes
from voxport.runtime import InputError
from voxport.runtime.stages import discrete_diarization, exclusive


def frame_votes(scene: Scene, frame: int, num_clusters: int) -> list[int]:
    """How many windows hear each cluster in a frame."""
    votes = [0] * num_clusters
    offsets = SMALL.window_offsets(scene.starts)
    for mask, clusters, offset in zip(scene.masks, scene.assignments, offsets, strict=True):
        if 0 <= frame - offset < SMALL.window_frames:
            heard = {int(k) for k, on in zip(clusters, mask[frame - offset], strict=True) if on}
            for cluster in heard - {-1, -2}:
                votes[cluster] += 1
    return votes


@given(scenes(), st.integers(0, 2**32 - 1))
def test_the_clusters_with_most_votes_speak(scene: Scene, seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 4, SMALL.num_frames(scene.starts))

    chosen = discrete_diarization(scene.masks, scene.assignments, counts, scene.starts, SMALL)

    num_clusters = max(int(scene.assignments.max()) + 1, int(counts.max()), 0)
    assert chosen.shape == (len(counts), num_clusters)
    assert chosen.dtype == np.uint8
    for frame, count in enumerate(counts.tolist()):
        votes = frame_votes(scene, frame, num_clusters)
        # A stable sort: of equal clusters the lowest first.
        ranked = sorted(range(num_clusters), key=lambda cluster: -votes[cluster])
        assert np.flatnonzero(chosen[frame]).tolist() == sorted(ranked[:count])


@given(scenes(), st.permutations(range(3)))
def test_the_order_of_local_speakers_does_not_matter(scene: Scene, order: list[int]) -> None:
    order = [speaker for speaker in order if speaker < scene.masks.shape[2]]
    counts = np.ones(SMALL.num_frames(scene.starts), np.int64)
    masks, assignments = scene.masks[:, :, order], scene.assignments[:, order]

    expected = discrete_diarization(scene.masks, scene.assignments, counts, scene.starts, SMALL)

    chosen = discrete_diarization(masks, assignments, counts, scene.starts, SMALL)
    assert np.array_equal(chosen, expected)


@given(scenes())
def test_exclusive_speech_is_a_part_of_the_whole(scene: Scene) -> None:
    counts = np.full(SMALL.num_frames(scene.starts), 2)

    both = discrete_diarization(scene.masks, scene.assignments, counts, scene.starts, SMALL)
    one = discrete_diarization(
        scene.masks, scene.assignments, exclusive(counts), scene.starts, SMALL
    )

    assert (one.sum(axis=1) == 1).all()
    assert (one <= both[:, : one.shape[1]]).all()


def test_ties_go_to_the_lowest_cluster() -> None:
    masks = np.ones((1, 9, 3), np.float32)
    assignments = np.array([[20, 3, 7]])

    chosen = discrete_diarization(masks, assignments, np.full(11, 2), np.array([0]), SMALL)

    assert np.flatnonzero(chosen[0]).tolist() == [3, 7]
    # Nobody is heard after the window: the lowest of all speak.
    assert np.flatnonzero(chosen[10]).tolist() == [0, 1]


def test_nobody_speaks_and_arguments_stay_as_they_are() -> None:
    masks, assignments = np.zeros((2, 9, 3), np.uint8), np.full((2, 3), -2)
    counts = np.zeros(SMALL.num_frames(np.array([0, 10])), np.uint8)

    chosen = discrete_diarization(masks, assignments, counts, np.array([0, 10]), SMALL)

    assert chosen.shape == (len(counts), 0)
    assert not masks.any()
    assert (assignments == -2).all()


GOOD = {"assignments": np.zeros((1, 3), int), "counts": np.zeros(11, int)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("assignments", np.zeros((1, 2), int)),
        ("assignments", np.zeros((1, 3))),
        ("counts", np.zeros(10, int)),
        ("counts", np.zeros((11, 1), int)),
        ("counts", np.zeros(11)),
    ],
)
def test_arrays_that_do_not_fit_are_named(name: str, value: Array) -> None:
    with pytest.raises(InputError, match=name):
        discrete_diarization(
            masks=np.zeros((1, 9, 3)), starts=np.array([0]), grid=SMALL, **(GOOD | {name: value})
        )
