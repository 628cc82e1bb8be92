"""Centroid linkage of embeddings, in bounded memory."""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arrays import AnyArray, Bools, Doubles, Ints, checked_points

# SciPy holds the distances of all pairs twice: 32 MiB for so many points, and 0.8 GB for the
# 10,000 that an hour of lively talk can have.
MAX_PAIRWISE = 2048
# Points whose neighbours are looked for at once: a block of distances is (n, 16) or (n, 256).
_FEW, _MANY = 16, 256


def centroid_linkage(points: AnyArray, max_pairwise: int = MAX_PAIRWISE) -> Doubles:
    """Merge the two clusters with the nearest centroids until one is left.

    Up to ``max_pairwise`` points this is SciPy's ``linkage(points, "centroid")``, as in
    pyannote.audio. More points are merged by the same rule in another way: centroids are kept
    instead of distances, which takes memory for n * D numbers and not n * n (the "stored data
    approach" of Muellner, "Modern hierarchical, agglomerative clustering algorithms", 2011).
    Both give the same dendrogram but for the rounding of distances, some 1e-8 where they are 0
    and 1e-15 where they are not, and the order of ties.

    Args:
        points: (n, D) finite floats, n at least 2.
        max_pairwise: the most points that SciPy gets.

    Returns:
        (n - 1, 4) float64 in SciPy's form: two cluster numbers, their distance, the new size.

    Raises:
        InputError: points of the wrong shape, or not finite.
    """
    points = checked_points(points)
    if len(points) < 2:
        raise InputError("linkage needs at least two points")
    if len(points) <= max_pairwise:
        from scipy.cluster import hierarchy  # noqa: PLC0415 -- slow to import

        dendrogram: Doubles = hierarchy.linkage(points, "centroid", "euclidean")
        return dendrogram
    return _CentroidMerging(points.astype(np.float64)).run()


class _CentroidMerging:
    """Clusters that are left, one per slot, each with a candidate for its nearest neighbour.

    ``bound[i]`` is at most the squared distance from i to any other cluster. It is that of its
    candidate ``neighbour[i]``, a cluster number; if that cluster is gone, the true distance may
    be larger, and is found only when i has the smallest bound of all.
    """

    def __init__(self, points: Doubles) -> None:
        count = len(points)
        self.centroids = points
        self.squares: Doubles = np.einsum("ij,ij->i", points, points)
        self.sizes = np.ones(count)
        self.numbers = np.arange(count)
        # By cluster number: where it is, or -1 when it was merged away.
        self.slots = np.concatenate([np.arange(count), np.full(count - 1, -1)])
        self.bound = np.empty(count)
        self.neighbour = np.empty(count, np.int64)
        for first in range(0, count, _MANY):
            self._find_neighbours(np.arange(first, min(first + _MANY, count)))

    def run(self) -> Doubles:
        """All merges, in order."""
        count = len(self.sizes)
        rows = np.empty((count - 1, 4))
        for step in range(count - 1):
            one, other = self._closest_pair()
            rows[step] = (
                *sorted((self.numbers[one], self.numbers[other])),
                np.sqrt(self.bound[one]),
                self.sizes[one] + self.sizes[other],
            )
            self._merge(one, other, count + step)
        return rows

    def _closest_pair(self) -> tuple[int, int]:
        while True:
            best = int(np.argmin(self.bound))
            slot = int(self.slots[self.neighbour[best]])
            if slot >= 0:
                return best, slot
            self._refresh()

    def _refresh(self) -> None:
        """Look again for the neighbours of those with the smallest bounds of all outdated ones."""
        outdated = np.flatnonzero((self.slots[self.neighbour] < 0) & np.isfinite(self.bound))
        if len(outdated) > _FEW:
            first = np.argpartition(self.bound[outdated], _FEW)[:_FEW]
            outdated = outdated[first]
        self._find_neighbours(outdated)

    def _find_neighbours(self, slots: Ints) -> None:
        distances = self._distances(slots)
        distances[np.arange(len(slots)), slots] = np.inf
        nearest = distances.argmin(axis=1)
        self.bound[slots] = distances[np.arange(len(slots)), nearest]
        self.neighbour[slots] = self.numbers[nearest]

    def _distances(self, slots: Ints) -> Doubles:
        """(k,) slots -> (k, all slots) squared distances, infinite to empty slots."""
        products = self.centroids[slots] @ self.centroids.T
        products *= -2
        products += self.squares
        products += self.squares[slots, None]
        return np.maximum(products, 0, out=products)

    def _merge(self, one: int, other: int, number: int) -> None:
        """Put the union of two clusters in the slot of the first."""
        sizes = self.sizes[[one, other]]
        self.centroids[one] = sizes @ self.centroids[[one, other]] / sizes.sum()
        self.squares[one] = self.centroids[one] @ self.centroids[one]
        self.sizes[one] = sizes.sum()
        self.slots[self.numbers[[one, other]]] = -1
        self.numbers[one], self.slots[number] = number, one
        self.squares[other] = self.bound[other] = np.inf
        self._announce(one)
        self._compact()

    def _announce(self, slot: int) -> None:
        """Make a new cluster known to those to whom it is nearer than what they know."""
        distances = self._distances(np.array([slot]))[0]
        distances[slot] = np.inf
        nearer: Bools = distances < self.bound
        self.bound[nearer] = distances[nearer]
        self.neighbour[nearer] = self.numbers[slot]
        nearest = int(distances.argmin())
        self.bound[slot], self.neighbour[slot] = distances[nearest], self.numbers[nearest]

    def _compact(self) -> None:
        """Drop the empty slots once they are a quarter of all."""
        kept = np.flatnonzero(np.isfinite(self.squares))
        if len(kept) > 0.75 * len(self.squares):
            return
        self.centroids, self.squares = self.centroids[kept], self.squares[kept]
        self.sizes, self.numbers = self.sizes[kept], self.numbers[kept]
        self.bound, self.neighbour = self.bound[kept], self.neighbour[kept]
        self.slots[self.numbers] = np.arange(len(kept))
