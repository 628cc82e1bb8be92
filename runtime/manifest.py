"""What is known about an artifact: the rows of ``models/manifest.json`` and a file's metadata.

Both hold the same description, so that a file works alone. Everything read from a
file is checked: a manifest is as untrusted as any other input.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from .errors import ArtifactError, ArtifactNotFoundError

SCHEMA_VERSION = 2
MANIFEST_NAME = "manifest.json"
# Key of the description in the metadata of an ONNX file or a Core ML package.
METADATA_KEY = "voxport"
DTYPES = ("float32", "int64", "int32", "bool")
_MAX_MANIFEST_BYTES = 16 * 2**20
# Deeper JSON is no manifest, and would exhaust the stack of what walks it (repr, asdict).
_MAX_DEPTH = 32
# Above it, float64 skips whole numbers.
_MAX_FIGURE = 2**53
# Plain on every platform: no separator, drive, control character or leading dot.
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

_Number = TypeVar("_Number", int, float)


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

    ``minimums`` gives the smallest size of named axes (1 where absent), ``maximums`` the largest,
    and ``sizes`` the only ones, where a format fixes them; ``recipe`` gives what the runtime
    needs to know (sample rate, window, hop, frames, classes); ``checkpoints`` where the
    weights came from (name, origin, licence, SHA-256).
    """

    name: str
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    minimums: dict[str, int] = field(default_factory=dict)
    maximums: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
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

    def figure(self, key: str, kind: type[_Number]) -> _Number:
        """A positive number of the recipe.

        Raises:
            ArtifactError: it is missing, of another type, or not positive.
        """
        value: Any = self.recipe.get(key)
        numeric = isinstance(value, int | kind) and not isinstance(value, bool)
        if numeric and 0 < value <= _MAX_FIGURE:
            return kind(value)
        raise ArtifactError(
            f"{self.name}: its recipe must hold {key!r} as a positive {kind.__name__}, "
            f"got {value!r:.80}"
        )


@dataclass(frozen=True)
class ArtifactRow:
    """A published artifact: its description, its file or folder, and what was proven about it.

    ``format`` is ``onnx`` or ``coreml``, ``target`` its opset or deployment target. ``probe``
    holds a question with its known answer (see ``voxport.runtime.probe``).
    """

    description: Description
    format: str
    path: str
    sha256: str
    size_bytes: int
    target: str
    ops: dict[str, int]
    tools: dict[str, str]
    gates: tuple[dict[str, Any], ...]
    probe: dict[str, Any]
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
            ArtifactError: unreadable, of another schema, with a path that leaves the folder, or
                with two rows of one key or one path.
        """
        try:
            if not path.is_file():
                raise ArtifactNotFoundError(f"no manifest at {path}: run `voxport export` first")
            if path.stat().st_size > _MAX_MANIFEST_BYTES:
                raise ArtifactError(f"{path}: larger than {_MAX_MANIFEST_BYTES} bytes")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{path}: unreadable: {error}") from error
        return cls(_rows(text, str(path)))


# A diarizer asks half a dozen times for what takes 25 ms to check.
@lru_cache(maxsize=4)
def _rows(text: str, source: str) -> tuple[ArtifactRow, ...]:
    entries = _typed(_parse(text, source), "artifacts", list, source)
    rows = tuple(
        _row(entry, f"{source}: artifacts[{index}]") for index, entry in enumerate(entries)
    )
    _check_unique("key", (", ".join(row.key) for row in rows), source)
    # Case counts for nothing on the file systems of macOS and Windows.
    _check_unique("path", (row.path.casefold() for row in rows), source)
    return rows


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError alone: a number of 4,300 digits
        raise ArtifactError(f"{source}: not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise ArtifactError(f"{source}: expected a JSON object, got {type(data).__name__}")
    _check_depth(data, source)
    version = data.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise ArtifactError(
            f"{source}: schema version {version!r:.80}, but this voxport reads {SCHEMA_VERSION}: "
            "export again with this version"
        )
    return data


def _check_depth(data: Any, source: str) -> None:
    level = [data]
    for _ in range(_MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
    if level:
        raise ArtifactError(f"{source}: nested deeper than {_MAX_DEPTH} levels")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _check_unique(field_name: str, values: Iterable[str], source: str) -> None:
    repeated = sorted(value for value, count in Counter(values).items() if count > 1)
    if repeated:
        raise ArtifactError(
            f"{source}: the {field_name} {repeated[0]!r:.200} occurs more than once"
        )


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
        raise ArtifactError(f"{source}: 'dtype' {dtype!r:.80} is not one of {DTYPES}")
    axes = _typed(data, "axes", list, source)
    for axis in axes:
        fixed = isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0
        if not fixed and not isinstance(axis, str):
            raise ArtifactError(f"{source}: axis {axis!r:.80} of 'axes' is no name or size")
    return TensorSpec(_typed(data, "name", str, source), dtype, tuple(axes))


def _tensors(data: Mapping[str, Any], key: str, source: str) -> tuple[TensorSpec, ...]:
    entries = enumerate(_typed(data, key, list, source))
    specs = tuple(_tensor(entry, f"{source}: {key}[{index}]") for index, entry in entries)
    _check_unique("name", (spec.name for spec in specs), f"{source}: {key}")
    return specs


def _objects(
    data: Mapping[str, Any], key: str, types: Mapping[str, type], source: str
) -> tuple[dict[str, Any], ...]:
    """A list of objects that hold at least the fields of ``types``."""
    entries = _typed(data, key, list, source)
    for index, entry in enumerate(entries):
        where = f"{source}: {key}[{index}]"
        if not isinstance(entry, dict):
            raise ArtifactError(f"{where} must be an object, got {entry!r:.80}")
        for name, kind in types.items():
            _typed(entry, name, kind, where)
    return tuple(entries)


def _mapping(data: Mapping[str, Any], key: str, kind: type, source: str) -> dict[str, Any]:
    """An object whose values are all of one type."""
    values: dict[str, Any] = _typed(data, key, dict, source)
    for name in values:
        _typed(values, name, kind, f"{source}: {key}")
    return values


_CHECKPOINT_TYPES: Mapping[str, type] = {"name": str, "origin": str, "licence": str, "sha256": str}
_GATE_TYPES: Mapping[str, type] = {"gate": str, "output": str, "figures": dict, "passed": bool}


def _limits(data: Mapping[str, Any], key: str, source: str) -> dict[str, int]:
    """An object of sizes that are not negative."""
    limits = _mapping(data, key, int, source)
    negative = sorted(axis for axis, size in limits.items() if size < 0)
    if negative:
        raise ArtifactError(f"{source}: {key!r} of {negative[0]!r:.80} is negative")
    return limits


def _sizes(data: Mapping[str, Any], source: str) -> dict[str, tuple[int, ...]]:
    """The only sizes of each axis that has such."""
    sizes = _mapping(data, "sizes", list, source)
    for axis, allowed in sizes.items():
        if not allowed or any(type(size) is not int or size < 1 for size in allowed):
            raise ArtifactError(
                f"{source}: 'sizes' of {axis!r:.80} must be positive integers, got {allowed!r:.80}"
            )
    return {axis: tuple(allowed) for axis, allowed in sizes.items()}


def _description_fields(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    return {
        "name": _typed(data, "name", str, source),
        "precision": _typed(data, "precision", str, source),
        "inputs": _tensors(data, "inputs", source),
        "outputs": _tensors(data, "outputs", source),
        "minimums": _limits(data, "minimums", source),
        "maximums": _limits(data, "maximums", source),
        "sizes": _sizes(data, source),
        "recipe": _typed(data, "recipe", dict, source),
        "checkpoints": _objects(data, "checkpoints", _CHECKPOINT_TYPES, source),
        "voxport_version": _typed(data, "voxport_version", str, source),
    }


_ROW_TYPES: Mapping[str, type] = {
    "format": str,
    "path": str,
    "sha256": str,
    "size_bytes": int,
    "target": str,
    "probe": dict,
    "verified_on": str,
}


def _row(data: Any, source: str) -> ArtifactRow:
    if not isinstance(data, dict):
        raise ArtifactError(f"{source}: an artifact must be an object, got {data!r:.80}")
    unknown = set(data) - {f.name for f in fields(ArtifactRow)}
    if unknown:
        raise ArtifactError(f"{source}: unknown fields {sorted(unknown)!r:.200}")
    values = {key: _typed(data, key, kind, source) for key, kind in _ROW_TYPES.items()}
    if not _FILE_NAME.fullmatch(values["path"]):
        raise ArtifactError(f"{source}: 'path' {values['path']!r:.200} is not a plain file name")
    description = _typed(data, "description", dict, source)
    return ArtifactRow(
        description=Description(**_description_fields(description, f"{source}: description")),
        ops=_mapping(data, "ops", int, source),
        tools=_mapping(data, "tools", str, source),
        gates=_objects(data, "gates", _GATE_TYPES, source),
        **values,
    )
