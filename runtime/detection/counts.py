"""How many people speak at once, from windows that come one block after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..stages import FrameGrid, InputError

Counts = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


class CountTrack:
    """``speaker_count`` for blocks of windows, in the order of their starts.

    It gives the same numbers, but holds the sums of those frames only that later windows may
    still see, and a byte for every other one.

    Args:
        grid: geometry of the frames.
    """

    def __init__(self, grid: FrameGrid) -> None:
        self._grid = grid
        self._settled: list[Counts] = []
        self._first = 0  # frame that the sums begin with
        self._totals = np.zeros(0, np.int32)
        self._windows = np.zeros(0, np.int32)
        self._num_frames = 0

    def add(self, masks: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64]) -> None:
        """Take the next windows.

        Args:
            masks: (W, F, S) of 0 and 1.
            starts: (W,) their first samples, ascending, none before those of an earlier call.

        Raises:
            InputError: starts that are not, or masks with other frames than the grid's.
        """
        offsets = self._grid.window_offsets(starts)
        if masks.shape[:2] != (len(offsets), self._grid.window_frames) or not len(offsets):
            raise InputError(
                f"masks of {len(offsets)} windows of {self._grid.window_frames} frames expected, "
                f"got shape {masks.shape}"
            )
        if offsets[0] < self._first:
            raise InputError("windows must come in the order of their starts")
        self._grow(int(offsets[-1]) + self._grid.window_frames)
        counts = masks.sum(axis=2, dtype=np.int32)
        for offset, window in zip((offsets - self._first).tolist(), counts, strict=True):
            span = slice(offset, offset + self._grid.window_frames)
            self._totals[span] += window
            self._windows[span] += 1
        self._num_frames = self._grid.num_frames(starts)
        self._settle(int(offsets[-1]))

    def result(self) -> Counts:
        """(frames,) uint8: all that were taken so far, as ``speaker_count`` has it."""
        counts = np.concatenate([*self._settled, _averages(self._totals, self._windows)])
        # Rounding may leave frames at the end that no window reaches.
        return np.pad(counts, (0, self._num_frames - len(counts)))

    def _grow(self, end: int) -> None:
        missing = max(0, end - self._first - len(self._totals))
        self._totals = np.pad(self._totals, (0, missing))
        self._windows = np.pad(self._windows, (0, missing))

    def _settle(self, end: int) -> None:
        """Frames before ``end`` are seen by no later window."""
        done = end - self._first
        self._settled.append(_averages(self._totals[:done], self._windows[:done]))
        self._totals, self._windows = self._totals[done:], self._windows[done:]
        self._first = end


def _averages(totals: npt.NDArray[np.int32], windows: npt.NDArray[np.int32]) -> Counts:
    averages = np.rint(totals / np.maximum(windows, 1))
    return np.minimum(averages, 255).astype(np.uint8)
