"""tritonclient, imported when it is needed."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import MissingDependencyError


def import_grpc_client() -> Any:
    """The package ``tritonclient.grpc``.

    Raises:
        MissingDependencyError: it, or gRPC, is not installed.
    """
    try:
        return importlib.import_module("tritonclient.grpc")
    # tritonclient itself raises RuntimeError where it was installed without gRPC.
    except (ModuleNotFoundError, RuntimeError) as error:
        raise _missing(error) from error


def import_http_client() -> tuple[Any, Any]:
    """The packages ``tritonclient.http`` and ``gevent``, on which it waits for answers.

    Raises:
        MissingDependencyError: one of them is not installed.
    """
    try:
        return importlib.import_module("tritonclient.http"), importlib.import_module("gevent")
    except (ModuleNotFoundError, RuntimeError) as error:
        raise _missing(error) from error


def _missing(error: Exception) -> MissingDependencyError:
    return MissingDependencyError(
        f"inference servers need tritonclient, which is not installed ({error}): "
        "pip install 'voxport[serving]'"
    )
