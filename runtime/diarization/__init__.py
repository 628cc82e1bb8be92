"""Who spoke when: the networks and the steps between them, put together."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diarizer import Diarizer
    from .progress import Progress
    from .result import DiarizationResult, Used
    from .settings import Settings

__all__ = ["DiarizationResult", "Diarizer", "Progress", "Settings", "Used"]


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: every `voxport` command loads this package, few use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import diarizer, progress, result, settings  # noqa: PLC0415

    homes = (diarizer, progress, result, settings)
    return next(getattr(home, name) for home in homes if name in vars(home))
