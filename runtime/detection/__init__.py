"""Where there is speech, and where several speak at once: segmentation alone, no embeddings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .detector import SpeechDetector
    from .result import DetectionResult

__all__ = ["DetectionResult", "SpeechDetector"]


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: every `voxport` command loads this package, few use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import detector, result  # noqa: PLC0415

    return next(getattr(home, name) for home in (detector, result) if name in vars(home))
