"""From clustered windows to who speaks in which frame of the file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .arrays import AnyArray, Bytes, Ints, active_masks
from .frames import FrameGrid, checked_windows


def discrete_diarization(
    masks: AnyArray, assignments: AnyArray, counts: AnyArray, starts: AnyArray, grid: FrameGrid
) -> Bytes:
    """The ``count`` most active clusters of each frame.

    A cluster is active in a window's frame where one of its local speakers is; windows vote, and
    of equal clusters the lowest comes first. Source: ``SpeakerDiarization.reconstruct`` and
    ``to_diarization`` in pyannote.audio 4.0.7 (whose order of equal clusters depends on the
    machine's sort, beyond 16 of them).

    Args:
        masks: (W, F, S) of 0 and 1.
        assignments: (W, S) integers: clusters from 0, anything negative for none.
        counts: (frames,) integers from ``speaker_count``, or ``exclusive`` ones.
        starts: (W,) integers, the windows' first samples, ascending.
        grid: geometry of the frames.

    Returns:
        (frames, K) uint8 of 0 and 1. K is the number of clusters, or the largest count if that is
        more: nameless speakers then fill up.

    Raises:
        InputError: arrays of the wrong shape or with other values.
    """
    active = active_masks(masks)
    offsets = checked_windows(active, starts, grid)
    _check(active, assignments, counts, grid.num_frames(starts))
    num_clusters = int(max(assignments.max(initial=-1) + 1, counts.max(initial=0)))
    votes = np.zeros((len(counts), num_clusters), np.int32)
    for offset, window, clusters in zip(offsets.tolist(), active, assignments, strict=True):
        for cluster in {int(cluster) for cluster in clusters if cluster >= 0}:
            voices = window[:, clusters == cluster].any(axis=1)
            votes[offset : offset + grid.window_frames, cluster] += voices
    return _most_voted(votes, counts)


def exclusive(counts: AnyArray) -> AnyArray:
    """Counts, capped at 1: the diarization that they give has one speaker at a time."""
    return np.minimum(counts, 1)


def _check(masks: AnyArray, assignments: AnyArray, counts: AnyArray, num_frames: int) -> None:
    expected = (masks.shape[0], masks.shape[2])
    if assignments.shape != expected or not np.issubdtype(assignments.dtype, np.integer):
        raise InputError(
            f"assignments must be integers of shape {expected}, got {assignments.dtype} of shape "
            f"{assignments.shape}"
        )
    if counts.shape != (num_frames,) or not np.issubdtype(counts.dtype, np.integer):
        raise InputError(
            f"counts must be integers of shape ({num_frames},), got {counts.dtype} of shape "
            f"{counts.shape}"
        )


def _most_voted(votes: npt.NDArray[np.int32], counts: AnyArray) -> Bytes:
    """(frames, K), (frames,) -> (frames, K); uses ``votes`` up."""
    chosen = np.zeros(votes.shape, np.uint8)
    for rank in range(int(counts.max(initial=0))):
        frames: Ints = np.flatnonzero(counts > rank)
        clusters = votes[frames].argmax(axis=1)
        chosen[frames, clusters] = 1
        votes[frames, clusters] = -1
    return chosen
