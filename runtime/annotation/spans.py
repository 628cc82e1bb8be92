"""Stretches of time, and where several of them meet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol


class Timed(Protocol):
    """What begins and ends."""

    @property
    def start_s(self) -> float:
        """Begin in seconds."""

    @property
    def end_s(self) -> float:
        """End in seconds."""


@dataclass(frozen=True, order=True)
class Span:
    """From ``start_s`` to ``end_s``, in seconds."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


def covered(spans: Iterable[Timed], times: int = 1) -> tuple[Span, ...]:
    """Where at least ``times`` of the spans lie: sorted, apart from each other, none empty.

    ``times=1`` is the union. Spans that only touch become one.
    """
    changes: dict[float, int] = {}
    for span in spans:
        changes[span.start_s] = changes.get(span.start_s, 0) + 1
        changes[span.end_s] = changes.get(span.end_s, 0) - 1
    found = []
    depth, start_s = 0, 0.0
    for time_s in sorted(changes):
        before, depth = depth, depth + changes[time_s]
        if before < times <= depth:
            start_s = time_s
        elif depth < times <= before:
            found.append(Span(start_s, time_s))
    return tuple(found)


def total_s(spans: Iterable[Span]) -> float:
    """The sum of the lengths, in seconds."""
    return sum(span.duration_s for span in spans)
