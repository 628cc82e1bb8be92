"""How many people speak at once, frame by frame."""

from __future__ import annotations

import numpy as np

from ..errors import OptionsError
from .arrays import AnyArray, Bytes, active_masks
from .frames import FrameGrid, checked_windows


def speaker_count(
    masks: AnyArray, starts: AnyArray, grid: FrameGrid, max_speakers: int | None = None
) -> Bytes:
    """Active speakers of each frame: the plain average over the windows that see it, rounded.

    Halves round to even, so that a frame that one of two windows finds active is silent. Frames
    that no window reaches count 0. Source: ``SpeakerDiarizationMixin.speaker_count`` and
    ``SpeakerDiarization.apply`` (the cap) in pyannote.audio 4.0.7, with no warm-up.

    Args:
        masks: (W, F, S) of 0 and 1.
        starts: (W,) integers, the windows' first samples, ascending.
        grid: geometry of the frames.
        max_speakers: no frame counts more than this.

    Returns:
        (frames,) uint8.

    Raises:
        InputError: masks or starts of the wrong shape or with other values.
        OptionsError: ``max_speakers`` is below 1.
    """
    if max_speakers is not None and max_speakers < 1:
        raise OptionsError(f"max_speakers must be at least 1, got {max_speakers}")
    active = active_masks(masks)
    offsets = checked_windows(active, starts, grid)
    per_window = active.sum(axis=2, dtype=np.int64)
    total = np.zeros(grid.num_frames(starts), np.int64)
    windows = np.zeros_like(total)
    for offset, counts in zip(offsets.tolist(), per_window, strict=True):
        span = slice(offset, offset + grid.window_frames)
        total[span] += counts
        windows[span] += 1
    average = np.rint(total / np.maximum(windows, 1))
    most = 255 if max_speakers is None else min(max_speakers, 255)
    return np.minimum(average, most).astype(np.uint8)
