"""Mel matrices of audio of any length: one mel spectrogram for each short segment."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .matrix import MelMatrix, MelStream
    from .result import MelResult, ProcessingStats

__all__ = ["MelMatrix", "MelResult", "MelStream", "ProcessingStats"]


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: every `voxport` command loads this package, few use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import matrix, result  # noqa: PLC0415

    return next(getattr(home, name) for home in (matrix, result) if name in vars(home))
