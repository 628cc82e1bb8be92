"""Turns as a picture: SVG, speakers as rows, shaded where several speak."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import OptionsError
from .spans import Span, covered, total_s
from .turns import MAX_S, Turns

# Okabe and Ito, Color Universal Design (2008), without black: told apart by colour-blind readers.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
# The same contrast on white and on black paper (4.6).
_GREY = "#757575"
# Pixels
_WIDTH, _LABELS, _MARGIN = 960.0, 170.0, 16.0
_PLOT = _WIDTH - _LABELS - _MARGIN
_LANE, _BAR, _AXIS, _HEADER = 16.0, 11.0, 26.0, 26.0
# Marks are as wide as this at least, and run together where their gap is smaller: what is drawn
# is bounded by the size of the picture, not by the number of turns.
_FINEST = 0.5
_MAX_LANES = 40
_MAX_CHARACTERS = 24
# A recording of up to a panel is drawn in its own scale, a longer one in panels of this length.
_PANEL_S = 600.0
_MAX_PANELS = 24
_MAX_TICKS = 10
_STEPS_S = (
    *(0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0),
)


@dataclass(frozen=True)
class _Lane:
    label: str
    colour: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class _Panel:
    """Seconds ``start_s`` to ``end_s``, drawn from pixel ``top`` on."""

    start_s: float
    end_s: float
    top: float
    pixels_per_s: float

    def x(self, time_s: float) -> float:
        return _LABELS + (time_s - self.start_s) * self.pixels_per_s

    def marks(self, spans: Iterable[Span]) -> list[tuple[float, float]]:
        """Left and right pixels of sorted spans, apart from each other."""
        found: list[tuple[float, float]] = []
        for span in spans:
            if span.end_s <= self.start_s or span.start_s >= self.end_s:
                continue
            left = self.x(max(span.start_s, self.start_s))
            right = max(self.x(min(span.end_s, self.end_s)), left + _FINEST)
            if found and left - found[-1][1] < _FINEST:
                left, right = found[-1][0], max(right, found.pop()[1])
            found.append((left, right))
        return found


_MIN_LENGTH_S = 1e-3


def timeline_svg(turns: Turns, duration_s: float, title: str = "") -> str:
    """An SVG picture: a row per speaker, a shaded band where two or more speak.

    Up to ten minutes fill one panel; what is longer is broken into panels of ten minutes, or
    more, so that there are at most 24. Of more than 40 speakers, those who say least share a row.
    The background is transparent, and all colours are readable on light and dark ones. Text is
    escaped; nothing but shapes and text is in the picture.

    Args:
        turns: of one recording.
        duration_s: of the recording, in seconds; the picture goes on to the last turn's end.
        title: above the picture; may be anything.

    Raises:
        OptionsError: a duration that is negative, not finite or beyond 1e10 s.
    """
    if not 0 <= duration_s <= MAX_S:
        raise OptionsError(f"duration_s must be between 0 and {MAX_S:.0f}, got {duration_s}")
    lanes, overlap = _lanes(turns), turns.overlap()
    length_s = max(duration_s, turns.end_s)
    # Nothing to see: any scale does, but one by a denormal number is infinite.
    panels = _panels(length_s if length_s >= _MIN_LENGTH_S else 1.0, len(lanes))
    height = panels[-1].top + len(lanes) * _LANE + _AXIS
    name = xml_text(title) or "speaker timeline"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:g}" height="{height:g}" '
        f'viewBox="0 0 {_WIDTH:g} {height:g}" role="img" aria-label="{name}" '
        f'font-family="sans-serif" font-size="11" fill="{_GREY}">'
    )
    parts = [opening, f"<title>{name}</title>", *_header(title, overlap, lanes)]
    for panel in panels:
        parts += _panel(panel, lanes, overlap)
    return "\n".join((*parts, "</svg>\n"))


def _lanes(turns: Turns) -> list[_Lane]:
    """By label; beyond the limit, those with the least speech together in the last."""
    spans = turns.by_speaker()
    ranked = sorted(spans, key=lambda speaker: total_s(spans[speaker]), reverse=True)
    others = set(ranked[_MAX_LANES - 1 :]) if len(ranked) > _MAX_LANES else set()
    kept = [speaker for speaker in spans if speaker not in others]
    lanes = [
        _Lane(speaker, _COLOURS[number % len(_COLOURS)], spans[speaker])
        for number, speaker in enumerate(kept)
    ]
    if others:
        together = covered(span for speaker in others for span in spans[speaker])
        lanes.append(_Lane(f"{len(others)} others", _GREY, together))
    return lanes


def _panels(duration_s: float, num_lanes: int) -> list[_Panel]:
    length_s = _PANEL_S
    while duration_s > _MAX_PANELS * length_s:
        length_s *= 2
    scale = _PLOT / min(length_s, duration_s)
    count = max(1, int(-(-duration_s // length_s)))
    height = num_lanes * _LANE + _AXIS
    return [
        _Panel(
            number * length_s,
            min((number + 1) * length_s, duration_s),
            _HEADER + number * height,
            scale,
        )
        for number in range(count)
    ]


def _header(title: str, overlap: tuple[Span, ...], lanes: list[_Lane]) -> Iterator[str]:
    if title:
        yield f'<text x="{_MARGIN:g}" y="17" font-size="13">{xml_text(title)}</text>'
    note = "shaded: two or more speak" if overlap else "" if lanes else "no speech"
    if note:
        yield f'<text x="{_WIDTH - _MARGIN:g}" y="17" text-anchor="end">{note}</text>'


def _panel(panel: _Panel, lanes: list[_Lane], overlap: tuple[Span, ...]) -> Iterator[str]:
    bottom = panel.top + len(lanes) * _LANE
    yield from _axis(panel, bottom)
    shaded = _path(panel.marks(overlap), panel.top, bottom - panel.top)
    if shaded:
        yield f'<path d="{shaded}" fill-opacity="0.3"><title>overlap</title></path>'
    for number, lane in enumerate(lanes):
        top = panel.top + number * _LANE
        label = xml_text(lane.label)
        yield (
            f'<text x="{_LABELS - 8:g}" y="{top + 12:g}" text-anchor="end">'
            f"{xml_text(_short(lane.label))}</text>"
        )
        marks = _path(panel.marks(lane.spans), top + (_LANE - _BAR) / 2, _BAR)
        if marks:
            yield f'<path d="{marks}" fill="{lane.colour}"><title>{label}</title></path>'


def _axis(panel: _Panel, bottom: float) -> Iterator[str]:
    right = panel.x(panel.end_s)
    yield f'<path d="M{_LABELS:g} {bottom:g}H{right:.1f}" stroke="{_GREY}"/>'
    for time_s, label in ticks(panel.start_s, panel.end_s):
        x = panel.x(time_s)
        yield (
            f'<path d="M{x:.1f} {panel.top:g}V{bottom + 4:g}" stroke="{_GREY}" '
            f'stroke-opacity="0.4"/><text x="{x:.1f}" y="{bottom + 15:g}" '
            f'text-anchor="middle">{label}</text>'
        )


def ticks(start_s: float, end_s: float) -> Iterator[tuple[float, str]]:
    """Up to eleven times at round distances from ``start_s`` on, and how they are written."""
    step_s = _step_s(end_s - start_s)
    for number in range(_MAX_TICKS + 1):
        time_s = start_s + number * step_s
        if time_s > end_s:
            break
        yield time_s, _clock(time_s, step_s)


def _step_s(length_s: float) -> float:
    """Between ticks: the finest that gives no more than ten steps."""
    for step_s in _STEPS_S:
        if length_s <= _MAX_TICKS * step_s:
            return step_s
    step_s = _STEPS_S[-1]
    while length_s > _MAX_TICKS * step_s:
        step_s *= 2
    return step_s


def _clock(time_s: float, step_s: float) -> str:
    """``m:ss``, ``h:mm:ss`` from an hour on; decimals where the steps need them."""
    if step_s < 1:
        return f"{time_s:.3f}".rstrip("0").rstrip(".")
    minutes, seconds = divmod(round(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _path(marks: list[tuple[float, float]], top: float, height: float) -> str:
    return "".join(
        f"M{left:.1f} {top:g}H{right:.1f}V{top + height:g}H{left:.1f}z" for left, right in marks
    )


def _short(label: str) -> str:
    return label if len(label) <= _MAX_CHARACTERS else f"{label[: _MAX_CHARACTERS - 1]}…"


def xml_text(text: str) -> str:
    """Escaped for XML and HTML, without the characters that XML cannot hold at all."""
    kept = (character for character in text if character >= " " and _in_xml(character))
    return html.escape("".join(kept))


def _in_xml(character: str) -> bool:
    return not ("\ud800" <= character <= "\udfff" or character in "\ufffe\uffff")
