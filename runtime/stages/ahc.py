"""Agglomerative clustering with centroid linkage, as in pyannote's speaker-diarization-3.1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import OptionsError
from .arrays import (
    AnyArray,
    Doubles,
    Floats,
    Ints,
    checked_embeddings,
    checked_points,
    cluster_means,
    unit_rows,
)
from .assignment import Clusters, most_similar, one_cluster, one_to_one, similarities
from .bounds import SpeakerBounds
from .linkage import centroid_linkage
from .training import training_embeddings


@dataclass(frozen=True)
class AhcOptions:
    """``threshold`` is the Euclidean distance between centroids of unit vectors above which
    clusters stay apart; clusters below ``min_cluster_size`` (or a tenth of all embeddings, if
    that is less) join the large one that is most like them. ``one_to_one`` gives local speakers
    of one window different clusters. The defaults are those of speaker-diarization-3.1.

    Raises:
        OptionsError: a threshold that is not above 0, or a size below 1.
    """

    threshold: float = 0.7045654963945799
    min_cluster_size: int = 12
    one_to_one: bool = False

    def __post_init__(self) -> None:
        if not self.threshold > 0 or self.min_cluster_size < 1:
            raise OptionsError(
                "threshold must be above 0 and min_cluster_size at least 1, got "
                f"{self.threshold} and {self.min_cluster_size}"
            )


def ahc_clusters(
    embeddings: AnyArray,
    masks: AnyArray,
    options: AhcOptions | None = None,
    bounds: SpeakerBounds | None = None,
) -> Clusters:
    """Cluster all local speakers of a file.

    Embeddings with enough speech make the clusters (``ahc_labels``); then every local speaker
    goes to the centroid with the highest cosine similarity. Silent ones get ``NO_CLUSTER``, and
    an embedding that is NaN cluster 0. Source: ``AgglomerativeClustering`` in pyannote.audio
    4.0.7. The number of clusters can be below ``bounds`` where there is too little to divide.

    Args:
        embeddings: (W, S, D) floats, not normalised; NaN marks those that could not be had.
        masks: (W, F, S) of 0 and 1.
        options: 3.1's where None.
        bounds: what is known about the number of speakers.

    Raises:
        InputError: arrays of the wrong shape, dtype or values.
    """
    options = options or AhcOptions()
    bounds = bounds or SpeakerBounds()
    embeddings = checked_embeddings(embeddings, masks)
    training = training_embeddings(embeddings, masks).embeddings
    if min(len(training), bounds.most or len(training)) < 2:
        return one_cluster(embeddings, masks, training)
    centroids = cluster_means(training, ahc_labels(training, options, bounds))
    scores = similarities(embeddings, centroids)
    if options.one_to_one:
        nobody = np.zeros(scores.shape[:2], np.bool_)
        assignments = one_to_one(scores, nobody)
    else:
        assignments = most_similar(scores)
    return Clusters(assignments, centroids).without_silent(masks)


def ahc_labels(
    embeddings: AnyArray, options: AhcOptions | None = None, bounds: SpeakerBounds | None = None
) -> Ints:
    """Clusters of embeddings by centroid linkage.

    They are brought to unit length, merged (``centroid_linkage``) up to the threshold, or, if
    that makes too few or too many large clusters, up to the merge with the nearest threshold that
    makes as many as wanted (or as near to it as can be). Source:
    ``AgglomerativeClustering.cluster`` in pyannote.audio 4.0.7.

    Args:
        embeddings: (n, D) finite floats.
        options: 3.1's where None.
        bounds: what is known about the number of speakers.

    Returns:
        (n,) int64 from 0 to K - 1, each of which occurs.

    Raises:
        InputError: embeddings of the wrong shape, or not finite.
    """
    options = options or AhcOptions()
    points = unit_rows(checked_points(embeddings))
    count = len(points)
    if count == 1:
        return np.zeros(1, np.int64)
    min_size = min(options.min_cluster_size, max(1, round(0.1 * count)))
    dendrogram = centroid_linkage(points)
    labels = cut(dendrogram, options.threshold)
    found = int((np.bincount(labels) >= min_size).sum())
    wanted = (bounds or SpeakerBounds()).nearest(found, count)
    if found != wanted:
        labels = _cut_into(dendrogram, options.threshold, min_size, wanted)
    return _join_small(points, labels, min_size)


def cut(dendrogram: Doubles, threshold: float) -> Ints:
    """(n - 1, 4) dendrogram -> (n,) clusters from 0 whose merges are all within the threshold."""
    from scipy.cluster.hierarchy import fcluster  # noqa: PLC0415 -- slow to import

    labels: Ints = fcluster(dendrogram, threshold, criterion="distance").astype(np.int64)
    return labels - 1


def _cut_into(dendrogram: Doubles, threshold: float, min_size: int, wanted: int) -> Ints:
    """Undo merges from the last one back, or do more, until ``wanted`` large clusters are left.

    Of the merges that make a large cluster, that whose distance is nearest to the threshold is
    taken; if none leaves as many as wanted, the first of those that come nearest to it.
    """
    large = _large_after_merges(dendrogram, min_size)
    by_distance = np.argsort(np.abs(dendrogram[:, 2] - threshold), kind="stable")
    candidates = by_distance[dendrogram[by_distance, 3] >= min_size]
    off_by = np.abs(large[candidates] - wanted)
    # One cluster of everything is what else there is; its merge is the last.
    best = int(off_by.argmin())
    last = candidates[best] if off_by[best] < abs(1 - wanted) else len(dendrogram)
    in_order = dendrogram.copy()
    in_order[:, 2] = np.arange(len(dendrogram))
    return cut(in_order, float(last))


def _large_after_merges(dendrogram: Doubles, min_size: int) -> Ints:
    """(n - 1,): how many clusters of at least ``min_size`` there are after each merge."""
    count = len(dendrogram) + 1
    is_large = np.concatenate([np.ones(count), dendrogram[:, 3]]) >= min_size
    merged = is_large[dendrogram[:, :2].astype(np.int64)].sum(axis=1)
    changes = is_large[count:].astype(np.int64) - merged
    total: Ints = is_large[:count].sum() + np.cumsum(changes)
    return total


def _join_small(points: Floats, labels: Ints, min_size: int) -> Ints:
    """Give small clusters to the large one with the most similar centroid; number from 0."""
    is_large = np.bincount(labels) >= min_size
    if is_large.all():
        return labels
    from scipy.spatial.distance import cdist  # noqa: PLC0415 -- slow to import

    means = cluster_means(points, labels)
    distances = cdist(means[is_large], means[~is_large], "cosine")
    target = np.cumsum(is_large) - 1
    target[~is_large] = distances.argmin(axis=0)
    return target[labels]
