"""Profiles as text: a table per stage, or devices side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from .distribution import KERNEL_EVENTS, SYNCHRONISED, OperatorTime
from .summary import Profile, StageProfile, Unavailable

PART_NAMES = {
    "audio_s": "audio",
    "windows_s": "windows",
    "copies_s": "copies",
    "device_s": "device",
    "cpu_operators_s": "CPU operators",
    "host_s": "host",
}
NONE = "-"
_DEFAULT_OPERATORS = 10


def table(profile: Profile, top: int = _DEFAULT_OPERATORS) -> str:
    """Every stage with its parts and its ``top`` operators, and what was not available."""
    blocks = [_stage_lines(stage, top) for stage in profile.stages]
    if profile.unavailable:
        blocks.append(_unavailable_lines(profile.unavailable))
    return as_text(blocks)


def side_by_side(profile: Profile, top: int = _DEFAULT_OPERATORS) -> str:
    """Devices as columns, for each artifact; then the operators of each."""
    blocks = []
    for _, group in groupby(profile.stages, key=lambda stage: (stage.name, stage.precision)):
        stages = list(group)
        blocks.append(_comparison_lines(stages))
        blocks += [_operator_lines(stage, top) for stage in stages if top and stage.operators]
    if profile.unavailable:
        blocks.append(_unavailable_lines(profile.unavailable))
    return as_text(blocks)


def efficiency_text(stage: StageProfile) -> str:
    """In percent; with <= where it is an upper bound."""
    bound = "<= " if stage.basis == SYNCHRONISED else ""
    return f"{bound}{stage.efficiency:.0%}"


def as_text(blocks: Sequence[Sequence[str]]) -> str:
    """Blocks of lines with an empty line between two."""
    return "\n".join("".join(f"{line.rstrip()}\n" for line in block) for block in blocks)


def _stage_lines(stage: StageProfile, top: int) -> list[str]:
    where = f"{stage.name} {stage.precision} on {stage.device}"
    lines = [
        f"{where}: {stage.status} (efficiency {efficiency_text(stage)}, from {stage.basis})",
        *columns(list(_figures(stage).items())),
        *(f"  ! {warning}" for warning in stage.warnings),
        "",
        *_part_lines(stage),
    ]
    return [*lines, "", *_operator_lines(stage, top)] if top and stage.operators else lines


def _figures(stage: StageProfile) -> dict[str, str]:
    """What is shown beside status and parts, as text by name."""
    audio = NONE if stage.audio_duration_s is None else f"{stage.audio_duration_s:.1f} s"
    return {
        f"warm, median of {stage.rounds}": f"{milliseconds(stage.wall_s)} ms",
        "cold": f"{milliseconds(stage.cold_s)} ms",
        "- load": f"{milliseconds(stage.load_s)} ms",
        "- first call": f"{milliseconds(stage.first_call_s)} ms",
        "audio": audio,
        "windows": str(stage.num_windows),
        "batch size": str(stage.batch_size),
        "calls": str(stage.num_calls),
        "RTFx": NONE if stage.rtfx is None else f"{stage.rtfx:.1f}",
        "windows per second": f"{stage.windows_per_s:.1f}",
        "share of copies": f"{stage.share_of_copies:.1%}",
        "peak memory, host": megabytes(stage.peak_host_bytes),
        "peak memory, device": megabytes(stage.peak_device_bytes),
    }


def _part_lines(stage: StageProfile) -> list[str]:
    rows = [("part", "wall ms", "share")]
    for field, seconds in asdict(stage.parts).items():
        share = seconds / stage.wall_s if stage.wall_s > 0 else 0.0
        rows.append((PART_NAMES[field], milliseconds(seconds), f"{share:.1%}"))
    return columns(rows)


def _operator_lines(stage: StageProfile, top: int) -> list[str]:
    total_s = sum(operator.cost_s for operator in stage.operators)
    rows = [("operator", "on", "count", "device ms", "host ms", "share")]
    for operator in stage.operators[:top]:
        share = operator.cost_s / total_s if total_s else 0.0
        rows.append((*_operator_cells(operator), f"{share:.1%}"))
    if len(stage.operators) > top:
        rest_s = sum(operator.cost_s for operator in stage.operators[top:])
        share = rest_s / total_s if total_s else 0.0
        rows.append((f"{len(stage.operators) - top} others", "", "", "", "", f"{share:.1%}"))
    heading = f"operators of {stage.name} on {stage.device}; share of their times"
    if stage.on_gpu and stage.basis != KERNEL_EVENTS:
        heading += " on the host, which launches them: the GPU's are not in the profile"
    return [heading, *columns(rows, text_columns=2)]


def _operator_cells(operator: OperatorTime) -> tuple[str, str, str, str, str]:
    device = NONE if operator.device_s is None else milliseconds(operator.device_s)
    provider = operator.provider.removesuffix("ExecutionProvider")
    host = milliseconds(operator.host_s)
    return operator.op, provider, str(operator.count), device, host


def _comparison_lines(stages: Sequence[StageProfile]) -> list[str]:
    first = stages[0]
    rows: list[tuple[str, ...]] = [("", *(stage.device for stage in stages))]
    rows.append(("status", *(stage.status for stage in stages)))
    rows.append(("efficiency", *(efficiency_text(stage) for stage in stages)))
    rows.append(("device time from", *(stage.basis for stage in stages)))
    figures = [_figures(stage) for stage in stages]
    rows += [(name, *(cells[name] for cells in figures)) for name in figures[0]]
    for field, name in PART_NAMES.items():
        cells = (milliseconds(getattr(stage.parts, field)) for stage in stages)
        rows.append((f"{name} (ms)", *cells))
    warnings = [f"  ! {stage.device}: {text}" for stage in stages for text in stage.warnings]
    return [f"{first.name} {first.precision}", *columns(rows), *warnings]


def _unavailable_lines(unavailable: Sequence[Unavailable]) -> list[str]:
    return [f"{entry.name} on {entry.device}: not run: {entry.reason}" for entry in unavailable]


def columns(rows: Sequence[Sequence[str]], text_columns: int = 1) -> list[str]:
    """Cells as wide as their column; the first columns are text, the others figures."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            f"{cell:{'<' if index < text_columns else '>'}{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def milliseconds(seconds: float) -> str:
    """Without the unit."""
    return f"{seconds * 1e3:.2f}"


def megabytes(size_bytes: int | None) -> str:
    """With the unit; a dash for what is not known."""
    return NONE if size_bytes is None else f"{size_bytes / 1e6:.0f} MB"
