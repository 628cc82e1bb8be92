"""Triton's own message definitions, from ``tritonclient``."""

from __future__ import annotations

import importlib
from typing import Any

from ...runtime.serving.tools import import_grpc_client
from ..errors import ExportError


def import_messages() -> Any:
    """The module ``model_config_pb2``: ``ModelConfig`` and what it is made of.

    Raises:
        MissingDependencyError: tritonclient, or gRPC, is not installed.
    """
    import_grpc_client()  # its error says what to install
    return importlib.import_module("tritonclient.grpc.model_config_pb2")


def to_text(config: Any) -> str:
    """The text of a ``config.pbtxt``."""
    text: str = _text_format().MessageToString(config, as_utf8=True)
    return text


def parsed(text: str, source: str) -> Any:
    """The ``ModelConfig`` of a ``config.pbtxt``.

    Raises:
        ExportError: not one; ``source`` names the file.
    """
    text_format = _text_format()
    try:
        return text_format.Parse(text, import_messages().ModelConfig())
    except text_format.ParseError as error:
        raise ExportError(f"{source}: is not a model configuration: {error}") from error


def _text_format() -> Any:
    return importlib.import_module("google.protobuf.text_format")
