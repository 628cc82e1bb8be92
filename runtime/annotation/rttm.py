"""RTTM: one line per turn, read with suspicion, written so that reading gives the same floats.

Format: NIST, The 2009 (RT-09) Rich Transcription Meeting Recognition Evaluation Plan, appendix A.
"""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

from ..errors import AnnotationError
from ..stages.turns import Turn
from .lines import Source, records
from .seconds import decimal_text, minus, parse_seconds, plus, to_decimal
from .turns import MAX_S, Turns, checked_label, checked_turn

MAX_TURNS = 200_000

_SPEAKER = "SPEAKER"
# What else RTTM knows. Another word in this place means another format.
_OTHER_TYPES = frozenset(
    (
        *("SEGMENT", "NOSCORE", "NO_RT_METADATA", "LEXEME", "NON-LEX", "NON-SPEECH", "FILLER"),
        *("EDIT", "IP", "SU", "CB", "A/P", "SPKR-INFO"),
    )
)
# type, file, channel, begin, duration, orthography, subtype, speaker; what follows is not read.
_COLUMNS = 8
_ABSENT = "<NA>"


def read_rttm(source: Source) -> dict[str, Turns]:
    """The turns of every file that an RTTM file speaks of, by file id.

    Only ``SPEAKER`` lines are taken. The end is the exact decimal sum of begin and duration,
    rounded once: 0.1 and 0.2 end at 0.3, where a sum of floats may be one bit off. Turns
    without length are left out. Channels are not told apart.

    Args:
        source: a path, or an open text file.

    Raises:
        AnnotationError: a line that is not RTTM, with its file and number; times that are not
            finite, negative or beyond 1e10 s; a line, file or number of turns (200,000) beyond
            the limits; a file that cannot be read.
    """
    found: dict[str, list[Turn]] = {}
    count = 0
    for place, columns in records(source):
        try:
            if not _is_speaker(columns):
                continue
            file_id, turn = _parsed(columns)
        except AnnotationError as error:
            raise AnnotationError(f"{place}: {error}") from error
        count += 1
        if count > MAX_TURNS:
            raise AnnotationError(f"{place}: more than {MAX_TURNS} turns")
        found.setdefault(file_id, []).extend(() if turn is None else (turn,))
    return {file_id: Turns(turns) for file_id, turns in found.items()}


def write_rttm(turns: Turns, file_id: str) -> str:
    """RTTM text, a line per turn.

    Times have as many digits as it takes to read the same floats again, and at least three after
    the point: turns on milliseconds look as pyannote writes them. No turns give no text.

    Raises:
        AnnotationError: a file id or label with blanks or control characters, which RTTM cannot
            hold, or a speaker called ``<NA>``, which means that there is none.
    """
    checked_id = _token(file_id, "a file id")
    return "".join(
        f"{_SPEAKER} {checked_id} 1 {decimal_text(to_decimal(turn.start_s))} "
        f"{decimal_text(minus(to_decimal(turn.end_s), to_decimal(turn.start_s)))} "
        f"{_ABSENT} {_ABSENT} {_speaker(turn.speaker)} {_ABSENT} {_ABSENT}\n"
        for turn in turns
    )


def file_id_of(path: str | os.PathLike[str]) -> str:
    """The name of a file without its ending, with ``_`` for what RTTM cannot hold in an id."""
    characters = (_or_underscore(character) for character in Path(path).stem)
    return "".join(characters) or "_"


def _or_underscore(character: str) -> str:
    try:
        return checked_label(character)
    except AnnotationError:
        return "_"


def _is_speaker(columns: list[str]) -> bool:
    if columns[0] == _SPEAKER:
        return True
    if columns[0] in _OTHER_TYPES:
        return False
    raise AnnotationError(f"not an RTTM record: {columns[0]!a:.80}")


def _parsed(columns: list[str]) -> tuple[str, Turn | None]:
    """File id and turn of a SPEAKER line; no turn if it has no length."""
    if len(columns) < _COLUMNS:
        raise AnnotationError(f"expected {_COLUMNS} columns or more, got {len(columns)}")
    file_id, speaker = _token(columns[1], "a file id"), _speaker(columns[7])
    begin, duration = _seconds(columns[3], "begin"), _seconds(columns[4], "duration")
    start_s, end_s = float(begin), float(plus(begin, duration))
    if start_s == end_s <= MAX_S:
        return file_id, None
    return file_id, checked_turn(Turn(start_s, end_s, speaker))


def _seconds(text: str, what: str) -> Decimal:
    value = parse_seconds(text)
    if value is None or value < 0:
        raise AnnotationError(f"{what} must be a number of seconds, 0 or more: {text!a:.80}")
    return value


def _speaker(label: str) -> str:
    if label == _ABSENT:
        raise AnnotationError(f"the speaker is {_ABSENT}: a turn must have one")
    return _token(label, "a speaker's label")


def _token(text: str, what: str) -> str:
    if checked_label(text).split() != [text]:
        raise AnnotationError(f"RTTM cannot hold {what} with blanks: {text!a:.80}")
    return text
