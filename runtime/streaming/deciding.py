"""From labelled windows to who speaks in which frame, and from frames to turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..stages import NO_CLUSTER, FrameGrid, Turn, discrete_diarization, speaker_count
from ..stages.arrays import Bools, Ints
from .networks import HeardWindow


@dataclass(frozen=True)
class Decision:
    """Who speaks in the frames from ``first_frame`` on.

    ``active`` is (frames, K) bool, ``labels`` (K,) int64 says whose columns they are.
    """

    first_frame: int
    active: Bools
    labels: Ints

    @property
    def end_frame(self) -> int:
        """Behind the last frame."""
        return self.first_frame + len(self.active)

    def part(self, first_frame: int, end_frame: int) -> Decision:
        """The frames from one up to another."""
        rows = slice(first_frame - self.first_frame, end_frame - self.first_frame)
        return Decision(first_frame, self.active[rows], self.labels)


def decide(
    windows: Sequence[HeardWindow],
    labels: Ints,
    first_frame: int,
    grid: FrameGrid,
    max_speakers: int | None,
) -> Decision:
    """The frames from ``first_frame`` to the end of the last window.

    Windows vote, as offline. Where more speak than have labels, since two local speakers bear one
    label or none, the lowest labels that are silent fill up, as offline too.

    Args:
        windows: at least one, in order, none of which ends before ``first_frame``.
        labels: (W, S) int64, negative for none.
        first_frame: on the grid of the stream, 0 or more.
        grid: geometry of the frames.
        max_speakers: no frame has more.
    """
    masks = np.stack([window.masks for window in windows])
    # Counted from a frame on, offsets lie on the grid: nothing is rounded anew.
    base = min(first_frame, windows[0].first_frame)
    offsets = np.array([window.first_frame - base for window in windows], np.int64)
    starts = offsets * grid.hop_samples
    counts = speaker_count(masks, starts, grid, max_speakers)
    # Columns for the labels that occur, whatever their number, and for those that fill up.
    columns = np.union1d(labels[labels >= 0], np.arange(counts.max(initial=0)))
    clusters = np.where(labels >= 0, np.searchsorted(columns, labels), NO_CLUSTER)
    discrete = discrete_diarization(masks, clusters, counts, starts, grid)
    active = discrete[first_frame - base : offsets[-1] + grid.window_frames]
    # The highest columns are left out where nobody needs them.
    return Decision(first_frame, active.astype(np.bool_), columns[: active.shape[1]])


@dataclass
class OpenTurns:
    """Turns that are going on: by label, the frame in which they began."""

    grid: FrameGrid
    starts: dict[int, int] = field(default_factory=dict)

    def copy(self) -> OpenTurns:
        return OpenTurns(self.grid, dict(self.starts))

    def extend(self, decision: Decision) -> list[Turn]:
        """Go on with the frames that follow; the turns that end with one of them, sorted.

        A turn begins and ends at the middle of a frame, as in ``to_turns``.
        """
        ended = []
        columns = dict(zip(decision.labels.tolist(), decision.active.T, strict=True))
        silent = np.zeros(len(decision.active), np.bool_)
        for label in sorted(columns.keys() | self.starts.keys()):
            before = [label in self.starts]
            speaking = np.concatenate([before, columns.get(label, silent)])
            for change in np.flatnonzero(speaking[1:] != speaking[:-1]).tolist():
                frame = decision.first_frame + change
                if label in self.starts:
                    ended.append(self._turn(label, frame))
                else:
                    self.starts[label] = frame
        return sorted(ended)

    def close(self, frame: int) -> list[Turn]:
        """End all turns with a frame."""
        return sorted(self._turn(label, frame) for label in list(self.starts))

    def time_s(self, frame: int) -> float:
        """The middle of a frame, as ``FrameGrid.frame_times`` has it."""
        start_s = frame * self.grid.hop_s
        return 0.5 * (start_s + (start_s + self.grid.receptive_field_s))

    def _turn(self, label: int, end_frame: int) -> Turn:
        start_frame = self.starts.pop(label)
        return Turn(self.time_s(start_frame), self.time_s(end_frame), f"SPEAKER_{label:02d}")
