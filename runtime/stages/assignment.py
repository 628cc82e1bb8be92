"""Local speakers to clusters: each embedding to the centroid that is most like it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .arrays import NO_CLUSTER, AnyArray, Bools, Doubles, Floats, Ints, active_masks


@dataclass(frozen=True)
class Clusters:
    """Which cluster each local speaker belongs to.

    ``assignments`` is (W, S) int64: a cluster from 0 to K - 1, or ``NO_CLUSTER`` (-2) for a local
    speaker who is silent, or who was left over in a one-to-one assignment. ``centroids`` is
    (K, D): means of training embeddings, not of unit length; NaN if there was none to train on.
    """

    assignments: Ints
    centroids: Floats

    def without_silent(self, masks: AnyArray) -> Clusters:
        """Take the silent local speakers of (W, F, S) masks out of their clusters."""
        assignments = np.where(silent_speakers(masks), NO_CLUSTER, self.assignments)
        return replace(self, assignments=assignments)


def silent_speakers(masks: AnyArray) -> Bools:
    """(W, F, S) masks -> (W, S): local speakers who are active in no frame."""
    silent: Bools = np.logical_not(active_masks(masks).any(axis=1))
    return silent


def one_cluster(embeddings: Floats, masks: AnyArray, training: Floats) -> Clusters:
    """Everyone in cluster 0: nothing to decide, or too little to decide by."""
    unknown = np.full((1, embeddings.shape[2]), np.nan, embeddings.dtype)
    centroids = training.mean(axis=0, keepdims=True) if len(training) else unknown
    assignments = np.zeros(embeddings.shape[:2], np.int64)
    return Clusters(assignments, centroids).without_silent(masks)


def similarities(embeddings: Floats, centroids: Floats) -> Doubles:
    """(W, S, D), (K, D) -> (W, S, K) float64: 1 + cosine; NaN for an embedding of NaN or zeros."""
    from scipy.spatial.distance import cdist  # noqa: PLC0415 -- slow to import

    windows, speakers, dimension = embeddings.shape
    distances = cdist(embeddings.reshape(-1, dimension), centroids, "cosine")
    scores: Doubles = (2 - distances).reshape(windows, speakers, len(centroids))
    return scores


def most_similar(scores: Doubles) -> Ints:
    """(W, S, K) -> (W, S): the cluster with the highest score.

    The lowest of equal ones, and cluster 0 if a score is NaN.
    """
    clusters: Ints = scores.argmax(axis=2)
    return clusters


def one_to_one(scores: Doubles, silent: Bools) -> Ints:
    """(W, S, K) -> (W, S): in each window, different speakers get different clusters.

    The sum of the scores is as high as can be; speakers beyond the clusters get ``NO_CLUSTER``.
    Scores that are NaN count as the lowest of the file, and silent speakers, (W, S), score lower
    than all others, so that they take no cluster from anyone who speaks. Source:
    ``constrained_argmax`` and ``VBxClustering`` in pyannote.audio 4.0.7.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 -- slow to import

    known = scores[~np.isnan(scores)]
    lowest = float(known.min()) if len(known) else 0.0
    # With a NaN anywhere, pyannote gives silent speakers NaN too, hence the lowest score itself.
    below = lowest - 1 if len(known) == scores.size else lowest
    ranked = np.where(silent[:, :, None], below, np.nan_to_num(scores, nan=lowest))
    assignments = np.full(scores.shape[:2], NO_CLUSTER, np.int64)
    for window, window_scores in enumerate(ranked):
        speakers, clusters = linear_sum_assignment(window_scores, maximize=True)
        assignments[window, speakers] = clusters
    return assignments
