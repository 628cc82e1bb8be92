"""Turns as values of other packages, imported when they are asked for."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import MissingDependencyError
from .turns import Turns


def to_annotation(turns: Turns, file_id: str | None) -> Any:
    """A ``pyannote.core.Annotation`` with ``file_id`` as its ``uri``.

    Raises:
        MissingDependencyError: pyannote.core is not installed.
    """
    try:
        core = importlib.import_module("pyannote.core")
    except ModuleNotFoundError as error:
        raise _missing(error, "to_annotation()", "pyannote.core") from error
    annotation = core.Annotation(uri=file_id)
    for track, turn in enumerate(turns):
        annotation[core.Segment(turn.start_s, turn.end_s), track] = turn.speaker
    return annotation


def to_dataframe(turns: Turns) -> Any:
    """A pandas ``DataFrame`` with one row per turn.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ModuleNotFoundError as error:
        raise _missing(error, "to_dataframe()", "pandas") from error
    return pandas.DataFrame(
        {
            "start_s": pandas.Series([turn.start_s for turn in turns], dtype="float64"),
            "end_s": pandas.Series([turn.end_s for turn in turns], dtype="float64"),
            "duration_s": pandas.Series([turn.duration_s for turn in turns], dtype="float64"),
            "speaker": pandas.Series([turn.speaker for turn in turns], dtype="str"),
        }
    )


def _missing(error: ModuleNotFoundError, what: str, package: str) -> Exception:
    """The typed error if the package itself is missing; what it misses is its own error."""
    if error.name not in (package, package.partition(".")[0]):
        return error
    return MissingDependencyError(
        f"{what} needs {package}, which is not installed: pip install {package}"
    )
