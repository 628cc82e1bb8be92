"""``models/REPORT.md``: what was made, what it costs, what it saves, and how it was proven."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..runtime.manifest import ArtifactRow, Manifest
from .coreml.third_party import ORIGIN, Compared, slices
from .pipeline import Omission

_HEADER = (
    "| artifact | format | precision | MB | size | ops | against the original | against PyTorch |",
    "|---|---|---|---:|---:|---:|---|---|",
)
_VARIANTS = (
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "int8"),
    ("coreml", "fp32"),
    ("coreml", "fp16"),
    ("coreml", "w8"),
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
    "quiet_max_abs": "{value:.1e} with what is below -80 dB",
    "mean_abs": "mean abs {value:.1e}",
}


def report(manifest: Manifest, omissions: list[Omission], compared: list[Compared] | str) -> str:
    """The report of a folder's artifacts, as Markdown."""
    rows = _sorted(manifest.artifacts)
    lines = [
        "# Export report",
        "",
        "Every artifact below passed all of its gates: structure; numbers and decisions of the",
        "re-authored network against the original one in float64; numbers and decisions of the",
        "artifact against PyTorch. Inputs: eleven windows of real speech, silence, full-scale",
        "noise, ragged lengths, and empty, one-frame and overlapping masks; for Core ML those of",
        "them that can be cut to the shapes of a package.",
        "",
        "## Side by side",
        "",
        "Size and what changes against PyTorch (decisions where there are any, else numbers).",
        "",
        *_side_by_side(rows),
        "",
        "## In full",
        "",
        *_HEADER,
        *_lines(rows),
        "",
        *_omitted(omissions),
        *_third_party(compared),
        "## Checkpoints",
        "",
        *_checkpoints(rows),
        "",
        "## Tools",
        "",
        *sorted({f"- {row.format}: {row.verified_on}; {_tools(row)}" for row in rows}),
    ]
    return "\n".join(lines) + "\n"


def _sorted(rows: Iterable[ArtifactRow]) -> list[ArtifactRow]:
    order = {variant: index for index, variant in enumerate(_VARIANTS)}
    return sorted(rows, key=lambda row: (row.name, order.get((row.format, row.precision), 99)))


def _side_by_side(rows: list[ArtifactRow]) -> list[str]:
    """A row per artifact, a column per format and precision."""
    by_key = {row.key: row for row in rows}
    there = [v for v in _VARIANTS if any((row.format, row.precision) == v for row in rows)]
    lines = [
        f"| artifact | {' | '.join(' '.join(variant) for variant in there)} |",
        "|---" * (len(there) + 1) + "|",
    ]
    for name in sorted({row.name for row in rows}):
        cells = [_cell(by_key.get((name, *variant))) for variant in there]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def _cell(row: ArtifactRow | None) -> str:
    if row is None:
        return ""
    entries = [entry for entry in row.gates if str(entry["gate"]).startswith("pytorch")]
    figures = [headline for headline in map(_headline, entries) if headline]
    return f"{row.size_bytes / 1e6:.2f} MB: {', '.join(dict.fromkeys(figures)) or 'exact'}"


def _headline(entry: dict[str, Any]) -> str:
    """The one figure of an output that says most; nothing for what is exact."""
    figures = entry["figures"]
    for name in ("flipped", "changed", "cosine_distance", "max_abs", "relative_max_abs"):
        if name in figures and (figures[name] or name != "max_abs"):
            return _LABELS[name].format(value=figures[name], frames=figures.get("frames", 0))
    return ""


def _lines(rows: list[ArtifactRow]) -> Iterable[str]:
    full = {(row.name, row.format): row.size_bytes for row in rows if row.precision == "fp32"}
    return [_line(row, full.get((row.name, row.format), row.size_bytes)) for row in rows]


def _line(row: ArtifactRow, fp32_bytes: int) -> str:
    cells = (
        f"`{row.name}`",
        row.format,
        row.precision,
        f"{row.size_bytes / 1e6:.2f}",
        f"{100 * row.size_bytes / fp32_bytes:.0f} %",
        str(sum(row.ops.values())),
        _figures(row, "original"),
        _figures(row, "pytorch"),
    )
    return f"| {' | '.join(cells)} |"


def _figures(row: ArtifactRow, gate: str) -> str:
    parts = [_summary(entry) for entry in row.gates if str(entry["gate"]).startswith(gate)]
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
    lines = [f"- `{o.name}` {o.format} {o.precision}: {o.reason}" for o in omissions]
    why = "Made, measured, and left out for failing a gate:"
    return ["## Not shipped", "", why, "", *lines, ""]


def _third_party(compared: list[Compared] | str) -> list[str]:
    """Others' conversions of the same checkpoints beside ours."""
    if not compared:
        return []
    heading = ["## Beside other conversions of these checkpoints", ""]
    if isinstance(compared, str):
        return [*heading, f"Not compared: {compared}", ""]
    lines = [
        f"| network | {ORIGIN}: ops | slices | MB | voxport fp16: ops | slices | MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in compared:
        ours = (sum(each.ours.ops.values()), slices(each.ours.ops), each.ours.size_bytes)
        theirs = (each.ops, each.slices, each.size_bytes)
        cells = [
            cell
            for ops, cut, size_bytes in (theirs, ours)
            for cell in (str(ops), str(cut), f"{size_bytes / 1e6:.2f}")
        ]
        lines.append(f"| {each.program} / `{each.ours.name}` | {' | '.join(cells)} |")
    note = (
        "Their CAM++ takes features in batches of 16 and pools over all frames; ours takes the "
        "waveform, computes the features inside, and pools for every speaker's mask."
    )
    return [*heading, *lines, "", note, ""]


def _checkpoints(rows: list[ArtifactRow]) -> list[str]:
    entries = {
        f"- {c['name']} ({c['licence']}), {c['origin']}, SHA-256 `{c['sha256']}`"
        for row in rows
        for c in row.description.checkpoints
    }
    return sorted(entries)


def _tools(row: ArtifactRow) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(row.tools.items()))
