"""RTTM and UEM: exact there and back, and suspicious of everything."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from annotation_cases import tokens, turns
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import VoxportError
from voxport.runtime.annotation import lines, rttm, uem
from voxport.runtime.annotation.rttm import file_id_of, read_rttm, write_rttm
from voxport.runtime.annotation.spans import Span
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.annotation.uem import read_uem
from voxport.runtime.errors import AnnotationError

_LINE = "SPEAKER a 1 1.5 2.25 <NA> <NA> S1 <NA> <NA>\n"
_TURNS = {"a": Turns([Turn(1.5, 3.75, "S1")])}


def read(text: str) -> dict[str, Turns]:
    return read_rttm(io.StringIO(text))


# There and back


@given(turns(min_size=1), tokens)
def test_reading_gives_what_was_written(annotated: Turns, file_id: str) -> None:
    assert read(write_rttm(annotated, file_id)) == {file_id: annotated}


@given(st.lists(st.tuples(st.integers(0, 10**8), st.integers(1, 10**7)), min_size=1))
def test_milliseconds_stay_milliseconds(times: list[tuple[int, int]]) -> None:
    """Text to turns to text, as pyannote writes it."""
    rows = [
        f"SPEAKER a 1 {start / 1000:.3f} {length / 1000:.3f} <NA> <NA> S <NA> <NA>\n"
        for start, length in sorted(times)
    ]
    assert write_rttm(read("".join(rows))["a"], "a") == "".join(rows)


def test_ends_are_decimal_sums() -> None:
    (turn,) = read("SPEAKER a 1 0.100 0.200 <NA> <NA> S <NA> <NA>")["a"]
    # 0.1 + 0.2 is 0.30000000000000004.
    assert turn.end_s == 0.3


@pytest.mark.parametrize(
    "turn",
    [
        # No float added to the start gives this end.
        Turn(2.0**-53, 1 + 2.0**-52, "S"),
        Turn(5e-324, 1e10, "S"),
        Turn(1e10 - 2e-6, 1e10, "S"),
        Turn(0.0309375, 1.3134375000000002, "S"),
    ],
)
def test_hard_floats(turn: Turn) -> None:
    text = write_rttm(Turns([turn]), "a")
    assert "e" not in text.replace("SPEAKER", "")
    assert read(text) == {"a": Turns([turn])}


def test_written_lines() -> None:
    annotated = Turns([Turn(0.5, 1, "B"), Turn(0, 10.0312, "A")])
    assert write_rttm(annotated, "talk") == (
        "SPEAKER talk 1 0.000 10.0312 <NA> <NA> A <NA> <NA>\n"
        "SPEAKER talk 1 0.500 0.500 <NA> <NA> B <NA> <NA>\n"
    )
    assert write_rttm(Turns(), "talk") == ""


@pytest.mark.parametrize(
    ("label", "file_id"),
    [("Jane Doe", "a"), ("<NA>", "a"), ("x", "a b"), ("x", ""), ("x", "a\n"), ("x", "a\u3000b")],
)
def test_what_rttm_cannot_hold_is_not_written(label: str, file_id: str) -> None:
    with pytest.raises(AnnotationError):
        write_rttm(Turns([Turn(0, 1, label)]), file_id)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_any_name_gives_a_file_id(name: str) -> None:
    file_id = file_id_of(name.replace("\0", ""))
    assert read(write_rttm(_TURNS["a"], file_id)) == {file_id: _TURNS["a"]}


def test_file_id_is_the_name_without_its_ending() -> None:
    assert file_id_of(Path("folder") / "my talk.v2.wav") == "my_talk.v2"


# What is read


@pytest.mark.parametrize(
    "text",
    [
        f";; comment\n\n   \n{_LINE}",
        f"\ufeff{_LINE}",
        _LINE.replace("\n", "\r\n"),
        _LINE.strip(),
        _LINE.replace(" ", "\t  "),
        _LINE.replace("\n", " 0.9 more columns\n"),
        "SPEAKER a 1 1.5 2.25 <NA> <NA> S1",
        "SPEAKER a <NA> +1.5 225e-2 word sub S1 <NA>",
        f"SPKR-INFO b 1 <NA> <NA> <NA> adult_male S1 <NA> <NA>\nLEXEME\n{_LINE}",
        f"{_LINE}SPEAKER a 1 7 0.000 <NA> <NA> S2 <NA> <NA>",
    ],
)
def test_ways_to_write_the_same(text: str) -> None:
    assert read(text) == _TURNS


def test_files_are_told_apart_and_sorted() -> None:
    text = _LINE + _LINE.replace(" a ", " b ") + _LINE.replace("1.5", "0.5").replace("S1", "S2")
    found = read(text)
    assert list(found) == ["a", "b"]
    assert [turn.speaker for turn in found["a"]] == ["S2", "S1"]


def test_files_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.rttm"
    path.write_bytes(b"\xef\xbb\xbf;; caf\xe9\r\n" + _LINE.encode())
    assert read_rttm(path) == _TURNS
    assert read_rttm(str(path)) == _TURNS
    path.write_bytes(_LINE.encode().replace(b"S1", b"caf\xe9"))
    with pytest.raises(AnnotationError, match=r"a\.rttm:1: .*control characters"):
        read_rttm(path)


# What is not


@pytest.mark.parametrize(
    ("begin", "duration"),
    [
        *(("nan", "1"), ("1", "nan"), ("inf", "1"), ("1", "inf"), ("-1", "2"), ("1", "-0.5")),
        *(("1e999", "1"), ("1", "1e999"), ("1_0", "1"), ("0x1", "1"), ("<NA>", "1"), ("1", "<NA>")),
        *(("1e10", "1"), ("1e-999999999", "1"), ("\u0661", "1"), ("1", "9" * 401), ("1,5", "2")),
    ],
)
def test_times_that_are_none(begin: str, duration: str) -> None:
    text = f"{_LINE}SPEAKER a 1 {begin} {duration} <NA> <NA> S1 <NA> <NA>\n"
    with pytest.raises(AnnotationError, match=r"^text:2: "):
        read(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("start_s,end_s,speaker", "not an RTTM record"),
        ("speaker a 1 1 1 <NA> <NA> S1", "not an RTTM record"),
        ("SPEAKER a 1 1 1 <NA> <NA>", "8 columns or more, got 7"),
        ("SPEAKER a 1 1 1 <NA> <NA> <NA> <NA> <NA>", "must have one"),
        ("SPEAKER a 1 1 1 <NA> <NA> S\0 <NA> <NA>", "control characters"),
        ("SPEAKER a\x07 1 1 1 <NA> <NA> S <NA> <NA>", "control characters"),
        (f"SPEAKER a 1 1 1 <NA> <NA> {'S' * lines.MAX_LINE}", "longer than"),
    ],
)
def test_lines_that_are_not_rttm(line: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=f"^text:2: .*{message}"):
        read(f"{_LINE}{line}\n{_LINE}")


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rttm, "MAX_TURNS", 3)
    assert len(read(_LINE * 3)["a"]) == 3
    with pytest.raises(AnnotationError, match="text:4: more than 3 turns"):
        read(_LINE * 4)
    monkeypatch.setattr(lines, "MAX_CHARACTERS", 30)
    with pytest.raises(AnnotationError, match="text:1: the file has more than 30"):
        read(_LINE)


@pytest.mark.parametrize("name", ["absent.rttm", ".", "a\0b"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(VoxportError):
        read_rttm(f"{tmp_path}/{name}")


def test_streams_that_do_not_decode() -> None:
    with pytest.raises(AnnotationError, match="not text"):
        read_rttm(io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))


@given(st.text(max_size=60), st.integers(0, len(_LINE)), st.integers(0, 9))
def test_any_damage_is_read_or_refused(garbage: str, place: int, lost: int) -> None:
    text = _LINE[:place] + garbage + _LINE[place + lost :]
    try:
        found = read(text)
    except AnnotationError as error:
        assert str(error).startswith("text:")  # noqa: PT017 -- either outcome is right
    else:
        for file_id, annotated in found.items():
            assert read(write_rttm(annotated, file_id)) == (
                {file_id: annotated} if annotated else {}
            )


# UEM


def test_uem() -> None:
    text = ";; file channel begin end\na 1 0.00 10.5\r\nb 1 5 6\na NA 8 12\na 1 20 21 more\n"
    assert read_uem(io.StringIO(text)) == {
        "a": (Span(0, 12), Span(20, 21)),
        "b": (Span(5, 6),),
    }


@pytest.mark.parametrize(
    "line", ["a 1 0", "a 1 2 2", "a 1 3 2", "a 1 -1 2", "a 1 0 nan", "a 1 0 inf", "a 1 x 2"]
)
def test_lines_that_are_not_uem(line: str) -> None:
    with pytest.raises(AnnotationError, match=r"^text:2: "):
        read_uem(io.StringIO(f"a 1 0 1\n{line}\n"))


def test_uem_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uem, "MAX_SPANS", 2)
    with pytest.raises(AnnotationError, match="text:3: more than 2 spans"):
        read_uem(io.StringIO("a 1 0 1\n" * 3))
