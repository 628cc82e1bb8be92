"""Profiles as stacked bars: SVG without any dependency, PNG through matplotlib."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from html import escape
from pathlib import Path
from types import ModuleType

from ..errors import MissingDependencyError, VoxportError
from .summary import Profile, StageProfile
from .table import PART_NAMES, efficiency_text

SUFFIXES = (".svg", ".png")
# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = {
    "audio_s": "#56b4e9",
    "windows_s": "#0072b2",
    "copies_s": "#d55e00",
    "device_s": "#009e73",
    "cpu_operators_s": "#e69f00",
    "host_s": "#999999",
}
_WIDTH, _MARGIN, _BAR, _ROW = 900, 20, 22, 56
_LEGEND_Y, _FIRST_ROW_Y = 30, 60
_TITLE = "Wall time of a warm round in ms"


def write_plot(profile: Profile, path: Path) -> None:
    """Write a bar for each stage, of its parts' wall times.

    Raises:
        VoxportError: the path ends neither in ``.svg`` nor in ``.png``, or cannot be written.
        MissingDependencyError: a PNG needs matplotlib.
    """
    check_plot(path)
    try:
        if path.suffix == ".svg":
            path.write_text(svg(profile), encoding="utf-8")
        else:
            _write_png(profile, path)
    except OSError as error:
        raise VoxportError(f"{path}: cannot be written: {error}") from error


def check_plot(path: Path) -> None:
    """Raise what ``write_plot`` would for a path's kind, before anything is measured."""
    if path.suffix not in SUFFIXES:
        raise VoxportError(f"{path}: a plot must end in {' or '.join(SUFFIXES)}")
    if path.suffix == ".png":
        _figure_module()


def svg(profile: Profile) -> str:
    """The plot as an SVG document."""
    height = _FIRST_ROW_Y + _ROW * len(profile.stages) + _MARGIN
    longest_s = max((stage.wall_s for stage in profile.stages), default=0.0)
    body = [*_legend()]
    for index, stage in enumerate(profile.stages):
        body += _bar(stage, _FIRST_ROW_Y + index * _ROW, longest_s)
    size = f'width="{_WIDTH}" height="{height}"'
    root = f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {_WIDTH} {height}"'
    lines = [
        f'{root} font-family="sans-serif" font-size="13">',
        f"<title>{_TITLE}</title>",
        f'<rect {size} fill="#ffffff"/>',
        *body,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _legend() -> Iterator[str]:
    step = (_WIDTH - 2 * _MARGIN) / len(COLOURS)
    for index, (field, colour) in enumerate(COLOURS.items()):
        x = _MARGIN + index * step
        yield _rectangle(x, _LEGEND_Y - 11, 12, 12, colour)
        yield _label(x + 18, _LEGEND_Y, PART_NAMES[field])


def _bar(stage: StageProfile, top: float, longest_s: float) -> Iterator[str]:
    yield _label(_MARGIN, top + 14, caption(stage))
    x = float(_MARGIN)
    for field, seconds in asdict(stage.parts).items():
        width = (_WIDTH - 2 * _MARGIN) * seconds / longest_s if longest_s > 0 else 0.0
        tip = f"{PART_NAMES[field]}: {seconds * 1e3:.2f} ms"
        yield _rectangle(x, top + 20, width, _BAR, COLOURS[field], tip)
        x += width


def caption(stage: StageProfile) -> str:
    """One line: which stage, where, how long, and its status."""
    return (
        f"{stage.name} {stage.precision} on {stage.device}: {stage.wall_s * 1e3:.1f} ms, "
        f"{stage.status} ({efficiency_text(stage)})"
    )


def _rectangle(  # noqa: PLR0913, PLR0917 -- a rectangle has them
    x: float, y: float, width: float, height: float, colour: str, tip: str = ""
) -> str:
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" '
        f'fill="{colour}">{title}</rect>'
    )


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}">{escape(text)}</text>'


def _figure_module() -> ModuleType:
    try:
        import matplotlib.figure  # noqa: PLC0415 -- an optional package
    except ImportError as error:
        raise MissingDependencyError(
            "a PNG needs matplotlib: `pip install voxport[plot]`, or write a .svg, which needs "
            "nothing"
        ) from error
    module: ModuleType = matplotlib.figure
    return module


def _write_png(profile: Profile, path: Path) -> None:
    # Without pyplot: no window, no global state.
    figure = _figure_module().Figure(figsize=(9, 1.2 + 0.6 * len(profile.stages)))
    axes = figure.add_subplot()
    captions = [caption(stage) for stage in profile.stages]
    lefts = [0.0] * len(captions)
    for field, colour in COLOURS.items():
        widths = [getattr(stage.parts, field) * 1e3 for stage in profile.stages]
        axes.barh(range(len(captions)), widths, left=lefts, color=colour, label=PART_NAMES[field])
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    axes.set_yticks(range(len(captions)), captions, fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel(_TITLE)
    figure.legend(loc="outside upper center", ncols=len(COLOURS), fontsize="small")
    figure.savefig(path, format="png", dpi=150, bbox_inches="tight")
