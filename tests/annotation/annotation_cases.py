"""Turns that Hypothesis draws, and a scorer that only counts milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from voxport.runtime.annotation.turns import MAX_S, Turn, Turns

_GRID_MS = 3000

# What RTTM holds: no blanks, no control characters; and not its word for nothing.
tokens = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Zs")), min_size=1, max_size=20
).filter(lambda text: text != "<NA>")

# Whatever a label may be: blanks inside too.
labels = st.lists(tokens, min_size=1, max_size=3).map(" ".join)

_times = st.floats(0, MAX_S) | st.integers(0, 10**7).map(lambda ms: ms / 1000)


@st.composite
def turn(draw: st.DrawFn, label: st.SearchStrategy[str] = tokens) -> Turn:
    start_s, end_s = sorted((draw(_times), draw(_times)))
    if start_s == end_s:
        start_s, end_s = 0.0, end_s + 1.0 if end_s < 1.0 else end_s
    return Turn(start_s, end_s, draw(label))


def turns(label: st.SearchStrategy[str] = tokens, min_size: int = 0) -> st.SearchStrategy[Turns]:
    return st.lists(turn(label), min_size=min_size, max_size=20).map(Turns)


@st.composite
def short_turns(draw: st.DrawFn, names: str) -> Turns:
    """Within three seconds, on milliseconds; no speaker overlaps with itself."""
    found = []
    for name in names:
        bounds = draw(st.lists(st.integers(0, _GRID_MS), max_size=8, unique=True).map(sorted))
        found += [
            Turn(start / 1000, end / 1000, name)
            for start, end in zip(bounds[::2], bounds[1::2], strict=False)
        ]
    return Turns(found)


# A scorer without a sweep and without an assignment


Activity = npt.NDArray[np.bool_]


def activity(annotated: Turns) -> Activity:
    """(speakers, milliseconds)"""
    grid = np.zeros((len(annotated.speakers), _GRID_MS), bool)
    for one in annotated:
        row = annotated.speakers.index(one.speaker)
        grid[row, round(one.start_s * 1000) : round(one.end_s * 1000)] = True
    return grid


def assignments(reference: Activity, hypothesis: Activity) -> Iterator[list[tuple[int, int]]]:
    """All ways to pair speakers, as many as there are on the smaller side."""
    rows, columns = len(reference), len(hypothesis)
    if rows <= columns:
        for chosen in permutations(range(columns), rows):
            yield list(enumerate(chosen))
    else:
        for chosen in permutations(range(rows), columns):
            yield [(row, column) for column, row in enumerate(chosen)]


def counted(reference: Activity, hypothesis: Activity) -> tuple[list[float], set[float]]:
    """Milliseconds of speech, correct, confusion, miss, false alarm; and the Jaccard error rates
    of all mappings that share most, rounded to nine digits."""
    shared = {
        tuple(pairs): sum(int((reference[r] & hypothesis[h]).sum()) for r, h in pairs)
        for pairs in assignments(reference, hypothesis)
    }
    most = max(shared.values())
    said, heard = reference.sum(axis=0), hypothesis.sum(axis=0)
    both = int(np.minimum(said, heard).sum())
    amounts = (
        int(said.sum()),
        most,
        both - most,
        int((said - np.minimum(said, heard)).sum()),
        int((heard - np.minimum(said, heard)).sum()),
    )
    best = [pairs for pairs, milliseconds in shared.items() if milliseconds == most]
    rates = {jaccard_error_rate(reference, hypothesis, dict(pairs)) for pairs in best}
    return [amount / 1000 for amount in amounts], rates


def jaccard_error_rate(reference: Activity, hypothesis: Activity, mapping: dict[int, int]) -> float:
    errors = []
    for row, speech in enumerate(reference):
        heard = hypothesis[mapping[row]] if row in mapping else np.zeros_like(speech)
        shared = (speech & heard).sum()
        # Who shares nothing is not mapped: an error of 1 in either case.
        errors.append(1 - shared / (speech | heard).sum())
    return round(float(np.mean(errors)), 9) if errors else 1.0
