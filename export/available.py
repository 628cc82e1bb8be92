"""The formats that there are, by name."""

from __future__ import annotations

from typing import get_args

from ..runtime.errors import ArtifactError
from .coreml.artifacts import CoreMLFormat
from .coreml.shapes import Target
from .formats import ArtifactFormat
from .onnx_format import OnnxFormat

FORMATS = (OnnxFormat.name, CoreMLFormat.name)
FORMAT_SUFFIXES = frozenset({OnnxFormat.suffix, CoreMLFormat.suffix})
_TARGETS: tuple[Target, ...] = get_args(Target)


def format_of(name: str, target: str) -> ArtifactFormat:
    """The format that made an artifact.

    Args:
        name: ``onnx`` or ``coreml``.
        target: opset or deployment target, as its manifest row says.

    Raises:
        ArtifactError: this version makes no such artifacts.
    """
    made: list[ArtifactFormat] = [OnnxFormat(), *map(CoreMLFormat, _TARGETS)]
    for each in made:
        if (each.name, each.target) == (name, target):
            return each
    raise ArtifactError(f"{name} for {target!r:.40} is nothing that this version exports")
