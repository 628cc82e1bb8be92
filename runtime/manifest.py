"""What is known about an artifact: the rows of ``models/manifest.json`` and ONNX metadata.

Both hold the same description, so that an ``.onnx`` file works alone. Everything read from a
file is checked: a manifest is as untrusted as any other input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import ArtifactError, ArtifactNotFoundError

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
# Key of the description in an ONNX file's metadata.
METADATA_KEY = "voxport"
DTYPES = ("float32", "int64", "int32", "bool")
_MAX_MANIFEST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class TensorSpec:
    """A declared input or output.

    ``axes`` holds a name for a dynamic axis and a size for a fixed one. Axes of one name have
    one size within a call.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.axes))}]"


@dataclass(frozen=True)
class Description:
    """What a graph is and how to feed it; travels inside the file and in the manifest.

    ``minimums`` gives the smallest size of named axes (1 where absent); ``recipe`` what the
    runtime needs to know (sample rate, window, hop, frames, classes); ``checkpoints`` where the
    weights came from (name, origin, licence, SHA-256).
    """

    name: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    minimums: dict[str, int] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    checkpoints: tuple[dict[str, Any], ...] = ()
    voxport_version: str = ""

    def to_json(self) -> str:
        """Compact JSON for a file's metadata."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, source: str) -> Description:
        """Parse ``to_json``'s output; ``source`` names the file in errors.

        Raises:
            ArtifactError: not JSON, of another schema, or with fields of the wrong type.
        """
        data = _parse(text, source)
        return cls(**_description_fields(data, source))


@dataclass(frozen=True)
class ArtifactRow:
    """A published artifact: its description, its file, and what was proven about it."""

    description: Description
    format: str
    path: str
    sha256: str
    size_bytes: int
    opset: int
    ops: dict[str, int]
    tools: dict[str, str]
    gates: tuple[dict[str, Any], ...]
    verified_on: str

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def precision(self) -> str:
        return self.description.precision

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies a row: name, format, precision."""
        return self.name, self.format, self.precision


@dataclass(frozen=True)
class Manifest:
    """All artifacts of a folder."""

    artifacts: tuple[ArtifactRow, ...] = ()

    def to_json(self) -> str:
        rows = sorted(self.artifacts, key=lambda row: row.key)
        data = {"schema_version": SCHEMA_VERSION, "artifacts": [asdict(row) for row in rows]}
        return json.dumps(data, indent=1, sort_keys=True) + "\n"

    def merged(self, rows: tuple[ArtifactRow, ...]) -> Manifest:
        """A manifest in which ``rows`` replace those of the same key."""
        table = {row.key: row for row in (*self.artifacts, *rows)}
        return Manifest(tuple(table.values()))

    def find(self, name: str, precision: str, artifact_format: str = "onnx") -> ArtifactRow:
        """The row of an artifact.

        Raises:
            ArtifactNotFoundError: with the names or precisions that there are.
        """
        named = [row for row in self.artifacts if row.name == name]
        if not named:
            names = ", ".join(sorted({row.name for row in self.artifacts})) or "none"
            raise ArtifactNotFoundError(f"no artifact {name!r} in the manifest; there are: {names}")
        for row in named:
            if (row.precision, row.format) == (precision, artifact_format):
                return row
        there = ", ".join(f"{row.format} {row.precision}" for row in named)
        raise ArtifactNotFoundError(
            f"artifact {name!r} has no {artifact_format} {precision} variant; there are: {there}"
        )

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read ``manifest.json``.

        Raises:
            ArtifactNotFoundError: there is no such file.
            ArtifactError: unreadable, of another schema, or with a path that leaves the folder.
        """
        if not path.is_file():
            raise ArtifactNotFoundError(f"no manifest at {path}: run `voxport export` first")
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise ArtifactError(f"{path}: larger than {_MAX_MANIFEST_BYTES} bytes: not a manifest")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: unreadable: {error}") from error
        rows = _parse(text, str(path)).get("artifacts")
        if not isinstance(rows, list):
            raise ArtifactError(f"{path}: 'artifacts' must be a list")
        return cls(tuple(_row(row, str(path)) for row in rows))


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ArtifactError(f"{source}: not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ArtifactError(f"{source}: expected a JSON object")
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"{source}: schema version {version!r}, but this voxport reads {SCHEMA_VERSION}: "
            "export again with this version"
        )
    return data


def _typed(data: Mapping[str, Any], key: str, kind: type, source: str) -> Any:
    value = data.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ArtifactError(f"{source}: {key!r} must be {kind.__name__}, got {value!r:.80}")
    return value


def _tensor(data: Any, source: str) -> TensorSpec:
    if not isinstance(data, dict):
        raise ArtifactError(f"{source}: a tensor must be an object, got {data!r:.80}")
    dtype = _typed(data, "dtype", str, source)
    if dtype not in DTYPES:
        raise ArtifactError(f"{source}: dtype {dtype!r:.80} is not one of {DTYPES}")
    axes = _typed(data, "axes", list, source)
    for axis in axes:
        fixed = isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0
        if not fixed and not isinstance(axis, str):
            raise ArtifactError(f"{source}: axis {axis!r:.80} is neither a name nor a size")
    return TensorSpec(_typed(data, "name", str, source), dtype, tuple(axes))


def _description_fields(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    minimums = _typed(data, "minimums", dict, source)
    for axis in minimums:
        _typed(minimums, axis, int, source)
    checkpoints = _typed(data, "checkpoints", list, source)
    if not all(isinstance(entry, dict) for entry in checkpoints):
        raise ArtifactError(f"{source}: 'checkpoints' must be a list of objects")
    return {
        "name": _typed(data, "name", str, source),
        "precision": _typed(data, "precision", str, source),
        "inputs": tuple(_tensor(t, source) for t in _typed(data, "inputs", list, source)),
        "outputs": tuple(_tensor(t, source) for t in _typed(data, "outputs", list, source)),
        "minimums": minimums,
        "recipe": _typed(data, "recipe", dict, source),
        "checkpoints": tuple(checkpoints),
        "voxport_version": _typed(data, "voxport_version", str, source),
    }


_ROW_TYPES: Mapping[str, type] = {
    "format": str,
    "path": str,
    "sha256": str,
    "size_bytes": int,
    "opset": int,
    "ops": dict,
    "tools": dict,
    "verified_on": str,
}


def _row(data: Any, source: str) -> ArtifactRow:
    if not isinstance(data, dict):
        raise ArtifactError(f"{source}: an artifact must be an object, got {data!r:.80}")
    unknown = set(data) - {f.name for f in fields(ArtifactRow)}
    if unknown:
        raise ArtifactError(f"{source}: unknown fields {sorted(unknown)!r:.200}")
    values = {key: _typed(data, key, kind, source) for key, kind in _ROW_TYPES.items()}
    path = PurePosixPath(values["path"])
    if path.is_absolute() or len(path.parts) != 1 or path.name != values["path"]:
        raise ArtifactError(f"{source}: path {values['path']!r:.200} must be a plain file name")
    gates = _typed(data, "gates", list, source)
    if not all(isinstance(gate, dict) for gate in gates):
        raise ArtifactError(f"{source}: 'gates' must be a list of objects")
    description = _description_fields(_typed(data, "description", dict, source), source)
    return ArtifactRow(description=Description(**description), gates=tuple(gates), **values)
