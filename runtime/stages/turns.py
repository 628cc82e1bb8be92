"""Speaker turns: who speaks from when to when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError, OptionsError
from .arrays import AnyArray, Bools, Doubles
from .frames import FrameGrid

# To a millionth of a second, far below a sample.
_DIGITS = 6


@dataclass(frozen=True, order=True)
class Turn:
    """One speaker from ``start_s`` to ``end_s``, in seconds. Turns sort by time, then name."""

    start_s: float
    end_s: float
    speaker: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


def to_turns(
    discrete: AnyArray,
    grid: FrameGrid,
    min_duration_off_s: float = 0.0,
    names: Mapping[int, str] | None = None,
) -> list[Turn]:
    """The turns of a diarization.

    A turn begins at the middle of its first frame and ends at the middle of the first frame
    without it, or of the file's last frame. Source: ``Binarize`` in pyannote.audio 4.0.7 (whose
    turns of no length, in the last frame, are dropped here too) and, for pauses,
    ``Annotation.support``.

    Args:
        discrete: (frames, K) of 0 and 1.
        grid: geometry of the frames.
        min_duration_off_s: shorter pauses of a speaker are filled, in seconds.
        names: by cluster; ``speaker_names(discrete)`` where None. Give the names of the full
            diarization for its exclusive variant.

    Returns:
        Sorted by start, end and cluster.

    Raises:
        InputError: not a matrix of 0 and 1, or a cluster that has turns but no name.
        OptionsError: a negative or infinite pause.
    """
    if not 0 <= min_duration_off_s < np.inf:
        raise OptionsError(f"min_duration_off_s must be 0 or more, got {min_duration_off_s}")
    active = _checked(discrete)
    names = speaker_names(active) if names is None else names
    times = grid.frame_times(len(active))
    found = []
    for cluster in _speaking(active):
        if cluster not in names:
            raise InputError(f"cluster {cluster} has turns but no name among {dict(names)}")
        for start_s, end_s in _spans(active[:, cluster], times, min_duration_off_s).tolist():
            found.append((start_s, end_s, cluster))
    return [Turn(start_s, end_s, names[cluster]) for start_s, end_s, cluster in sorted(found)]


def speaker_names(discrete: AnyArray) -> dict[int, str]:
    """SPEAKER_00, SPEAKER_01, ... by cluster, for those that have turns.

    Clusters are named in the order of their numbers' digits (0, 1, 10, 11, 2, ...), as in
    pyannote.audio, which sorts labels as text.

    Args:
        discrete: (frames, K) of 0 and 1.

    Raises:
        InputError: not a matrix of 0 and 1.
    """
    clusters = sorted(_speaking(_checked(discrete)), key=str)
    return {cluster: f"SPEAKER_{rank:02d}" for rank, cluster in enumerate(clusters)}


def _checked(discrete: AnyArray) -> Bools:
    if discrete.ndim != 2:
        raise InputError(f"expected (frames, clusters), got shape {discrete.shape}")
    active = discrete.astype(np.bool_)
    if discrete.dtype != np.bool_ and not np.array_equal(active, discrete):
        raise InputError("a discrete diarization holds 0 and 1 only")
    return active


def _speaking(active: Bools) -> list[int]:
    """Clusters with turns. The last frame is where a turn ends; none begins there."""
    clusters: list[int] = np.flatnonzero(active[:-1].any(axis=0)).tolist()
    return clusters


def _spans(active: Bools, times: Doubles, min_duration_off_s: float) -> Doubles:
    """(frames,) of one cluster -> (turns, 2) starts and ends in seconds."""
    changes = np.diff(active[:-1].astype(np.int8), prepend=0, append=0)
    return _filled(times[changes > 0], times[changes < 0], min_duration_off_s)


def _filled(starts_s: Doubles, ends_s: Doubles, min_duration_off_s: float) -> Doubles:
    """Starts and ends without the pauses that are too short."""
    kept = starts_s[1:] - ends_s[:-1] >= min_duration_off_s
    starts = np.concatenate([starts_s[:1], starts_s[1:][kept]])
    ends = np.concatenate([ends_s[:-1][kept], ends_s[-1:]])
    return np.stack([starts, ends], axis=1)


def within(turns: Iterable[Turn], duration_s: float) -> list[Turn]:
    """Turns cut at the end of the audio, or up to a microsecond before: see ``rounded``.

    The padding of a last window belongs to nobody.
    """
    end_s = round_s(duration_s)
    if end_s > duration_s:
        end_s = round_s(end_s - 10.0**-_DIGITS)
    return [replace(turn, end_s=min(turn.end_s, end_s)) for turn in turns if turn.start_s < end_s]


def rounded(turns: Iterable[Turn]) -> list[Turn]:
    """Turns on whole microseconds, as they are given to people: 6.730344 s, not 6.730343750000001.

    The middle of a frame lies between two of them, so that a duration may change by one. What
    has no length then is left out.
    """
    found = (
        replace(turn, start_s=round_s(turn.start_s), end_s=round_s(turn.end_s)) for turn in turns
    )
    return [turn for turn in found if turn.start_s < turn.end_s]


def round_s(time_s: float) -> float:
    """A time on whole microseconds."""
    return round(time_s, _DIGITS)
