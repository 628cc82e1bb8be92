"""The score of a stream as a picture: SVG, its moments marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..annotation.timeline import ticks, xml_text
from .result import HighlightResult

# Of Okabe and Ito's palette, and a grey that is readable on white and on black paper.
_SCORE, _MOMENT, _GREY = "#0072B2", "#E69F00", "#757575"
# Pixels
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 960.0, 240.0, 48.0, 16.0, 28.0, 26.0
_PLOT_WIDTH = _WIDTH - _LEFT - _RIGHT
_PLOT_BOTTOM = _HEIGHT - _BOTTOM
# What is drawn is bounded by the size of the picture, not by the length of the stream.
_COLUMNS = int(_PLOT_WIDTH)
_MIN_LENGTH_S = 1e-3
_FINEST = 1.0


@dataclass(frozen=True)
class _Scale:
    """From seconds and scores to pixels."""

    duration_s: float
    low: float
    high: float

    def x(self, time_s: float) -> float:
        return _LEFT + _PLOT_WIDTH * min(1.0, time_s / self.duration_s)

    def y(self, score: float) -> float:
        share = (score - self.low) / (self.high - self.low)
        return _PLOT_BOTTOM - (_PLOT_BOTTOM - _TOP) * share


def score_svg(result: HighlightResult, title: str = "") -> str:
    """An SVG picture: the score over time, its threshold as a line, moments as shaded bands.

    Where several frames share a column of pixels, it spans from their lowest to their highest
    score. The background is transparent; text is escaped.

    Args:
        result: of one stream.
        title: above the picture; may be anything.
    """
    scale = _scale(result)
    name = xml_text(title) or "highlights"
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH:g}" height="{_HEIGHT:g}" '
        f'viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{name}" '
        f'font-family="sans-serif" font-size="11" fill="{_GREY}">'
    )
    count = len(result.moments)
    note = f"score; {count} highlight{'' if count == 1 else 's'}"
    parts = [
        opening,
        f"<title>{name}</title>",
        f'<text x="{_LEFT:g}" y="17" font-size="13">{xml_text(title)}</text>',
        f'<text x="{_WIDTH - _RIGHT:g}" y="17" text-anchor="end">{note}</text>',
        *_bands(result, scale),
        f'<path d="{_curve(result, scale)}" fill="{_SCORE}"><title>score</title></path>',
        *_axes(result, scale),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _scale(result: HighlightResult) -> _Scale:
    low = min(float(result.score.min()), 0.0)
    high = max(float(result.score.max()), result.score_threshold, low + 1.0)
    return _Scale(max(result.duration_s, _MIN_LENGTH_S), low, high)


def _bands(result: HighlightResult, scale: _Scale) -> Iterator[str]:
    for moment in result.moments:
        left = scale.x(moment.start_s)
        width = max(scale.x(moment.end_s) - left, _FINEST)
        tip = f"{moment.start_s:.1f} to {moment.end_s:.1f} s: {moment.score:.2f}"
        yield (
            f'<rect class="moment" x="{left:.1f}" y="{_TOP:g}" width="{width:.1f}" '
            f'height="{_PLOT_BOTTOM - _TOP:g}" fill="{_MOMENT}" fill-opacity="0.35">'
            f"<title>{tip}</title></rect>"
        )


def _envelope(
    score: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """First frame, lowest and highest score of each column of pixels."""
    columns = min(_COLUMNS, len(score))
    first = np.arange(columns, dtype=np.int64) * len(score) // columns
    return first, np.minimum.reduceat(score, first), np.maximum.reduceat(score, first)


def _curve(result: HighlightResult, scale: _Scale) -> str:
    """A closed path: along the highest scores, and back along the lowest."""
    first, lowest, highest = _envelope(result.score)
    lefts = [scale.x(float(time_s)) for time_s in first * result.hop_s]
    there = [f"{x:.1f} {scale.y(float(y)) - 0.5:.1f}" for x, y in zip(lefts, highest, strict=True)]
    back = [f"{x:.1f} {scale.y(float(y)) + 0.5:.1f}" for x, y in zip(lefts, lowest, strict=True)]
    return f"M{'L'.join((*there, *back[::-1]))}z"


def _axes(result: HighlightResult, scale: _Scale) -> Iterator[str]:
    right = _WIDTH - _RIGHT
    for value in (scale.low, result.score_threshold, scale.high):
        y = scale.y(value)
        dashes = ' stroke-dasharray="4 3"' if value == result.score_threshold else ""
        yield f'<path d="M{_LEFT:g} {y:.1f}H{right:g}" stroke="{_GREY}"{dashes}/>'
        yield f'<text x="{_LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>'
    for time_s, label in ticks(0.0, scale.duration_s):
        x = scale.x(time_s)
        yield (
            f'<path d="M{x:.1f} {_PLOT_BOTTOM:g}v4" stroke="{_GREY}"/>'
            f'<text x="{x:.1f}" y="{_PLOT_BOTTOM + 17:g}" text-anchor="middle">{label}</text>'
        )
