"""k-means, for a number of speakers that is given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .arrays import AnyArray, Bools, Floats, Ints, checked_points

_RUNS = 3
_SEED = 42
_MAX_ITERATIONS = 300
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class _Run:
    labels: Ints
    inertia: float


def kmeans_labels(points: AnyArray, num_clusters: int) -> Ints:
    """The best of three runs of Lloyd's algorithm from k-means++ centres.

    Draws the random numbers of scikit-learn's ``KMeans(n_init=3, random_state=42)``, which
    pyannote.audio 4.0.7 uses, in the same order, so that the clusters and their numbers are the
    same but for ties within rounding. Deterministic. Source: Arthur and Vassilvitskii,
    "k-means++: the advantages of careful seeding", 2007, with several candidates per centre.

    Args:
        points: (n, D) finite floats; distances are rounded to their dtype.
        num_clusters: from 1 to n.

    Returns:
        (n,) int64 from 0 to num_clusters - 1; with duplicate points, some may not occur.

    Raises:
        InputError: points of the wrong shape, not finite, or fewer than clusters.
    """
    points = checked_points(points)
    if not 1 <= num_clusters <= len(points):
        raise InputError(f"cannot make {num_clusters} clusters of {len(points)} points")
    tolerance = float(np.var(points, axis=0).mean()) * _TOLERANCE
    points = points - points.mean(axis=0)
    # The legacy generator: its streams are frozen, and scikit-learn draws from it.
    random = np.random.RandomState(_SEED)
    runs = [
        _lloyd(points, _initial_centres(points, num_clusters, random), tolerance)
        for _ in range(_RUNS)
    ]
    best = runs[0]
    for run in runs[1:]:
        if run.inertia < best.inertia and not _same_partition(run, best):
            best = run
    return best.labels


def _initial_centres(points: Floats, num_clusters: int, random: np.random.RandomState) -> Floats:
    """(n, D) -> (num_clusters, D): points far from each other (greedy k-means++)."""
    count = len(points)
    trials = 2 + int(np.log(num_clusters))
    chosen = [int(random.choice(count, p=np.full(count, 1 / count, points.dtype)))]
    closest = _squared_distances(points[chosen], points)[0]
    for _ in range(num_clusters - 1):
        thresholds = random.uniform(size=trials) * closest.sum()
        candidates = np.searchsorted(np.cumsum(closest), thresholds).clip(max=count - 1)
        distances = np.minimum(closest, _squared_distances(points[candidates], points))
        winner = int(distances.sum(axis=1).argmin())
        closest = distances[winner]
        chosen.append(int(candidates[winner]))
    return points[chosen]


def _squared_distances(some: Floats, points: Floats) -> Floats:
    """(k, D), (n, D) -> (k, n), computed in float64, in the dtype of the points."""
    left, right = some.astype(np.float64), points.astype(np.float64)
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    distances = np.maximum(squares - 2 * left @ right.T, 0)
    rounded: Floats = distances.astype(points.dtype)
    return rounded


def _lloyd(points: Floats, centres: Floats, tolerance: float) -> _Run:
    labels = np.full(len(points), -1, np.int64)
    for _ in range(_MAX_ITERATIONS):
        previous, labels = labels, _nearest(points, centres)
        moved = _centres(points, labels, centres)
        shift = float(((moved - centres) ** 2).sum())
        centres = moved
        if np.array_equal(labels, previous):
            break
        if shift <= tolerance:
            labels = _nearest(points, centres)
            break
    else:
        labels = _nearest(points, centres)
    return _Run(labels, float(((points - centres[labels]) ** 2).sum()))


def _nearest(points: Floats, centres: Floats) -> Ints:
    # The points' own squares do not change which centre is nearest.
    scores = (centres**2).sum(axis=1) - 2 * points @ centres.T
    nearest: Ints = scores.argmin(axis=1)
    return nearest


def _centres(points: Floats, labels: Ints, centres: Floats) -> Floats:
    """Means of the clusters; an empty one takes the point that is farthest from its centre."""
    members: Bools = labels == np.arange(len(centres))[:, None]
    sums = members.astype(points.dtype) @ points
    sizes = members.sum(axis=1)
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        distances = ((points - centres[labels]) ** 2).sum(axis=1)
        if distances.max() > 0:
            farthest = np.argpartition(distances, -len(empty))[: -len(empty) - 1 : -1]
            for cluster, point in zip(empty, farthest, strict=True):
                sums[labels[point]] -= points[point]
                sizes[labels[point]] -= 1
                sums[cluster], sizes[cluster] = points[point], 1
    means = sums / np.maximum(sizes, 1)[:, None].astype(points.dtype)
    # What is still empty lies where the largest cluster lies.
    moved: Floats = np.where(sizes[:, None] > 0, means, means[sizes.argmax()])
    return moved


def _same_partition(one: _Run, other: _Run) -> bool:
    """Whether labels of the first determine those of the second."""
    pairs = np.unique(np.stack([one.labels, other.labels]), axis=1)
    return int(pairs.shape[1]) == len(np.unique(pairs[0]))
