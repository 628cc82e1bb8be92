"""Figures as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from voxport.runtime.annotation.scoring import Score


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: text to the left, everything else to the right."""
    lines = [header, ("---", *("---:" for _ in header[1:])), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(share: float) -> str:
    """A share in per cent with one digit."""
    return f"{100 * share:.1f}"


def errors(score: Score | None) -> str:
    """``25.9 (9.1 / 6.1 / 10.7)``: DER and its parts; a dash where nothing was scored."""
    if score is None:
        return "-"
    parts = (score.miss_s, score.false_alarm_s, score.confusion_s)
    shown = " / ".join(percent(score.share(part)) for part in parts)
    return f"{percent(score.der)} ({shown})"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """``15.2 (14.8-15.9)``: the median, and the least and most where there are several."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"
