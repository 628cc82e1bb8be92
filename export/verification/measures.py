"""Figures of one comparison: finite first, dtype and shape exactly, then numbers and decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage

Array = npt.NDArray[Any]

# A reference frame whose two best classes are closer than float32 can resolve has no decision to
# flip: the original itself, in float32, is up to 2.3e-3 from its float64 log-probabilities.
TIE_MARGIN = 5e-3
# How far below the loudest value of a spectrogram decibels are held to a thousandth: as far as
# librosa shows by default (measured 3.8e-4 at most, on speech). Further down, the bins without a
# tone of full scale are sums that cancel, of which float32 leaves 7.5e-3.
LOUD_DB = 80.0
# Frames that a speaker needs within a window for its embedding to take part in decisions (1 s).
MIN_DECISION_FRAMES = 59


class Mismatch(Exception):  # noqa: N818 -- not an error of the program: a failed comparison
    """Two arrays that cannot even be compared; the message says why."""


def check_comparable(name: str, expected: Array, observed: Array) -> None:
    """Finite values and equal shapes.

    Raises:
        Mismatch: with both shapes, or the number of values that are not finite.
    """
    if expected.shape != observed.shape:
        raise Mismatch(f"{name}: shape {observed.shape}, expected {expected.shape}")
    for which, values in (("", observed), ("expected ", expected)):
        bad = int(np.size(values) - np.isfinite(values).sum())
        if bad:
            raise Mismatch(f"{name}: {bad} of {values.size} {which}values are not finite")


def max_abs(expected: Array, observed: Array) -> float:
    """Largest absolute difference (0 for empty arrays)."""
    return float(np.abs(expected.astype(np.float64) - observed).max(initial=0.0))


def mean_abs(expected: Array, observed: Array) -> float:
    """Mean absolute difference (0 for empty arrays)."""
    difference = np.abs(expected.astype(np.float64) - observed)
    return float(difference.mean()) if difference.size else 0.0


def relative_max_abs(expected: Array, observed: Array) -> float:
    """Largest absolute difference over the largest expected magnitude (at least 1)."""
    return max_abs(expected, observed) / max(1.0, float(np.abs(expected).max(initial=0.0)))


def loud_max_abs(expected: Array, observed: Array) -> float:
    """Largest absolute difference of decibels (..., bands, frames) in the loud part.

    Loud is what lies within ``LOUD_DB`` of the loudest value of its spectrogram.
    """
    loud = expected >= expected.max(axis=(-2, -1), keepdims=True) - LOUD_DB
    return max_abs(expected[loud], observed[loud])


def changed_share(expected: Array, observed: Array) -> float:
    """Share of values that differ at all (0 for empty arrays)."""
    return float((expected != observed).mean()) if expected.size else 0.0


def flipped_frames(expected: Array, observed: Array) -> tuple[int, int]:
    """(flipped, frames) for log-probabilities (B, F, classes).

    A frame is flipped if its best class differs, unless the expected scores tie (``TIE_MARGIN``).
    """
    best = expected.argmax(axis=-1)
    ordered = np.sort(expected, axis=-1)
    decided = ordered[..., -1] - ordered[..., -2] > TIE_MARGIN
    flipped = (observed.argmax(axis=-1) != best) & decided
    return int(flipped.sum()), best.size


def changed_frames(expected: Array, observed: Array) -> tuple[int, int]:
    """(changed, frames) for masks (B, F, speakers): frames in which any speaker differs."""
    changed = (expected != observed).any(axis=-1)
    return int(changed.sum()), changed.size


def _unit(vectors: Array) -> npt.NDArray[np.float64]:
    vectors = vectors.astype(np.float64)
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: npt.NDArray[np.float64] = vectors / np.where(norm > 0, norm, 1.0)
    return unit


def cosine_distances(expected: Array, observed: Array) -> npt.NDArray[np.float64]:
    """(...,) cosine distance of each vector to its counterpart."""
    distances: npt.NDArray[np.float64] = 1.0 - (_unit(expected) * _unit(observed)).sum(axis=-1)
    return distances


@dataclass
class EmbeddingDecisions:
    """Embeddings of real speech, collected over cases; then judged as a clustering would."""

    expected: list[Array] = field(default_factory=list)
    observed: list[Array] = field(default_factory=list)

    def add(self, expected: Array, observed: Array, activity: Array) -> None:
        """Embeddings (B, S, D) and frames of activity (B, S): keep those with enough speech."""
        enough = activity >= MIN_DECISION_FRAMES
        self.expected.append(expected[enough])
        self.observed.append(observed[enough])

    def judge(self, same_speaker_distance: float, margin: float) -> dict[str, float]:
        """Pairs whose same / different decision changes, and whether a clustering does.

        ``close_pairs`` change too, but their expected distance lies within ``margin`` of the
        threshold, which is itself not known to that precision: no decision to change.
        """
        expected, observed = (_unit(np.concatenate(v)) for v in (self.expected, self.observed))
        pairs = np.triu_indices(len(expected), 1)
        before, after = ((1.0 - v @ v.T)[pairs] for v in (expected, observed))
        changed = (before < same_speaker_distance) != (after < same_speaker_distance)
        decided = np.abs(before - same_speaker_distance) > margin
        euclidean = float(np.sqrt(2 * same_speaker_distance))
        partitions = [_partition(vectors, euclidean) for vectors in (expected, observed)]
        return {
            "pairs": float(before.size),
            "changed_pairs": float((changed & decided).sum()),
            "close_pairs": float((changed & ~decided).sum()),
            "changed_partition": float(partitions[0] != partitions[1]),
        }


def _partition(unit_vectors: npt.NDArray[np.float64], threshold: float) -> set[frozenset[int]]:
    """Clusters of a centroid-linkage clustering, as sets of members."""
    if len(unit_vectors) < 2:
        return {frozenset(range(len(unit_vectors)))}
    labels = fcluster(linkage(unit_vectors, "centroid"), threshold, "distance")
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels)}
