"""``Turns``: who speaks from when to when in one recording."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, overload

from ..errors import AnnotationError
from ..stages.turns import Turn
from .spans import Span, covered, total_s

# Three hundred years: seconds since 1970 fit, and floats still tell microseconds apart.
MAX_S = 1e10
# Control characters, lone surrogates, line and paragraph separators: no name has them, and in a
# text format they would start another line.
_NEVER_IN_LABELS = ("Cc", "Cs", "Zl", "Zp")


def checked_label(label: object) -> str:
    """A label that every format can hold on one line; spaces are allowed inside.

    Raises:
        AnnotationError: not text, empty, blank at an end, or with control characters.
    """
    if not isinstance(label, str):
        raise AnnotationError(f"a speaker's label must be text, got {type(label).__name__}")
    if not label or label != label.strip():
        raise AnnotationError(
            f"a speaker's label must not be empty, nor begin or end with a blank: {label!a:.80}"
        )
    if any(unicodedata.category(character) in _NEVER_IN_LABELS for character in label):
        raise AnnotationError(f"a speaker's label holds control characters: {label!a:.80}")
    return label


def checked_turn(turn: Turn) -> Turn:
    """The turn, with Python floats.

    Raises:
        AnnotationError: times that are no numbers, not finite, negative or beyond 1e10 s; an end
            that is not after the start; a label that is not one.
    """
    times = (turn.start_s, turn.end_s)
    if not all(isinstance(time, Real) for time in times):
        raise AnnotationError(f"the times of a turn must be numbers, got {times!a:.80}")
    start_s, end_s = map(float, times)
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise AnnotationError(f"a turn from {start_s} s to {end_s} s is not finite")
    if not 0 <= start_s < end_s <= MAX_S:
        raise AnnotationError(
            f"a turn must lie between 0 and {MAX_S:.0f} s and end after it starts, "
            f"got {start_s} s to {end_s} s"
        )
    # -0.0 would be written as "-0.000".
    return Turn(start_s + 0.0, end_s, checked_label(turn.speaker))


class Turns(Sequence[Turn]):
    """The turns of one recording: immutable, sorted by start, end and speaker.

    Turns may overlap, also those of one speaker. In a notebook it shows itself as a timeline and
    a table.

    Raises:
        AnnotationError: a turn whose times or label are not usable.
    """

    __slots__ = ("_turns",)

    def __init__(self, turns: Iterable[Turn] = ()) -> None:
        self._turns = tuple(sorted(map(checked_turn, turns)))

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    @overload
    def __getitem__(self, index: int) -> Turn: ...

    @overload
    def __getitem__(self, index: slice) -> Turns: ...

    def __getitem__(self, index: int | slice) -> Turn | Turns:
        return Turns(self._turns[index]) if isinstance(index, slice) else self._turns[index]

    def __eq__(self, other: object) -> bool:
        return self._turns == other._turns if isinstance(other, Turns) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._turns)

    def __repr__(self) -> str:
        return f"Turns({list(self._turns)!r})"

    @property
    def speakers(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({turn.speaker for turn in self._turns}))

    @property
    def end_s(self) -> float:
        """Where the last turn ends, in seconds; 0 without turns."""
        return max((turn.end_s for turn in self._turns), default=0.0)

    def by_speaker(self) -> dict[str, tuple[Span, ...]]:
        """Where each speaker speaks: spans that lie apart, in order; by label, sorted."""
        turns: dict[str, list[Turn]] = {speaker: [] for speaker in self.speakers}
        for turn in self._turns:
            turns[turn.speaker].append(turn)
        return {speaker: covered(own) for speaker, own in turns.items()}

    def speech_s(self) -> dict[str, float]:
        """Seconds that each speaker speaks; a moment counts once, whatever turns cover it."""
        return {speaker: total_s(spans) for speaker, spans in self.by_speaker().items()}

    def overlap(self) -> tuple[Span, ...]:
        """Where two or more different speakers speak."""
        return covered((span for spans in self.by_speaker().values() for span in spans), 2)

    def crop(self, start_s: float, end_s: float) -> Turns:
        """What lies between two times, in seconds; turns across them are cut, none is moved."""
        cut = (
            Turn(max(turn.start_s, start_s), min(turn.end_s, end_s), turn.speaker)
            for turn in self._turns
        )
        return Turns(turn for turn in cut if turn.start_s < turn.end_s)

    def to_annotation(self, file_id: str | None = None) -> Any:
        """A ``pyannote.core.Annotation``; the turns are its tracks, numbered from 0.

        pyannote.core leaves out turns of a microsecond or less.

        Raises:
            MissingDependencyError: pyannote.core is not installed.
        """
        from .conversions import to_annotation  # noqa: PLC0415 -- it needs this module

        return to_annotation(self, file_id)

    def to_dataframe(self) -> Any:
        """A pandas ``DataFrame``: start_s, end_s, duration_s, speaker; one row per turn.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        from .conversions import to_dataframe  # noqa: PLC0415 -- it needs this module

        return to_dataframe(self)

    def _repr_svg_(self) -> str:
        from .timeline import timeline_svg  # noqa: PLC0415 -- it needs this module

        return timeline_svg(self, self.end_s)

    def _repr_html_(self) -> str:
        from .notebook import turns_html  # noqa: PLC0415 -- it needs this module

        return turns_html(self)
