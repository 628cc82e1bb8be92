"""The picture: where things are, that it stays small, and that text stays text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from annotation_cases import labels, turns
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import OptionsError
from voxport.runtime.annotation.timeline import timeline_svg
from voxport.runtime.annotation.turns import Turn, Turns

_NAMESPACE = "{http://www.w3.org/2000/svg}"


class Picture:
    """An SVG, taken apart."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)  # noqa: S314 -- our own

    def texts(self) -> list[str]:
        return [text.text or "" for text in self.root.iter(f"{_NAMESPACE}text")]

    def boxes(self, title: str) -> list[tuple[float, float, float, float]]:
        """Left, top, right and bottom of all marks of a title."""
        found = []
        for path in self.root.iter(f"{_NAMESPACE}path"):
            if path.findtext(f"{_NAMESPACE}title") == title:
                marks = re.findall(r"M(\S+) (\S+)H([\d.]+)V([\d.]+)H[\d.]+z", path.attrib["d"])
                found += [tuple(map(float, mark)) for mark in marks]
        return found  # type: ignore[return-value]

    def colour(self, title: str) -> str:
        return next(
            path.attrib["fill"]
            for path in self.root.iter(f"{_NAMESPACE}path")
            if path.findtext(f"{_NAMESPACE}title") == title
        )


def test_speakers_are_rows_and_time_runs_to_the_right() -> None:
    picture = Picture(timeline_svg(Turns([Turn(0, 50, "A"), Turn(25, 100, "B")]), 100))
    (a,), (b,), (both,) = picture.boxes("A"), picture.boxes("B"), picture.boxes("overlap")
    full = b[2] - a[0]
    assert (a[2] - a[0]) / full == pytest.approx(0.5, abs=1e-3)
    assert (b[0] - a[0]) / full == pytest.approx(0.25, abs=1e-3)
    assert a[3] <= b[1]
    # The shade covers both rows, where both speak.
    assert (both[0], both[2]) == pytest.approx((b[0], a[2]))
    assert both[1] < a[1]
    assert both[3] > b[3]
    assert picture.colour("A") != picture.colour("B")
    assert [text for text in picture.texts() if ":" in text][:3] == [
        *("shaded: two or more speak", "0:00", "0:10"),
    ]


def test_no_overlap_is_not_shaded() -> None:
    picture = Picture(timeline_svg(Turns([Turn(0, 50, "A"), Turn(50, 100, "B")]), 100))
    assert picture.boxes("overlap") == []
    assert not any("shaded" in text for text in picture.texts())


def test_silence_at_the_end_is_shown() -> None:
    short, long = (
        Picture(timeline_svg(Turns([Turn(0, 50, "A")]), duration_s)) for duration_s in (10, 200)
    )
    assert short.boxes("A")[0][2] == pytest.approx(944)
    assert long.boxes("A")[0][2] == pytest.approx(170 + 774 / 4)


def test_two_hours_stay_readable_and_small() -> None:
    random = np.random.default_rng(0)
    starts = np.sort(random.uniform(0, 7195, 2000))
    meeting = Turns(
        Turn(start, start + random.uniform(0.3, 5), f"S{random.integers(6)}") for start in starts
    )
    svg = timeline_svg(meeting, 7200, "meeting")
    picture = Picture(svg)
    # Twelve panels of ten minutes, six rows in each.
    assert picture.texts().count("S3") == 12
    assert picture.texts().count("1:00:00") == 2
    tops = {box[1] for box in picture.boxes("S3")}
    assert len(tops) == 12
    assert max(box[2] for box in picture.boxes("S3")) <= 944.5
    assert len(svg) < 300_000


def test_a_turn_across_panels_is_in_both() -> None:
    boxes = Picture(timeline_svg(Turns([Turn(590, 620, "A")]), 1200)).boxes("A")
    assert len(boxes) == 2
    assert boxes[0][2] == pytest.approx(944)
    assert boxes[1][0] == pytest.approx(170)


def test_short_turns_are_seen() -> None:
    (box,) = Picture(timeline_svg(Turns([Turn(5, 5.001, "A")]), 600)).boxes("A")
    assert box[2] - box[0] >= 0.4


def test_size_is_bounded() -> None:
    many = Turns(Turn(number / 2, number / 2 + 0.1, f"S{number % 999}") for number in range(20_000))
    svg = timeline_svg(many, 1e10)
    assert len(svg) < 1_000_000
    picture = Picture(svg)
    assert "960 others" in picture.texts()
    assert float(picture.root.attrib["height"]) < 20_000


def test_many_speakers_are_all_there_up_to_the_limit() -> None:
    forty = Turns(Turn(number, number + 1, f"S{number}") for number in range(40))
    texts = Picture(timeline_svg(forty, 40)).texts()
    assert {f"S{number}" for number in range(40)} <= set(texts)
    # Who says least goes first.
    more = Turns([*forty, Turn(50, 60, "x"), Turn(70, 70.5, "S")])
    texts = Picture(timeline_svg(more, 80)).texts()
    assert "3 others" in texts
    assert "x" in texts


def test_nothing_at_all() -> None:
    assert "no speech" in Picture(timeline_svg(Turns(), 0)).texts()


@pytest.mark.parametrize("duration_s", [-1, float("nan"), float("inf"), 1e11])
def test_impossible_durations_are_refused(duration_s: float) -> None:
    with pytest.raises(OptionsError, match="duration_s"):
        timeline_svg(Turns(), duration_s)


def test_text_is_escaped() -> None:
    label = '<script>alert("1")</script>'
    picture = Picture(timeline_svg(Turns([Turn(0, 1, label)]), 1, '"><image href="x"/>'))
    assert picture.boxes(label)
    assert f"{label[:23]}…" in picture.texts()
    assert '"><image href="x"/>' in picture.texts()
    names = {element.tag.removeprefix(_NAMESPACE) for element in picture.root.iter()}
    assert names == {"svg", "title", "path", "text"}


@given(turns(labels), st.floats(0, 1e10), st.text())
def test_anything_is_a_sound_picture(annotated: Turns, duration_s: float, title: str) -> None:
    svg = timeline_svg(annotated, duration_s, title)
    svg.encode()
    picture = Picture(svg)
    assert not re.search(r"nan|inf", re.sub(r">[^<]*<|label=\"[^\"]*\"", "", svg))
    assert len([text for text in picture.texts() if re.fullmatch(r"[\d:.]+", text)]) >= 1
