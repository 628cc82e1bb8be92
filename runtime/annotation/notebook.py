"""Turns as a notebook shows them: the timeline, and tables under it."""

from __future__ import annotations

from .seconds import clock, to_milliseconds
from .timeline import timeline_svg, xml_text
from .turns import Turns

# Rows of a table that a page still scrolls through; the rest is counted.
_MAX_ROWS = 100


def turns_html(turns: Turns) -> str:
    """HTML: a timeline, a table of speakers, and the turns, folded. Labels are escaped."""
    speech_s = turns.speech_s()
    together_s = sum(speech_s.values())
    speakers = [
        (speaker, f"{seconds:.1f}", f"{seconds / together_s:.0%}")
        for speaker, seconds in speech_s.items()
    ]
    rows = [
        (clock(to_milliseconds(turn.start_s)), clock(to_milliseconds(turn.end_s)), turn.speaker)
        for turn in turns[:_MAX_ROWS]
    ]
    return (
        f"<div>{timeline_svg(turns, turns.end_s)}"
        f"{_table(('speaker', 'speech (s)', 'share'), speakers[:_MAX_ROWS], len(speakers))}"
        f"<details><summary>{len(turns)} turns</summary>"
        f"{_table(('start', 'end', 'speaker'), rows, len(turns))}</details></div>"
    )


def _table(header: tuple[str, ...], rows: list[tuple[str, str, str]], count: int) -> str:
    lines = [_row("th", header), *(_row("td", row) for row in rows)]
    if count > len(rows):
        lines.append(f'<tr><td colspan="{len(header)}">and {count - len(rows)} more</td></tr>')
    return f"<table>{''.join(lines)}</table>"


def _row(cell: str, values: tuple[str, ...]) -> str:
    return f"<tr>{''.join(f'<{cell}>{xml_text(value)}</{cell}>' for value in values)}</tr>"
