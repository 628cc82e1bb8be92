"""Turns as text, by the name of a format. One table: a new format is a function and a row."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..errors import OptionsError
from ..stages.turns import Turn
from .rttm import write_rttm
from .seconds import clock, decimal_text, minus, to_decimal, to_milliseconds
from .turns import Turns

SCHEMA_VERSION = 1


def write_json(turns: Turns, file_id: str) -> str:
    """JSON, times of turns as they are, sums on whole microseconds::

        {"schema_version": 1, "file": "meeting",
         "speakers": [{"speaker": "SPEAKER_00", "speech_s": 12.5}],
         "turns": [{"start_s": 1.44, "end_s": 13.312, "speaker": "SPEAKER_00"}]}

    Speakers are sorted by label, turns by time. Readers should ignore keys that they do not know.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "file": file_id,
        "speakers": [
            {"speaker": speaker, "speech_s": round(seconds, 6)}
            for speaker, seconds in turns.speech_s().items()
        ],
        "turns": [
            {"start_s": turn.start_s, "end_s": turn.end_s, "speaker": turn.speaker}
            for turn in turns
        ],
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def write_srt(turns: Turns, _file_id: str) -> str:
    """SubRip: a cue per turn, with the speaker's label as its text."""
    # Lenient players take a line with an arrow for the times of the next cue.
    cues = (
        f"{number}\n{_times(turn, ',')}\n{turn.speaker.replace('-->', '->')}\n"
        for number, turn in enumerate(turns, start=1)
    )
    return "\n".join(cues)


def write_vtt(turns: Turns, _file_id: str) -> str:
    """WebVTT: a cue per turn, the speaker as its voice and its text."""
    cues = (
        f"\n{_times(turn, '.')}\n<v {_escaped(turn.speaker)}>{_escaped(turn.speaker)}</v>\n"
        for turn in turns
    )
    return "WEBVTT\n" + "".join(cues)


def write_csv(turns: Turns, _file_id: str) -> str:
    """CSV with a header; times as in RTTM, all digits and at least three after the point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("start_s", "end_s", "duration_s", "speaker"))
    for turn in turns:
        start, end = to_decimal(turn.start_s), to_decimal(turn.end_s)
        times = map(decimal_text, (start, end, minus(end, start)))
        writer.writerow((*times, turn.speaker))
    return text.getvalue()


def write_txt(turns: Turns, _file_id: str) -> str:
    """For people: ``[00:00:01.234 --> 00:00:03.000] SPEAKER_00``."""
    return "".join(f"[{_times(turn, '.')}] {turn.speaker}\n" for turn in turns)


def _times(turn: Turn, point: str) -> str:
    """Both times on a clock; at least a millisecond apart, since a cue without length is none."""
    start = to_milliseconds(turn.start_s)
    end = max(to_milliseconds(turn.end_s), start + 1)
    return f"{clock(start, point)} --> {clock(end, point)}"


def _escaped(label: str) -> str:
    return html.escape(label, quote=False)


Writer = Callable[[Turns, str], str]

# By name, which is also the ending of a file's name.
FORMATS: Mapping[str, Writer] = MappingProxyType(
    {
        "rttm": write_rttm,
        "json": write_json,
        "srt": write_srt,
        "vtt": write_vtt,
        "csv": write_csv,
        "txt": write_txt,
    }
)


def format_turns(turns: Turns, name: str, file_id: str) -> str:
    """The turns as text.

    Args:
        turns: of one recording.
        name: of a format: rttm, json, srt, vtt, csv or txt.
        file_id: what the recording is called; RTTM and JSON hold it.

    Raises:
        OptionsError: no such format.
        AnnotationError: a file id or label that the format cannot hold.
    """
    writer = FORMATS.get(name)
    if writer is None:
        raise OptionsError(f"no format {name!a:.40}; there are {', '.join(FORMATS)}")
    return writer(turns, file_id)
