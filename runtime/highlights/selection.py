"""From frames that stand out to moments."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import OptionsError

# A gap or a moment as long as the shortest stays, however its ends were computed.
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class Moment:
    """A highlight, from ``start_s`` to ``end_s``; ``score`` is that of its best frame."""

    start_s: float
    end_s: float
    score: float

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Selection:
    """Which frames make a moment, and which moments are given.

    Attributes:
        min_gap_s: moments that are nearer to each other are one.
        min_duration_s: shorter moments are dropped, after that.
        top: how many are given at most, those with the best scores; None for all.

    Raises:
        OptionsError: a number out of range.
    """

    min_gap_s: float = 1.0
    min_duration_s: float = 0.5
    top: int | None = None

    def __post_init__(self) -> None:
        for name in ("min_gap_s", "min_duration_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionsError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.top is not None and self.top < 1:
            raise OptionsError(f"top must be 1 or more, got {self.top}")


DEFAULT_SELECTION = Selection()


@dataclass(frozen=True)
class FrameTimes:
    """When frames are: ``hop_s`` from one to the next, each ``frame_s`` long, in ``duration_s``."""

    frame_s: float
    hop_s: float
    duration_s: float


def select_moments(
    mask: npt.NDArray[np.float32],
    score: npt.NDArray[np.float32],
    times: FrameTimes,
    selection: Selection = DEFAULT_SELECTION,
) -> tuple[Moment, ...]:
    """Moments in the order of time.

    A moment is a run of frames of the mask, from the start of its first frame to the end of its
    last one. Of equal scores, the earlier moments are kept.

    Args:
        mask: (T,) 1 for frames that stand out.
        score: (T,) of each frame.
        times: of the frames.
        selection: what is merged, dropped and kept.
    """
    changes = np.diff(mask > 0, prepend=False, append=False)
    first, behind = np.flatnonzero(changes).reshape(-1, 2).T
    starts = first * times.hop_s
    ends = np.minimum((behind - 1) * times.hop_s + times.frame_s, times.duration_s)
    opens = np.ones(len(starts), np.bool_)
    opens[1:] = starts[1:] - ends[:-1] >= selection.min_gap_s - _ROUNDING_S
    opening = np.flatnonzero(opens)
    if not len(opening):
        return ()
    closing = np.append(opening[1:], len(starts)) - 1
    # Between the runs of a moment no frame can be better than they are, unless it is in none.
    best = np.maximum.reduceat(np.where(mask > 0, score, -np.inf), first[opening])
    starts, ends = starts[opening], ends[closing]
    kept = np.flatnonzero(ends - starts >= selection.min_duration_s - _ROUNDING_S)
    ranked = kept[np.argsort(-best[kept], kind="stable")][: selection.top]
    return tuple(
        Moment(round(float(starts[i]), 6), round(float(ends[i]), 6), float(best[i]))
        for i in np.sort(ranked)
    )
