"""The configuration of a graph: chosen at export, recorded in its recipe, read back to verify it.

A graph that can be configured has a frozen dataclass of numbers, names and flags, whose defaults
are its own and whose ``__post_init__`` raises ValueError for what cannot be. ``DEFAULTS`` lists
these by the name of their artifact; a spec puts ``recorded(config)`` into its recipe.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..runtime.errors import ArtifactError
from ..runtime.manifest import ArtifactRow
from .errors import ExportError
from .systems import DEFAULTS
from .systems.configurations import STAGES

# Where a recipe holds it.
CONFIGURATION = "configuration"
Configurations = Mapping[str, Any]


def configured(settings: Iterable[str]) -> Configurations:
    """The configurations of all graphs, the defaults but for ``settings``.

    Args:
        settings: each ``artifact.name=value``: a number, a name, ``true``, ``false`` or ``none``,
            or a JSON list.

    Raises:
        ExportError: an unknown artifact or name, or a value that it cannot have.
    """
    chosen: dict[str, dict[str, Any]] = {}
    for setting in settings:
        path, separator, text = setting.partition("=")
        artifact, dot, name = path.strip().partition(".")
        if not separator or not dot:
            raise ExportError(f"{setting!r:.80} is not of the form artifact.name=value")
        if artifact not in DEFAULTS:
            known = ", ".join(sorted(DEFAULTS)) or "none"
            raise ExportError(f"{artifact!r:.80} has no configuration; those that have: {known}")
        values = chosen.setdefault(artifact, {})
        values[name] = _parsed(text.strip(), _type_of(artifact, name), f"{artifact}.{name}")
    return {
        artifact: _made(artifact, chosen.get(artifact, {}), ExportError) for artifact in DEFAULTS
    }


def recorded(config: Any) -> dict[str, Any]:
    """What a recipe holds of a configuration, as JSON gives it back."""
    held = {name: _plain(value) for name, value in asdict(config).items()}
    return {CONFIGURATION: held}


def recorded_configurations(rows: Iterable[ArtifactRow]) -> Configurations:
    """The configurations that the artifacts of a manifest were made with.

    Raises:
        ArtifactError: a recipe records none, or one that cannot be.
    """
    found = dict(DEFAULTS)
    # Where several record one, the artifact of its own name has the last word.
    for row in sorted(rows, key=lambda row: row.name in DEFAULTS):
        artifact = STAGES.get(row.name, row.name)
        if artifact in DEFAULTS:
            found[artifact] = _read(row, artifact)
    return found


def _read(row: ArtifactRow, artifact: str) -> Any:
    held = row.description.recipe.get(CONFIGURATION)
    names = {field.name for field in fields(DEFAULTS[artifact])}
    if not isinstance(held, dict) or set(held) != names:
        raise ArtifactError(f"{row.path}: its recipe must hold {CONFIGURATION} {sorted(names)}")
    values = {}
    for name, value in held.items():
        fitted = _fitted(value, _type_of(artifact, name))
        if fitted is _MISFIT:
            raise ArtifactError(f"{row.path}: its recipe holds {name} {value!r:.80}")
        values[name] = fitted
    return _made(artifact, values, ArtifactError)


def _made(artifact: str, values: Mapping[str, Any], error: type[Exception]) -> Any:
    try:
        return replace(DEFAULTS[artifact], **values)
    except ValueError as problem:
        raise error(f"{artifact}: {problem}") from problem


def _type_of(artifact: str, name: str) -> Any:
    hints = get_type_hints(type(DEFAULTS[artifact]))
    known = [field.name for field in fields(DEFAULTS[artifact])]
    if name not in known:
        raise ExportError(f"{artifact} has no {name!r:.80}; there are: {', '.join(known)}")
    return hints[name]


_MISFIT = object()
_ABSENT = ("none", "null")


def _parsed(text: str, kind: Any, what: str) -> Any:
    try:
        value = None if text.lower() in _ABSENT else json.loads(text)
    except (ValueError, RecursionError):
        value = text
    # A name comes first where it may be one: "none" is also a way to scale filters.
    for candidate in (text, value):
        fitted = _fitted(candidate, kind)
        if fitted is not _MISFIT:
            return fitted
    raise ExportError(f"{what} cannot be {text!r:.80}: expected {_said(kind)}")


def _fitted(value: Any, kind: Any) -> Any:  # noqa: PLR0911 -- one case for each kind
    """``value`` as ``kind``, or ``_MISFIT``."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        tried = (_fitted(value, each) for each in arguments)
        return next((each for each in tried if each is not _MISFIT), _MISFIT)
    if origin is Literal:
        return value if value in arguments else _MISFIT
    if origin is tuple:
        items = [_fitted(each, arguments[0]) for each in value] if isinstance(value, list) else []
        return tuple(items) if items and _MISFIT not in items else _MISFIT
    if kind is types.NoneType:
        return None if value is None else _MISFIT
    if isinstance(value, bool) or kind is bool:
        return value if isinstance(value, bool) and kind is bool else _MISFIT
    if kind is float:
        return float(value) if _is_finite(value) else _MISFIT
    return value if isinstance(value, kind) else _MISFIT


def _is_finite(value: Any) -> bool:
    # An int of more than 300 digits is no float.
    return isinstance(value, int | float) and abs(value) < sys.float_info.max


def _said(kind: Any) -> str:
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_said, get_args(kind)))
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a JSON list of {_said(get_args(kind)[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return names.get(kind, "none")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
