"""Arrays that pass between stages: their types, and checks that name what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
Doubles = npt.NDArray[np.float64]
AnyArray = npt.NDArray[Any]

# Stands for "no cluster": a local speaker who says nothing in its window, or for whom a
# one-to-one assignment had no cluster left. The number is pyannote.audio's.
NO_CLUSTER = -2


def active_masks(masks: AnyArray) -> Bools:
    """(W, F, S) of 0 and 1, of any dtype -> bool.

    Raises:
        InputError: other dimensions, no frame, no speaker, or values besides 0 and 1.
    """
    if masks.ndim != 3 or 0 in masks.shape[1:]:
        raise InputError(f"masks must be (windows, frames, speakers), got shape {masks.shape}")
    active = masks.astype(np.bool_)
    if masks.dtype != np.bool_ and not np.array_equal(active, masks):
        raise InputError("masks must hold 0 and 1 only: one row of classes decides a frame")
    return active


def checked_embeddings(embeddings: AnyArray, masks: AnyArray) -> Floats:
    """(W, S, D) floats that fit (W, F, S) masks; NaN is allowed: "no embedding".

    Raises:
        InputError: other dimensions or dtype, or other windows or speakers than the masks.
    """
    if embeddings.ndim != 3 or not np.issubdtype(embeddings.dtype, np.floating):
        raise InputError(
            "embeddings must be floats of (windows, speakers, dimension), got "
            f"{embeddings.dtype} of shape {embeddings.shape}"
        )
    if masks.ndim != 3 or embeddings.shape[:2] != (masks.shape[0], masks.shape[2]):
        raise InputError(
            f"embeddings of shape {embeddings.shape} do not fit masks of shape {masks.shape}: "
            "windows and speakers must be the same"
        )
    return embeddings


def checked_points(points: AnyArray) -> Floats:
    """(n, D) finite floats, n and D at least 1.

    Raises:
        InputError: anything else.
    """
    if points.ndim != 2 or 0 in points.shape or not np.issubdtype(points.dtype, np.floating):
        raise InputError(
            "expected floats of (embeddings, dimension), at least one of each, got "
            f"{points.dtype} of shape {points.shape}"
        )
    if not np.isfinite(points).all():
        raise InputError("embeddings to cluster must be finite")
    return points


def unit_rows(points: Floats) -> Floats:
    """(n, D) -> rows of length 1, in the dtype that came; a zero row stays zero.

    float32 embeddings are normalised in float32, as in pyannote.audio.
    """
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    unit: Floats = points / np.where(norms == 0, 1, norms)
    return unit


def cluster_means(points: Floats, labels: Ints) -> Floats:
    """(n, D) points, (n,) labels 0 to K - 1 that all occur -> (K, D) means."""
    order = np.argsort(labels, kind="stable")
    boundaries = np.cumsum(np.bincount(labels))[:-1]
    return np.stack([members.mean(axis=0) for members in np.split(points[order], boundaries)])
