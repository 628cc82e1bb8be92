"""coremltools and its modules, as the export side needs them."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...runtime import coreml_tools


@contextmanager
def quiet() -> Iterator[None]:
    """As the runtime's, and without the progress bars of conversions on standard error."""
    with coreml_tools.quiet(), contextlib.redirect_stderr(io.StringIO()):
        yield


def import_coremltools(module: str = "") -> Any:
    """coremltools, or a module of it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    package = coreml_tools.import_coremltools()
    if not module:
        return package
    with quiet():
        return importlib.import_module(f"coremltools.{module}")
