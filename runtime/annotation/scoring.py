"""Diarization error rate and Jaccard error rate, as pyannote.metrics 4.2.0 defines them.

Computed on the turns' own boundaries, not on frames: exact but for the rounding of sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from ..errors import OptionsError
from .spans import Span
from .sweep import Bools, Doubles, Ints, Rules, Sweep, sweep
from .turns import Turns

# Columns of a matrix of speakers that are mapped to each other.
Mapping = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


@dataclass(frozen=True)
class Score:
    """What one file, or several (``+``), have wrong. Seconds count each speaker: two who speak
    at once for a second are two seconds.

    ``speech_s`` is what the reference holds: ``correct_s + confusion_s + miss_s``.
    ``jaccard_errors`` is the sum over the reference's speakers, ``num_speakers`` their number.
    """

    speech_s: float = 0.0
    correct_s: float = 0.0
    confusion_s: float = 0.0
    miss_s: float = 0.0
    false_alarm_s: float = 0.0
    num_speakers: int = 0
    jaccard_errors: float = 0.0

    @property
    def der(self) -> float:
        """Diarization error rate: confusion, miss and false alarm as a share of the speech.

        May exceed 1. Without any speech in the reference it is 0 if nothing is wrong, else 1.
        """
        return self.share(self.confusion_s + self.miss_s + self.false_alarm_s)

    @property
    def jer(self) -> float:
        """Jaccard error rate, from 0 to 1: the mean over the reference's speakers.

        1 if it has none, whatever the hypothesis says, as in pyannote.metrics; such a file adds
        nothing to a sum.
        """
        return self.jaccard_errors / self.num_speakers if self.num_speakers else 1.0

    def share(self, seconds: float) -> float:
        """Seconds as a share of the reference's speech; 0 or 1 where it has none."""
        return seconds / self.speech_s if self.speech_s else float(seconds > 0)

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def total(scores: Iterable[Score]) -> Score:
    """The score of all files together: seconds and speakers are summed, not rates averaged."""
    return sum(scores, start=Score())


def score(
    reference: Turns,
    hypothesis: Turns,
    uem: Sequence[Span] | None = None,
    *,
    collar_s: float = 0.0,
    skip_overlap: bool = False,
) -> Score:
    """How far a hypothesis is from the reference, with the best mapping of their speakers.

    Source: ``DiarizationErrorRate`` and ``JaccardErrorRate`` of pyannote.metrics 4.2.0, and for
    the latter the evaluation plan of DIHARD II. As there, several turns of one speaker at the
    same time count as often as they occur in the DER.

    Args:
        reference: the truth.
        hypothesis: what is judged.
        uem: only these spans are scored; None for everything.
        collar_s: seconds that are not scored around each boundary of the reference, half of them
            on either side (``md-eval`` and ``dscore`` give that half).
        skip_overlap: leave out where the reference has two turns or more.

    Raises:
        OptionsError: a collar that is negative or not finite.
        AnnotationError: more than 500 speakers in the reference or the hypothesis, or boundaries
            times speakers beyond 50 million.
    """
    if not 0 <= collar_s < math.inf:
        raise OptionsError(f"collar_s must be 0 or more and finite, got {collar_s}")
    cells = sweep(reference, hypothesis, uem, Rules(collar_s, skip_overlap))
    shared = _shared(cells)
    jaccard = shared.jaccard_errors()
    return Score(
        **_seconds(cells, shared.mapping()),
        num_speakers=len(jaccard),
        jaccard_errors=float(jaccard.sum()),
    )


@dataclass(frozen=True)
class _Shared:
    """Seconds that speakers share: (R, H), and that they speak: (R,), (H,).

    ``turns`` counts every pair of turns, the others each moment once.
    """

    turns: Doubles
    moments: Doubles
    reference: Doubles
    hypothesis: Doubles

    def mapping(self) -> Mapping:
        """The reference's and the hypothesis' speakers that are mapped to each other.

        Transposed as in pyannote.metrics, so that equally good mappings are resolved alike.
        """
        hypothesis, reference = _assigned(self.turns.T, self.hypothesis > 0, self.reference > 0)
        return reference, hypothesis

    def jaccard_errors(self) -> Doubles:
        """(R,) the error of each speaker of the reference who is scored at all.

        The mapping is not transposed here, as in pyannote.metrics: where several are equally
        good, it may be another than that of the DER.
        """
        scored = self.reference > 0
        errors = np.ones(len(scored))
        reference, hypothesis = _assigned(self.turns, scored, self.hypothesis > 0)
        both = self.moments[reference, hypothesis]
        either = self.reference[reference] + self.hypothesis[hypothesis] - both
        errors[reference] = (either - both) / either
        return errors[scored].clip(0, 1)


def _assigned(matrix: Doubles, scored_rows: Bools, scored_columns: Bools) -> Mapping:
    """The one-to-one mapping that shares most; speakers who share nothing are not mapped.

    Speakers without any scored speech are left out first: pyannote.metrics does not see them.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 -- slow to import

    rows, columns = np.flatnonzero(scored_rows), np.flatnonzero(scored_columns)
    kept = matrix[np.ix_(rows, columns)]
    first, second = linear_sum_assignment(kept, maximize=True)
    real = kept[first, second] > 0
    return rows[first[real]], columns[second[real]]


def _shared(cells: Sweep) -> _Shared:
    num_reference, num_hypothesis = cells.reference.num_speakers, cells.hypothesis.num_speakers
    sums = _Shared(
        turns=np.zeros((num_reference, num_hypothesis)),
        moments=np.zeros((num_reference, num_hypothesis)),
        reference=np.zeros(num_reference),
        hypothesis=np.zeros(num_hypothesis),
    )
    for block in cells.blocks():
        # All in float64: matrices of other types are not multiplied by BLAS.
        turns = [counts.astype(np.float64) for counts in (block.reference, block.hypothesis)]
        moments = [np.minimum(counts, 1) for counts in turns]
        seconds = block.seconds[:, None]
        sums.turns[:] += (turns[0] * seconds).T @ turns[1]
        sums.moments[:] += (moments[0] * seconds).T @ moments[1]
        sums.reference[:] += block.seconds @ moments[0]
        sums.hypothesis[:] += block.seconds @ moments[1]
    return sums


def _seconds(cells: Sweep, mapping: Mapping) -> dict[str, float]:
    """The seconds of a score, given who is who."""
    sums = dict.fromkeys(("speech_s", "correct_s", "confusion_s", "miss_s", "false_alarm_s"), 0.0)
    for block in cells.blocks():
        reference, hypothesis = block.reference.sum(axis=1), block.hypothesis.sum(axis=1)
        correct = np.minimum(block.reference[:, mapping[0]], block.hypothesis[:, mapping[1]]).sum(
            axis=1
        )
        counts: dict[str, Ints] = {
            "speech_s": reference,
            "correct_s": correct,
            "confusion_s": np.minimum(reference, hypothesis) - correct,
            "miss_s": (reference - hypothesis).clip(0),
            "false_alarm_s": (hypothesis - reference).clip(0),
        }
        for name, count in counts.items():
            sums[name] += float(block.seconds @ count)
    return sums
