"""coremltools, imported when it is needed and kept quiet."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import MissingDependencyError


@contextmanager
def quiet() -> Iterator[None]:
    """Without coremltools' advice, warnings and progress bars.

    Off macOS it reports, at every import, that Apple's runtime is absent, and that it was not
    tested with this torch; its progress bars go to standard error and cannot be switched off.
    Errors are raised all the same.
    """
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)


def import_coremltools() -> Any:
    """The ``coremltools`` package, with its ``models``.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        with quiet():
            return importlib.import_module("coremltools")
    except ModuleNotFoundError as error:
        if error.name != "coremltools":
            raise
        raise MissingDependencyError(
            "Core ML packages need coremltools, which is not installed: "
            "pip install 'voxport[coreml]'"
        ) from error
