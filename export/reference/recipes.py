"""The small graphs, in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def powerset_masks(
    log_probs: npt.NDArray[np.floating], classes: Sequence[Sequence[int]], num_speakers: int
) -> Array:
    """(B, F, classes) -> (B, F, speakers): the members of the first best class are active."""
    masks = np.zeros((*log_probs.shape[:2], num_speakers))
    for window, frame in np.ndindex(*log_probs.shape[:2]):
        scores = list(log_probs[window, frame])
        masks[window, frame, list(classes[scores.index(max(scores))])] = 1.0
    return masks


def clean_masks(masks: npt.NDArray[np.floating]) -> Array:
    """(B, F, S) -> (B, F, S) without the frames in which two or more speakers are active."""
    clean = np.array(masks, dtype=np.float64)
    clean[masks.sum(axis=2) >= 2] = 0.0
    return clean


def embedding_masks(masks: npt.NDArray[np.floating], num_samples: int) -> Array:
    """(B, F, S) -> (B, S, F): clean mask, or the full mask where too little of it is clean."""
    clean = clean_masks(masks)
    min_frames = math.ceil(masks.shape[1] * 400 / num_samples)
    rows = [
        [
            clean[b, :, s] if clean[b, :, s].sum() > min_frames else masks[b, :, s]
            for s in range(masks.shape[2])
        ]
        for b in range(len(masks))
    ]
    return np.array(rows, dtype=np.float64)


def cosine_distance(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Array:
    """(S, D), (M, D) -> (S, M); a zero vector is at distance 1 from everything."""
    distances = np.ones((len(a), len(b)))
    for row, column in np.ndindex(distances.shape):
        x, y = a[row].astype(np.float64), b[column].astype(np.float64)
        norms = float(np.linalg.norm(x) * np.linalg.norm(y))
        if norms > 0:
            distances[row, column] = 1.0 - float(x @ y) / norms
    return distances


def long_segments(
    segments: npt.NDArray[np.floating], min_duration_s: float, step_s: float
) -> Array:
    """(1, F, S) -> (1, F, S): runs of active frames that last ``min_duration_s`` or longer."""
    kept = np.zeros(segments.shape)
    for speaker in range(segments.shape[2]):
        start = 0
        for active, run in groupby(segments[0, :, speaker]):
            length = len(list(run))
            if active and length * step_s >= min_duration_s - 1e-12:
                kept[0, start : start + length, speaker] = 1.0
            start += length
    return kept
