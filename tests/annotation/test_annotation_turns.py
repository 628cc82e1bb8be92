"""``Turns``: what it takes, what it says, and what it becomes."""

from __future__ import annotations

import builtins
import importlib
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from annotation_cases import activity, labels, short_turns, turns
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import MissingDependencyError
from voxport.runtime.annotation.spans import Span
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.errors import AnnotationError

_A, _B, _C = Turn(0.0, 4.0, "A"), Turn(3.0, 6.0, "B"), Turn(3.0, 5.0, "C")
_TURNS = Turns([_C, _B, _A])


def test_sorted_equal_hashable() -> None:
    assert list(_TURNS) == [_A, _C, _B]
    assert Turns([_A, _B, _C]) == _TURNS
    assert hash(_TURNS) == hash(Turns([_A, _B, _C]))
    assert Turns([_A, _B]) != _TURNS
    assert _TURNS != [_A, _C, _B]
    assert (_TURNS[0], _TURNS[1:], len(_TURNS)) == (_A, Turns([_C, _B]), 3)
    assert _B in _TURNS
    assert repr(Turns([_A])) == f"Turns([{_A!r}])"
    assert not Turns()


def test_what_they_say() -> None:
    again = Turns([*_TURNS, Turn(3.5, 4.5, "A"), Turn(9, 10, "A")])
    assert again.speakers == ("A", "B", "C")
    assert again.speech_s() == {"A": 5.5, "B": 3, "C": 2}
    assert again.overlap() == (Span(3, 5),)
    assert again.end_s == 10
    assert (Turns().speakers, Turns().speech_s(), Turns().overlap(), Turns().end_s) == (
        *((), {}, (), 0),
    )


def test_one_speaker_does_not_overlap_with_itself() -> None:
    assert Turns([Turn(0, 2, "A"), Turn(1, 3, "A")]).overlap() == ()


@given(short_turns("abc"), st.integers(0, 3000), st.integers(0, 3000))
def test_against_milliseconds(annotated: Turns, first: int, second: int) -> None:
    grid = activity(annotated)
    seconds = {name: row.sum() / 1000 for name, row in zip(annotated.speakers, grid, strict=True)}
    assert annotated.speech_s() == pytest.approx(seconds)
    shared = (grid.sum(axis=0) > 1).sum() / 1000
    assert sum(span.duration_s for span in annotated.overlap()) == pytest.approx(shared)
    cropped = annotated.crop(first / 1000, second / 1000)
    left = grid[:, first:second].sum() / 1000
    assert sum(turn.duration_s for turn in cropped) == pytest.approx(left)


def test_numbers_become_floats() -> None:
    (turn,) = Turns([Turn(np.float32(0.5), 2, "A")])  # type: ignore[arg-type]
    assert (type(turn.start_s), type(turn.end_s)) == (float, float)
    assert str(Turns([Turn(-0.0, 1.0, "A")])[0].start_s) == "0.0"


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [
        *((1, 1), (2, 1), (-1, 1), (0, 1e10 + 1), (float("nan"), 1), (0, float("inf"))),
        *((0, float("nan")), ("0", 1), (None, 1), (0, 1j)),
    ],
)
def test_times_that_are_none(start_s: Any, end_s: Any) -> None:
    with pytest.raises(AnnotationError):
        Turns([Turn(start_s, end_s, "A")])


@pytest.mark.parametrize("label", ["", " ", " A", "A\n", "A\nB", "A\0", "\ud800", "A\u2028B", None])
def test_labels_that_are_none(label: Any) -> None:
    with pytest.raises(AnnotationError, match="label"):
        Turns([Turn(0, 1, label)])


# Notebooks


def elements(text: str, name: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(text)  # noqa: S314 -- our own
    return [element for element in root.iter() if element.tag.endswith(name)]


def test_notebook_shows_a_timeline_and_tables() -> None:
    page = _TURNS._repr_html_()
    assert len(elements(page, "svg")) == 1
    cells = [element.text for element in elements(page, "td")]
    assert cells[:6] == ["A", "4.0", "44%", "B", "3.0", "33%"]
    assert cells[-3:] == ["00:00:03.000", "00:00:06.000", "B"]
    assert elements(_TURNS._repr_svg_(), "svg")


def test_notebook_of_nothing_and_of_much() -> None:
    assert elements(Turns()._repr_html_(), "summary")[0].text == "0 turns"
    many = Turns(Turn(number, number + 1, f"S{number}") for number in range(1000))
    page = many._repr_html_()
    assert len(elements(page, "tr")) == 2 * 102
    assert [element.text for element in elements(page, "td")].count("and 900 more") == 2


@given(turns(labels))
def test_any_label_can_be_shown(annotated: Turns) -> None:
    cells = [element.text for element in elements(annotated._repr_html_(), "td")]
    # All but two characters that XML cannot hold.
    shown = {re.sub("[\ufffe\uffff]", "", speaker) or None for speaker in annotated.speakers}
    assert shown <= set(cells)


# Other packages


def test_to_annotation() -> None:
    core = pytest.importorskip("pyannote.core")
    annotation = _TURNS.to_annotation("talk")
    tracks = [
        (segment.start, segment.end, label)
        for segment, _, label in annotation.itertracks(yield_label=True)
    ]
    assert isinstance(annotation, core.Annotation)
    assert annotation.uri == "talk"
    assert sorted(tracks) == [(turn.start_s, turn.end_s, turn.speaker) for turn in _TURNS]


def test_to_annotation_keeps_turns_at_the_same_time() -> None:
    pytest.importorskip("pyannote.core")
    twice = Turns([Turn(0, 1, "A"), Turn(0, 1, "A"), Turn(0, 1, "B")])
    assert len(list(twice.to_annotation().itertracks())) == 3


@pytest.mark.parametrize("annotated", [_TURNS, Turns()])
def test_to_dataframe(annotated: Turns) -> None:
    pytest.importorskip("pandas")
    frame = annotated.to_dataframe()
    rows = [(turn.start_s, turn.end_s, turn.duration_s, turn.speaker) for turn in annotated]
    assert list(frame.columns) == ["start_s", "end_s", "duration_s", "speaker"]
    assert [tuple(row) for row in frame.itertuples(index=False)] == rows
    assert [frame[name].dtype for name in frame.columns[:3]] == ["float64"] * 3


@pytest.mark.parametrize(
    ("method", "package"), [("to_annotation", "pyannote.core"), ("to_dataframe", "pandas")]
)
@pytest.mark.parametrize("absent", [True, False])
def test_absent_packages(
    monkeypatch: pytest.MonkeyPatch, method: str, package: str, absent: bool
) -> None:
    """Absent itself: a typed error. Without something that it needs: the error of the import."""
    missing = package.partition(".")[0] if absent else "something_else"

    def fail(name: str) -> Any:
        assert name == package
        raise builtins.ModuleNotFoundError("gone", name=missing)

    monkeypatch.setattr(importlib, "import_module", fail)
    expected = MissingDependencyError if absent else ModuleNotFoundError
    with pytest.raises(expected, match=f"pip install {package}" if absent else "gone"):
        getattr(_TURNS, method)()
