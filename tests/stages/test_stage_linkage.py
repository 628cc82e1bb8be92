"""Centroid linkage: SciPy's against the one that keeps no distances, and both against the rule."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from stage_scenes import Array, same_partition
from voxport.runtime import InputError
from voxport.runtime.stages import centroid_linkage


def points(seed: int, count: int, dimension: int) -> Array:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(1 + count // 8, dimension))
    spread = rng.choice([0.1, 0.5, 2.0])
    found = centres[rng.integers(len(centres), size=count)]
    return found + spread * rng.normal(size=(count, dimension))


@given(st.integers(0, 2**32 - 1), st.integers(2, 90), st.integers(2, 20))
def test_both_ways_make_one_dendrogram(seed: int, count: int, dimension: int) -> None:
    data = points(seed, count, dimension)

    without_distances = centroid_linkage(data, max_pairwise=0)

    expected = hierarchy.linkage(data, "centroid")
    assert np.array_equal(without_distances[:, [0, 1, 3]], expected[:, [0, 1, 3]])
    assert np.abs(without_distances[:, 2] - expected[:, 2]).max() < 1e-9
    assert np.array_equal(centroid_linkage(data), expected)


@pytest.mark.parametrize("max_pairwise", [0, 100])
def test_the_nearest_centroids_merge(max_pairwise: int) -> None:
    data = points(3, 30, 4)

    dendrogram = centroid_linkage(data, max_pairwise)

    members = {number: [number] for number in range(30)}
    for step, (one, other, distance, size) in enumerate(dendrogram):
        centroids = {number: data[rows].mean(axis=0) for number, rows in members.items()}
        numbers = sorted(centroids)
        gaps = {
            (a, b): np.linalg.norm(centroids[a] - centroids[b])
            for a in numbers
            for b in numbers
            if a < b
        }
        assert min(gaps, key=lambda pair: gaps[pair]) == (one, other)
        assert distance == pytest.approx(gaps[one, other], abs=1e-12)
        members[30 + step] = members.pop(int(one)) + members.pop(int(other))
        assert len(members[30 + step]) == size


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_identical_points(seed: int, count: int) -> None:
    """Ties may merge in another order; what is cut between the places is the same."""
    rng = np.random.default_rng(seed)
    places = rng.integers(4, size=count)
    data = np.linalg.qr(rng.normal(size=(8, 8)))[0][places]

    dendrogram = centroid_linkage(data, max_pairwise=0)

    assert same_partition(hierarchy.fcluster(dendrogram, 0.5, "distance"), places)


def test_memory_does_not_grow_with_pairs() -> None:
    """2,100 points of 8 numbers are 0.1 MB, their distances 18 MB, twice."""
    data = points(5, 2100, 8).astype(np.float32)

    tracemalloc.start()
    try:
        dendrogram = centroid_linkage(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert dendrogram.shape == (2099, 4)
    assert peak < 15e6


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((1, 3)),
        np.zeros((4, 0)),
        np.zeros(4),
        np.zeros((4, 3), int),
        np.full((4, 3), np.nan),
    ],
)
def test_what_cannot_be_linked(data: Array) -> None:
    with pytest.raises(InputError, match=r"at least|finite"):
        centroid_linkage(data)
