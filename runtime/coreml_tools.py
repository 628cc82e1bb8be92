"""coremltools, imported when it is needed and kept quiet."""

from __future__ import annotations

import importlib
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import MissingDependencyError

# Filters of warnings belong to the whole process: one thread at a time may change them.
WARNINGS_LOCK = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Without coremltools' advice and warnings; other loggers and standard error are untouched.

    Off macOS it reports, at every import, that Apple's runtime is absent, and that it was not
    tested with this torch. Errors are raised all the same.
    """
    logger = logging.getLogger("coremltools")
    with WARNINGS_LOCK:
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logger.setLevel(level)


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
