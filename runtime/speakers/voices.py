"""What of a recording makes which embedding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..annotation.spans import Span, total_s
from ..annotation.turns import Turns
from ..errors import AnnotationError

Per = Literal["speaker", "segment"]


@dataclass(frozen=True)
class Voice:
    """One embedding to be made.

    Attributes:
        label: whose it is.
        start_s, end_s: from when to when it was heard, pauses included.
        spans: the speech that is pooled, sorted and apart from each other.
    """

    label: str
    start_s: float
    end_s: float
    spans: tuple[Span, ...]


def voices_of(turns: Turns, per: Per, min_speech_s: float) -> list[Voice]:
    """A voice per speaker, by label, or per turn, in order.

    What others say at the same time is left out, unless less than ``min_speech_s`` would be left:
    then all that the voice says is taken, as pyannote.audio does within a window.
    """
    overlap = turns.overlap()
    spoken: list[tuple[str, tuple[Span, ...]]]
    if per == "segment":
        spoken = [(turn.speaker, (Span(turn.start_s, turn.end_s),)) for turn in turns]
    else:
        spoken = list(turns.by_speaker().items())
    voices = []
    for label, spans in spoken:
        clean = without(spans, overlap)
        used = clean if total_s(clean) >= min_speech_s else spans
        voices.append(Voice(label, spans[0].start_s, spans[-1].end_s, used))
    return voices


def check_times(voices: Sequence[Voice], duration_s: float, name: str) -> None:
    """Whether the voices may be of a recording of this length; ``name`` begins the message.

    Raises:
        AnnotationError: one begins where the audio has ended.
    """
    late = [voice for voice in voices if voice.start_s >= duration_s]
    if late:
        raise AnnotationError(
            f"{name}: {late[0].label} speaks from {late[0].start_s:.3f} s on, but the audio ends "
            f"at {duration_s:.3f} s: the turns belong to another recording"
        )


def without(spans: Iterable[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    """What the others leave of the spans; both sorted and apart from each other."""
    starts = np.array([other.start_s for other in others])
    ends = np.array([other.end_s for other in others])
    left = []
    for span in spans:
        first = int(np.searchsorted(ends, span.start_s, "right"))
        last = int(np.searchsorted(starts, span.end_s, "left"))
        start_s = span.start_s
        for other in others[first:last]:
            left.append(Span(start_s, other.start_s))
            start_s = other.end_s
        left.append(Span(start_s, span.end_s))
    return tuple(span for span in left if span.start_s < span.end_s)
