"""ONNX Runtime, imported on first use, with an error that helps where it is missing."""

from __future__ import annotations

from types import ModuleType

from .errors import MissingDependencyError


def import_onnxruntime() -> ModuleType:
    """The ``onnxruntime`` module.

    Raises:
        MissingDependencyError: no ONNX Runtime wheel is installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 -- which wheel provides it is the user's choice
    except ImportError as error:
        raise MissingDependencyError(
            "ONNX Runtime is not installed: `pip install voxport[cpu]`, or `voxport[gpu]` on a "
            "machine with an NVIDIA GPU (never both)"
        ) from error
    module: ModuleType = onnxruntime
    return module


def load_errors(ort: ModuleType) -> tuple[type[Exception], ...]:
    """What loading or running a graph may raise.

    ONNX Runtime's own errors have no common base, and which there are depends on its version. A
    damaged file may also hold names that are not UTF-8.
    """
    binding = vars(ort.capi.onnxruntime_pybind11_state).values()
    own = (value for value in binding if isinstance(value, type) and issubclass(value, Exception))
    return (*own, UnicodeDecodeError)
