"""``models/REPORT.md``: what was made, what it costs, what it saves, and how it was proven."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..runtime.manifest import ArtifactRow, Manifest
from .pipeline import Omission

_HEADER = (
    "| artifact | precision | MB | size | nodes | against the original | against PyTorch |",
    "|---|---|---:|---:|---:|---|---|",
)
# How a figure reads in the table, in the order in which figures are shown.
_LABELS = {
    "flipped": "{value:.0f} of {frames:.0f} frames flip",
    "changed": "{value:.0f} of {frames:.0f} frames change",
    "cosine_distance": "cosine {value:.1e}",
    "changed_pairs": "{value:.0f} of {pairs:.0f} decisions change",
    "close_pairs": "but {value:.0f} at the threshold",
    "relative_max_abs": "max rel {value:.1e}",
    "max_abs": "max abs {value:.1e}",
    "mean_abs": "mean abs {value:.1e}",
}


def report(manifest: Manifest, omissions: list[Omission]) -> str:
    """The report of a folder's artifacts, as Markdown."""
    rows = _by_precision(manifest.artifacts)
    sizes = {row.name: row.size_bytes for row in rows if row.precision == "fp32"}
    lines = [
        "# Export report",
        "",
        "Every artifact below passed all of its gates: structure; numbers and decisions of the",
        "re-authored network against the original one in float64; numbers and decisions of the",
        "artifact against PyTorch. Inputs: eleven windows of real speech, silence, full-scale",
        "noise, ragged lengths, and empty, one-frame and overlapping masks.",
        "",
        *_HEADER,
        *(_line(row, sizes.get(row.name, row.size_bytes)) for row in rows),
        "",
        *_omitted(omissions),
        "## Checkpoints",
        "",
        *_checkpoints(rows),
        "",
        "## Tools",
        "",
        *sorted({f"- {row.verified_on}; {_tools(row)}" for row in rows}),
    ]
    return "\n".join(lines) + "\n"


def _by_precision(rows: Iterable[ArtifactRow]) -> list[ArtifactRow]:
    order = {"fp32": 0, "fp16": 1, "int8": 2}
    return sorted(rows, key=lambda row: (row.name, order.get(row.precision, len(order))))


def _line(row: ArtifactRow, fp32_bytes: int) -> str:
    cells = (
        f"`{row.name}`",
        row.precision,
        f"{row.size_bytes / 1e6:.2f}",
        f"{100 * row.size_bytes / fp32_bytes:.0f} %",
        str(sum(row.ops.values())),
        _figures(row, "original"),
        _figures(row, "pytorch"),
    )
    return f"| {' | '.join(cells)} |"


def _figures(row: ArtifactRow, gate: str) -> str:
    parts = [_summary(entry) for entry in row.gates if entry["gate"] == gate]
    return "; ".join(part for part in parts if part)


def _summary(entry: dict[str, Any]) -> str:
    figures = entry["figures"]
    if figures.get("max_abs") == 0 and "frames" not in figures:
        return f"{entry['output']}: exact"
    shown = [
        text.format(value=figures[name], **{k: figures.get(k, 0) for k in ("frames", "pairs")})
        for name, text in _LABELS.items()
        if name in figures and (figures[name] or name != "close_pairs")
    ]
    return f"{entry['output']}: {', '.join(shown)}"


def _omitted(omissions: list[Omission]) -> list[str]:
    if not omissions:
        return []
    lines = [f"- `{o.name}` {o.precision}: {o.reason}" for o in omissions]
    why = "Made, measured, and left out for failing a gate:"
    return ["## Not shipped", "", why, "", *lines, ""]


def _checkpoints(rows: list[ArtifactRow]) -> list[str]:
    entries = {
        f"- {c['name']} ({c['licence']}), {c['origin']}, SHA-256 `{c['sha256']}`"
        for row in rows
        for c in row.description.checkpoints
    }
    return sorted(entries)


def _tools(row: ArtifactRow) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(row.tools.items()))
