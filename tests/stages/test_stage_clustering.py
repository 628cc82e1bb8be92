"""Clusters of embeddings: AHC, k-means, and the assignment of local speakers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from stage_scenes import Array, same_partition, voices
from voxport.runtime import InputError, OptionsError
from voxport.runtime.stages import (
    NO_CLUSTER,
    AhcOptions,
    Clusters,
    Plda,
    SpeakerBounds,
    ahc_clusters,
    ahc_labels,
    kmeans_labels,
    most_similar,
    one_to_one,
    similarities,
    vbx_clusters,
)

EVERY_SIZE = AhcOptions(min_cluster_size=1)


def agglomerate(embeddings: Array, threshold: float) -> Array:
    """Merge the nearest centroids of unit vectors while they are within the threshold."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    clusters = [[row] for row in range(len(unit))]
    while len(clusters) > 1:
        means = [unit[rows].mean(axis=0) for rows in clusters]
        pairs = [(a, b) for a in range(len(means)) for b in range(a)]
        gaps = [float(np.linalg.norm(means[a] - means[b])) for a, b in pairs]
        if min(gaps) > threshold:
            break
        a, b = pairs[int(np.argmin(gaps))]
        clusters[b] += clusters.pop(a)
    labels = np.empty(len(unit), np.int64)
    for label, rows in enumerate(clusters):
        labels[rows] = label
    return labels


@given(st.integers(0, 2**32 - 1), st.integers(1, 14))
def test_ahc_merges_up_to_the_threshold(seed: int, count: int) -> None:
    embeddings = np.random.default_rng(seed).normal(size=(count, 3))

    labels = ahc_labels(embeddings, EVERY_SIZE)

    assert same_partition(labels, agglomerate(embeddings, EVERY_SIZE.threshold))
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


@given(st.integers(0, 2**32 - 1))
def test_ahc_finds_the_voices_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    embeddings, speakers = voices(rng, [20, 15, 13])
    order = rng.permutation(len(speakers))

    labels = ahc_labels(embeddings)

    assert same_partition(labels, speakers)
    assert same_partition(ahc_labels(embeddings[order]), speakers[order])
    assert same_partition(ahc_labels(7 * embeddings), speakers)


def test_small_clusters_join_the_most_similar_large_one() -> None:
    rng = np.random.default_rng(0)
    embeddings, speakers = voices(rng, [30, 30, 3], noise=0.05)
    # The third voice leans towards the second, but not within the threshold.
    centre = embeddings[speakers == 1].mean(axis=0)
    embeddings[speakers == 2] += centre

    assert np.unique(ahc_labels(embeddings, EVERY_SIZE)).tolist() == [0, 1, 2]
    labels = ahc_labels(embeddings)
    assert same_partition(labels, np.where(speakers == 2, 1, speakers))


@pytest.mark.parametrize(("of", "clusters"), [(10, 3), (11, 2)])
def test_a_tenth_of_few_embeddings_is_enough(of: int, clusters: int) -> None:
    """min_cluster_size is at most round(n / 10): with 10 each, 30 in all, it is 3."""
    small = 3 if of == 10 else 2
    embeddings, _ = voices(np.random.default_rng(1), [of, 30 - of - small, small])

    assert ahc_labels(embeddings).max() + 1 == clusters


@pytest.mark.parametrize(("of", "clusters"), [(14, 3), (16, 2)])
def test_a_tenth_is_rounded(of: int, clusters: int) -> None:
    """One voice is heard once: with 14 embeddings a cluster needs 1 of them, with 16 it needs 2."""
    embeddings, _ = voices(np.random.default_rng(7), [of - 7, 6, 1])

    assert ahc_labels(embeddings).max() + 1 == clusters


@pytest.mark.parametrize(
    ("bounds", "clusters"),
    [
        (SpeakerBounds(), 4),
        (SpeakerBounds(num_speakers=2), 2),
        (SpeakerBounds(num_speakers=1), 1),
        (SpeakerBounds(max_speakers=3), 3),
        (SpeakerBounds(min_speakers=3, max_speakers=5), 4),
        (SpeakerBounds(min_speakers=5), 5),
        # 96 embeddings do not make 59 clusters of at least 4.
        (SpeakerBounds(num_speakers=59), None),
    ],
)
def test_ahc_keeps_to_the_bounds_where_it_can(bounds: SpeakerBounds, clusters: int | None) -> None:
    embeddings, speakers = voices(np.random.default_rng(2), [24, 24, 24, 24], noise=0.3)

    labels = ahc_labels(embeddings, AhcOptions(min_cluster_size=4), bounds)

    found = labels.max() + 1
    if clusters is None:
        assert 4 < found < 24
        assert np.bincount(labels).min() >= 4
    else:
        assert found == clusters
    if found >= 4:
        # No cluster holds two voices.
        assert np.unique(np.stack([labels, speakers]), axis=1).shape[1] == found


def replay(dendrogram: Array, merges: int) -> list[list[int]]:
    """The members of each cluster after so many merges."""
    members = {number: [number] for number in range(len(dendrogram) + 1)}
    for step in range(merges):
        one, other = (int(number) for number in dendrogram[step, :2])
        members[len(dendrogram) + 1 + step] = members.pop(one) + members.pop(other)
    return list(members.values())


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 4))
def test_the_cut_with_the_wanted_number_is_the_nearest(seed: int, wanted: int, size: int) -> None:
    """Every cut in the order of its distance to the threshold, by replaying all merges."""
    rng = np.random.default_rng(seed)
    embeddings, _ = voices(rng, [12, 9, 6, 13], noise=rng.choice([0.3, 0.8]))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    dendrogram = hierarchy.linkage(unit, "centroid")
    options = AhcOptions(min_cluster_size=size)
    found = ahc_labels(embeddings, options).max() + 1

    labels = ahc_labels(embeddings, options, SpeakerBounds(num_speakers=wanted))

    gaps = np.abs(dendrogram[:, 2] - options.threshold)
    cuts = [
        replay(dendrogram, step + 1) for step in np.argsort(gaps) if dendrogram[step, 3] >= size
    ]
    large = [[rows for rows in cut if len(rows) >= size] for cut in cuts]
    wrong = [abs(len(clusters) - wanted) for clusters in large]
    best = large[int(np.argmin(wrong))]
    if min(wrong) >= wanted - 1:
        best = [list(range(40))]
    if found != wanted:
        assert labels.max() + 1 == len(best)
        assert all(len(set(labels[rows].tolist())) == 1 for rows in best)


@pytest.mark.parametrize(
    "figures", [{"threshold": 0.0}, {"threshold": np.nan}, {"min_cluster_size": 0}]
)
def test_ahc_options_out_of_range(figures: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match="threshold must be above 0"):
        AhcOptions(**figures)


# Bounds


@pytest.mark.parametrize(
    ("numbers", "least", "most"),
    [
        ((None, None, None), 1, None),
        ((3, 1, 2), 3, 3),
        ((None, 2, None), 2, None),
        ((None, 2, 2), 2, 2),
    ],
)
def test_bounds(numbers: tuple[int | None, ...], least: int, most: int | None) -> None:
    bounds = SpeakerBounds(*numbers)

    assert (bounds.least, bounds.most) == (least, most)


@pytest.mark.parametrize(
    "numbers", [(0, None, None), (None, -1, None), (None, None, 0), (None, 3, 2)]
)
def test_bounds_that_contradict_themselves(numbers: tuple[int | None, ...]) -> None:
    with pytest.raises(OptionsError, match="_speakers must be at"):
        SpeakerBounds(*numbers)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_the_nearest_number_within_bounds(
    least: int, extra: int, found: int, available: int
) -> None:
    bounds = SpeakerBounds(min_speakers=least, max_speakers=least + extra)

    allowed = [number for number in range(least, least + extra + 1) if number <= available]
    expected = min(allowed, key=lambda number: abs(number - found)) if allowed else available
    assert bounds.nearest(found, available) == expected


# Assignment


def test_similarities_are_one_plus_cosine() -> None:
    embeddings = np.array([[[1.0, 0.0], [3.0, 4.0]]])

    scores = similarities(embeddings, np.array([[2.0, 0.0], [0.0, -1.0]]))

    assert scores == pytest.approx(np.array([[[2.0, 1.0], [1.6, 0.2]]]))


def test_an_embedding_of_nan_goes_to_the_first_cluster() -> None:
    scores = similarities(np.array([[[np.nan, 0.0], [0.0, 2.0]]]), np.eye(2))

    assert most_similar(scores).tolist() == [[0, 1]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4))
def test_one_to_one_has_the_highest_sum(seed: int, speakers: int, clusters: int) -> None:
    scores = np.random.default_rng(seed).uniform(0, 2, (3, speakers, clusters))

    found = one_to_one(scores, np.zeros((3, speakers), np.bool_))

    for window, row in enumerate(found):
        used = row[row != NO_CLUSTER]
        assert len(set(used.tolist())) == len(used) == min(speakers, clusters)
        total = sum(scores[window, s, k] for s, k in enumerate(row) if k != NO_CLUSTER)
        pad = [None] * max(0, speakers - clusters)
        choices = permutations([*range(clusters), *pad], speakers)
        best = max(
            sum(scores[window, s, k] for s, k in enumerate(choice) if k is not None)
            for choice in choices
        )
        assert total == pytest.approx(best)


def test_the_silent_take_no_cluster_from_those_who_speak() -> None:
    scores = np.array([[[1.9, 1.8], [1.0, 0.2], [0.9, 0.8]]])

    found = one_to_one(scores, np.array([[True, False, False]]))

    assert found.tolist() == [[NO_CLUSTER, 0, 1]]


def test_the_silent_take_no_cluster_even_from_the_lowest_score() -> None:
    scores = np.array([[[1.9], [1.0]]])

    found = one_to_one(scores, np.array([[True, False]]))

    assert found.tolist() == [[NO_CLUSTER, 0]]


def test_an_unknown_score_is_the_lowest() -> None:
    scores = np.array([[[np.nan, np.nan], [1.0, 0.5], [0.9, 0.8]]])

    assert one_to_one(scores, np.zeros((1, 3), np.bool_)).tolist() == [[NO_CLUSTER, 0, 1]]
    everything = one_to_one(np.full((1, 2, 1), np.nan), np.zeros((1, 2), np.bool_))
    assert sorted(everything[0].tolist()) == [NO_CLUSTER, 0]


# Whole files. VBx must meet the same edges.


def tiny_plda() -> Plda:
    identity = np.eye(8)
    return Plda(np.zeros(8), identity, np.zeros(8), np.zeros(8), 4 * identity, np.full(8, 15.0))


def vbx(embeddings: Array, masks: Array, bounds: SpeakerBounds | None = None) -> Clusters:
    return vbx_clusters(embeddings, masks, tiny_plda(), bounds=bounds)


def ahc(embeddings: Array, masks: Array, bounds: SpeakerBounds | None = None) -> Clusters:
    return ahc_clusters(embeddings, masks, bounds=bounds)


Clustering = Callable[..., Clusters]
BOTH = pytest.mark.parametrize("clustering", [ahc, vbx])


def conversation(windows: int = 20) -> tuple[Array, Array, Array]:
    """Embeddings, masks and who is who: two voices, swapped in every other window; third silent."""
    rng = np.random.default_rng(4)
    points, speakers = voices(rng, [windows, windows], dimension=8)
    of_one, of_two = points[speakers == 0], points[speakers == 1]
    swapped = np.arange(windows) % 2 == 1
    truth = np.stack([swapped, ~swapped, np.zeros(windows, int)], axis=1).astype(np.int64)
    embeddings = np.where(truth[:, :, None] == 0, of_one[:, None], of_two[:, None])
    masks = np.zeros((windows, 10, 3), np.float32)
    masks[:, :5, 0] = masks[:, 5:, 1] = 1
    truth[:, 2] = NO_CLUSTER
    return embeddings, masks, truth


@BOTH
def test_a_conversation(clustering: Clustering) -> None:
    embeddings, masks, truth = conversation()
    kept = embeddings.copy(), masks.copy()

    found = clustering(embeddings, masks)

    assert found.assignments.dtype == np.int64
    assert same_partition(found.assignments.ravel(), truth.ravel())
    assert np.array_equal(found.assignments == NO_CLUSTER, truth == NO_CLUSTER)
    first = embeddings[found.assignments == 0].mean(axis=0)
    assert found.centroids[0] == pytest.approx(first, abs=0.02)
    assert all(np.array_equal(*pair) for pair in zip((embeddings, masks), kept, strict=True))


@BOTH
def test_windows_in_any_order(clustering: Clustering) -> None:
    embeddings, masks, truth = conversation()
    order = np.random.default_rng(5).permutation(len(masks))

    found = clustering(embeddings[order], masks[order]).assignments

    assert same_partition(found.ravel(), truth[order].ravel())


@BOTH
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_number_of_speakers_that_is_given(clustering: Clustering, number: int) -> None:
    embeddings, masks, _ = conversation()

    found = clustering(embeddings, masks, SpeakerBounds(num_speakers=number))

    assert np.unique(found.assignments).tolist() == [NO_CLUSTER, *range(number)]
    assert len(found.centroids) == number


@BOTH
def test_more_speakers_than_embeddings(clustering: Clustering) -> None:
    embeddings, masks, _ = conversation(windows=2)

    found = clustering(embeddings, masks, SpeakerBounds(num_speakers=9))

    # AHC makes at least one merge; k-means need not.
    assert found.assignments.max() + 1 == (3 if clustering is ahc else 4)


@BOTH
def test_silence(clustering: Clustering) -> None:
    found = clustering(np.ones((2, 3, 8)), np.zeros((2, 10, 3)))

    assert (found.assignments == NO_CLUSTER).all()
    assert found.centroids.shape == (1, 8)
    assert np.isnan(found.centroids).all()


@BOTH
def test_one_window_with_one_voice(clustering: Clustering) -> None:
    masks = np.zeros((1, 10, 3))
    masks[0, :, 1] = 1

    found = clustering(np.ones((1, 3, 8)), masks)

    assert found.assignments.tolist() == [[NO_CLUSTER, 0, NO_CLUSTER]]
    assert np.array_equal(found.centroids, np.ones((1, 8)))


@BOTH
def test_embeddings_that_could_not_be_had(clustering: Clustering) -> None:
    embeddings, masks, truth = conversation()
    embeddings[:, 2] = np.nan
    embeddings[3, 0] = np.nan
    embeddings[4] = 0

    found = clustering(embeddings, masks).assignments

    known = np.ones(len(masks), np.bool_)
    known[[3, 4]] = False
    assert same_partition(found[known].ravel(), truth[known].ravel())
    # They still belong to someone: they do speak.
    assert (found[~known][:, :2] >= 0).all()


def test_ahc_one_to_one() -> None:
    """Two local speakers of one window with one voice: the second gets what is left."""
    embeddings, masks, _ = conversation()
    embeddings[0, 1] = embeddings[0, 0] * 1.01

    shared = ahc_clusters(embeddings, masks).assignments[0]
    apart = ahc_clusters(embeddings, masks, AhcOptions(one_to_one=True)).assignments[0]

    assert shared[0] == shared[1]
    assert apart[0] != apart[1]


# k-means


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6))
def test_kmeans_settles(seed: int, count: int, clusters: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    clusters = min(clusters, count)

    labels = kmeans_labels(points, clusters)

    assert np.unique(labels).tolist() == list(range(clusters))
    means = np.stack([points[labels == label].mean(axis=0) for label in range(clusters)])
    distances = np.linalg.norm(points[:, None] - means, axis=2)
    # Each point is with the nearest mean (up to the tolerance at which iterations end).
    assert (distances[np.arange(count), labels] <= distances.min(axis=1) + 0.05).all()
    assert np.array_equal(kmeans_labels(points, clusters), labels)


def test_kmeans_finds_the_voices() -> None:
    points, speakers = voices(np.random.default_rng(6), [9, 30, 4, 17])
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)

    assert same_partition(kmeans_labels(unit, 4), speakers)


def test_kmeans_of_identical_points() -> None:
    labels = kmeans_labels(np.ones((5, 2)), 3)

    assert len(labels) == 5
    assert np.unique(labels).tolist() == [0]


@pytest.mark.parametrize("clusters", [0, 4])
def test_kmeans_of_too_few_points(clusters: int) -> None:
    with pytest.raises(InputError, match=f"cannot make {clusters} clusters of 3 points"):
        kmeans_labels(np.ones((3, 2)), clusters)
