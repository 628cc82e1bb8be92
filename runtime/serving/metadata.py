"""Whether a server has the model that the manifest describes, as far as it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ArtifactError
from ..manifest import ArtifactRow, TensorSpec
from .client import DATATYPES
from .names import SHA256_PARAMETER

BINARY_EXTENSION = "binary_tensor_data"
CONFIG_EXTENSION = "model_configuration"
_DYNAMIC = -1
_REMEDY = (
    "the server has another model of this name. Serve what `voxport export --triton` writes from "
    "this models folder, or name the folder whose models it serves"
)


def extensions(metadata: Mapping[str, Any]) -> frozenset[str]:
    """What a server can do beyond the protocol, by its metadata."""
    listed = metadata.get("extensions")
    return frozenset(map(str, listed)) if isinstance(listed, list) else frozenset()


def check_tensors(row: ArtifactRow, metadata: Mapping[str, Any], where: str) -> None:
    """Compare the inputs and outputs of a server's model with those of an artifact.

    Args:
        row: the artifact.
        metadata: of the model. Their order is free; an axis of any size is -1.
        where: names server and model in errors.

    Raises:
        ArtifactError: a name, a datatype or a shape differs.
    """
    for kind, specs in (("inputs", row.description.inputs), ("outputs", row.description.outputs)):
        expected = sorted(map(_declared, specs))
        found = sorted(map(_found, _entries(metadata.get(kind))))
        if expected != found:
            one, other = ("; ".join(each) or "none" for each in (expected, found))
            raise ArtifactError(
                f"{where} has the {kind} {other}, but {row.name} {row.precision} has {one}: "
                f"{_REMEDY}"
            )


@dataclass(frozen=True)
class Config:
    """What Triton's configuration of a model says; None for what it leaves open."""

    max_batch_size: int | None = None
    sha256: str | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Config:
        """From the JSON of a ``ModelConfig``; a ``max_batch_size`` of 0 is Triton's for "the
        batch is an axis like any other"."""
        most = config.get("max_batch_size")
        parameters = config.get("parameters")
        parameter = parameters.get(SHA256_PARAMETER) if isinstance(parameters, dict) else None
        told = parameter.get("string_value") if isinstance(parameter, dict) else None
        return cls(
            most if type(most) is int and most > 0 else None,
            told if isinstance(told, str) else None,
        )

    def check(self, row: ArtifactRow, where: str) -> None:
        """Raise ArtifactError where the server says that it runs another file."""
        if self.sha256 not in (None, row.sha256):
            raise ArtifactError(
                f"{where} runs the file with the SHA-256 {self.sha256}, but {row.sha256} was "
                f"verified: {_REMEDY}"
            )


def _entries(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _declared(spec: TensorSpec) -> str:
    shape = [axis if isinstance(axis, int) else _DYNAMIC for axis in spec.axes]
    return f"{spec.name}: {DATATYPES[spec.dtype]}{shape}"


def _found(entry: Mapping[str, Any]) -> str:
    shape = entry.get("shape")
    # gRPC's numbers of 64 bits are strings in JSON.
    sizes = ", ".join(map(str, shape if isinstance(shape, list) else ()))
    return f"{entry.get('name')}: {entry.get('datatype')}[{sizes}]"
