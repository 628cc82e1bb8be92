"""coremltools and its modules, as the export side needs them."""

from __future__ import annotations

import importlib
from typing import Any

from ...runtime import coreml_tools
from ...runtime.coreml_tools import quiet

__all__ = ["import_coremltools", "quiet"]


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
