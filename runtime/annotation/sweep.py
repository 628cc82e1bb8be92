"""Two annotations, cut at every boundary: in each cell it is constant who speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import AnnotationError
from .spans import Span
from .turns import Turns

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# A matrix of speakers is formed.
MAX_SPEAKERS = 500
# Cells times speakers, which is what scoring costs: some ten seconds. A day of lively conversation
# between thirty people has a tenth of this.
MAX_WORK = 50_000_000
# pyannote.core's precision: what is not longer does not exist. Rounding leaves such slivers.
_SLIVER_S = 1e-6
# Entries of the matrices of one block of cells: bounds memory for turns of any number.
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Rules:
    """What is not scored.

    ``collar_s`` is the full width around each boundary of the reference, half of it on either
    side, as in pyannote.metrics. ``md-eval`` and ``dscore`` give the half: their 0.25 is 0.5 here.
    """

    collar_s: float = 0.0
    skip_overlap: bool = False


@dataclass(frozen=True)
class Lanes:
    """Turns as ranges of cells: from ``first`` up to, but without, ``last``; (turns,) each."""

    first: Ints
    last: Ints
    speaker: Ints
    num_speakers: int

    def counts(self, start: int, stop: int) -> Ints:
        """(cells, speakers): how many turns of each speaker lie over the cells of a range."""
        here = np.flatnonzero((self.first < stop) & (self.last > start))
        first, last = (ends[here].clip(start, stop) - start for ends in (self.first, self.last))
        change = np.zeros((stop - start + 1, self.num_speakers), np.int64)
        np.add.at(change, (first, self.speaker[here]), 1)
        np.subtract.at(change, (last, self.speaker[here]), 1)
        return change.cumsum(axis=0)[:-1]


@dataclass(frozen=True)
class Block:
    """Some cells: seconds (C,), turns over them by speaker (C, R) and (C, H)."""

    seconds: Doubles
    reference: Ints
    hypothesis: Ints


@dataclass(frozen=True)
class Sweep:
    """All cells. ``seconds`` (C,) is 0 where nothing is scored."""

    seconds: Doubles
    reference: Lanes
    hypothesis: Lanes

    def blocks(self) -> Iterator[Block]:
        """The cells in order, a bounded number at a time."""
        width = self.reference.num_speakers + self.hypothesis.num_speakers
        step = max(1, _BLOCK // max(1, width))
        for start in range(0, len(self.seconds), step):
            stop = min(start + step, len(self.seconds))
            yield Block(
                self.seconds[start:stop],
                self.reference.counts(start, stop),
                self.hypothesis.counts(start, stop),
            )


def sweep(reference: Turns, hypothesis: Turns, uem: Sequence[Span] | None, rules: Rules) -> Sweep:
    """Cut both at all boundaries: of turns, of the scored spans and of the collars.

    Raises:
        AnnotationError: more than 500 speakers on a side, or too many boundaries and speakers
            together.
    """
    spans = [_times(turns) for turns in (reference, hypothesis)]
    collars = _collars(spans[0], rules.collar_s)
    scored = np.array([(span.start_s, span.end_s) for span in uem or ()]).reshape(-1, 2)
    edges = np.unique(np.concatenate([*spans, collars, scored]))
    lanes = [_lanes(turns, edges) for turns in (reference, hypothesis)]
    num_speakers = sum(lane.num_speakers for lane in lanes)
    if len(edges) * num_speakers > MAX_WORK:
        raise AnnotationError(
            f"too much to score: {len(edges)} boundaries times {num_speakers} speakers are more "
            f"than {MAX_WORK}"
        )
    seconds = np.diff(edges)
    seconds[seconds <= _SLIVER_S] = 0
    seconds[_depth(collars, edges) > 0] = 0
    if uem is not None:
        seconds[_depth(scored, edges) == 0] = 0
    if rules.skip_overlap:
        seconds[_depth(spans[0], edges) > 1] = 0
    return Sweep(seconds, *lanes)


def _times(turns: Turns) -> Doubles:
    """(turns, 2) starts and ends in seconds."""
    return np.array([(turn.start_s, turn.end_s) for turn in turns]).reshape(-1, 2)


def _collars(spans: Doubles, width_s: float) -> Doubles:
    """(turns, 2) -> (2 * turns, 2), or none where they have no width."""
    half_s = width_s / 2
    boundaries = spans.reshape(-1) if half_s > 0 else np.empty(0)
    return np.stack([boundaries - half_s, boundaries + half_s], axis=1)


def _depth(spans: Doubles, edges: Doubles) -> Ints:
    """(spans, 2) -> (cells,): how many spans lie over each cell."""
    change = np.zeros(len(edges), np.int64)
    np.add.at(change, np.searchsorted(edges, spans[:, 0]), 1)
    np.subtract.at(change, np.searchsorted(edges, spans[:, 1]), 1)
    return change.cumsum()[:-1]


def _lanes(turns: Turns, edges: Doubles) -> Lanes:
    numbers = {speaker: number for number, speaker in enumerate(turns.speakers)}
    if len(numbers) > MAX_SPEAKERS:
        raise AnnotationError(
            f"{len(numbers)} speakers in one file; at most {MAX_SPEAKERS} can be scored"
        )
    times = _times(turns)
    return Lanes(
        first=np.searchsorted(edges, times[:, 0]),
        last=np.searchsorted(edges, times[:, 1]),
        speaker=np.array([numbers[turn.speaker] for turn in turns], np.int64),
        num_speakers=len(numbers),
    )
