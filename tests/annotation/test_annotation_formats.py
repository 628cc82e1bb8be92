"""Turns as text: every format, read back by other means than wrote it."""

from __future__ import annotations

import csv
import html
import io
import json
import re

import pytest
from annotation_cases import labels, tokens, turns
from hypothesis import given
from voxport.runtime import OptionsError
from voxport.runtime.annotation.formats import FORMATS, format_turns
from voxport.runtime.annotation.turns import Turn, Turns

_TURNS = Turns([Turn(1.234, 3.0, "SPEAKER_00"), Turn(2.5, 3661.0005, "R&D <b> --> x")])

_EXPECTED = {
    "srt": """1
00:00:01,234 --> 00:00:03,000
SPEAKER_00

2
00:00:02,500 --> 01:01:01,000
R&D <b> -> x
""",
    "vtt": """WEBVTT

00:00:01.234 --> 00:00:03.000
<v SPEAKER_00>SPEAKER_00</v>

00:00:02.500 --> 01:01:01.000
<v R&amp;D &lt;b&gt; --&gt; x>R&amp;D &lt;b&gt; --&gt; x</v>
""",
    "csv": """start_s,end_s,duration_s,speaker
1.234,3.000,1.766,SPEAKER_00
2.500,3661.0005,3658.5005,R&D <b> --> x
""",
    "txt": """[00:00:01.234 --> 00:00:03.000] SPEAKER_00
[00:00:02.500 --> 01:01:01.000] R&D <b> --> x
""",
}


@pytest.mark.parametrize("name", _EXPECTED)
def test_text(name: str) -> None:
    assert format_turns(_TURNS, name, "talk") == _EXPECTED[name]


def test_json() -> None:
    assert json.loads(format_turns(_TURNS, "json", "talk")) == {
        "schema_version": 1,
        "file": "talk",
        "speakers": [
            {"speaker": "R&D <b> --> x", "speech_s": 3658.5005},
            {"speaker": "SPEAKER_00", "speech_s": 1.766},
        ],
        "turns": [
            {"start_s": 1.234, "end_s": 3.0, "speaker": "SPEAKER_00"},
            {"start_s": 2.5, "end_s": 3661.0005, "speaker": "R&D <b> --> x"},
        ],
    }


def test_rttm() -> None:
    line = "SPEAKER talk 1 1.234 1.766 <NA> <NA> SPEAKER_00 <NA> <NA>\n"
    assert format_turns(_TURNS[:1], "rttm", "talk") == line


def test_all_formats_have_a_test() -> None:
    assert set(FORMATS) == {"rttm", "json", *_EXPECTED}


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(OptionsError, match="no format 'xml'; there are rttm, json, srt, vtt"):
        format_turns(_TURNS, "xml", "talk")


@pytest.mark.parametrize("name", FORMATS)
def test_no_turns(name: str) -> None:
    text = format_turns(Turns(), name, "talk")
    assert "talk" not in text or name == "json"
    assert "-->" not in text


@given(turns(labels))
def test_csv_and_json_hold_everything(annotated: Turns) -> None:
    rows = list(csv.reader(io.StringIO(format_turns(annotated, "csv", "talk"), newline="")))
    assert Turns(Turn(float(a), float(b), label) for a, b, _, label in rows[1:]) == annotated
    document = json.loads(format_turns(annotated, "json", "talk"))
    assert Turns(Turn(**turn) for turn in document["turns"]) == annotated


_CUE = r"\d\d+:\d\d:\d\d[.,]\d{3} --> \d\d+:\d\d:\d\d[.,]\d{3}"


@given(turns(labels))
def test_subtitles_have_a_cue_per_turn(annotated: Turns) -> None:
    for name in ("srt", "vtt"):
        text = format_turns(annotated, name, "talk")
        times = [line for line in text.split("\n") if re.fullmatch(_CUE, line)]
        assert len(times) == len(annotated) == text.count("-->")
        # No cue without length, nor one that other numbers of digits put in another order.
        assert all(cue.split(" --> ")[0] != cue.split(" --> ")[1] for cue in times)
    voices = re.findall(r"<v ([^>]*)>([^<]*)</v>", format_turns(annotated, "vtt", "talk"))
    assert [html.unescape(voice) for voice, _ in voices] == [turn.speaker for turn in annotated]


@given(turns(tokens))
def test_every_format_is_text_for_files(annotated: Turns) -> None:
    for name in FORMATS:
        assert (
            format_turns(annotated, name, "talk").encode("utf-8").endswith(b"\n") or not annotated
        )
