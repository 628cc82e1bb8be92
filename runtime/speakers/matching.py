"""Who is who: speakers of a recording to known ones, each to one at most."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment


def matched(distances: npt.NDArray[np.floating[Any]], threshold: float) -> list[int | None]:
    """(S, M) distances -> for each of S speakers one of M known ones, or None: unknown.

    No pair at ``threshold`` or above, nobody twice, and the sum of how far the pairs stay below it
    is as high as can be: a speaker who is nearest to a known one may leave it to another who fits
    it better.
    """
    if 0 in distances.shape:
        return [None] * len(distances)
    margins = np.maximum(threshold - distances.astype(np.float64), 0)
    found: list[int | None] = [None] * len(distances)
    speakers, known = linear_sum_assignment(margins, maximize=True)
    for speaker, number in zip(speakers.tolist(), known.tolist(), strict=True):
        if margins[speaker, number] > 0:
            found[speaker] = number
    return found
