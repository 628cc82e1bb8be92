"""Which artifacts of a folder ``load_first`` may load for a device, without looking for the device.

It follows ``loading``: what could be taken there, a fallback among it, is among these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .availability import COREML
from .devices import ONNX
from .environment import client_environment
from .manifest import ArtifactRow

# What an automatic precision takes of each format: the first that there is.
AUTO_PRECISIONS = {COREML: ("fp16", "fp32"), ONNX: ("fp32",)}


def loadable(
    rows: Iterable[ArtifactRow],
    names: Sequence[str],
    device: str,
    precision: str,
    *,
    fallback: bool = False,
) -> list[ArtifactRow]:
    """The rows that ``load_first(names, ...)`` may open on this machine.

    Args:
        rows: of the folder's manifest.
        names: of artifacts that serve the same end, the best first.
        device: see ``load``; likewise what follows.
        precision: "auto" or the one that is wanted.
        fallback: where the named device cannot be used.
    """
    formats = formats_of(device, fallback=fallback)
    there = [
        row
        for row in rows
        if row.name in names and row.format in formats and precision in ("auto", row.precision)
    ]
    # Which format it is decides on the name; a device that fails then may change the format.
    by_format = ([row.name for row in there if row.format == each] for each in formats)
    chosen = {min(named, key=names.index) for named in by_format if named}
    return [
        row
        for row in there
        if row.name in chosen and _is_suitable(row, there, automatic=precision == "auto")
    ]


def formats_of(device: str, *, fallback: bool) -> tuple[str, ...]:
    """The formats that may run on a device of this machine."""
    named = COREML if device in (COREML, "metal") else ONNX
    if device != "auto" and not fallback:
        return (named,)
    machine = client_environment()
    # "auto" takes packages on Apple silicon only, a request for them is tried on any macOS.
    tried = machine.is_apple_silicon or (named == COREML and machine.system == "Darwin")
    return (ONNX, COREML) if tried else (ONNX,)


def _is_suitable(row: ArtifactRow, there: Iterable[ArtifactRow], *, automatic: bool) -> bool:
    if not automatic:
        return True
    precisions = {
        each.precision for each in there if (each.name, each.format) == (row.name, row.format)
    }
    suitable = (each for each in AUTO_PRECISIONS[row.format] if each in precisions)
    return row.precision == next(suitable, None)
