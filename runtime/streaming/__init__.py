"""Who speaks, while they speak: live audio to turns, with bounded latency and memory."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diarizer import StreamingDiarizer
    from .settings import StreamingSettings
    from .update import StreamingUpdate

__all__ = ["StreamingDiarizer", "StreamingSettings", "StreamingUpdate"]


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: every `voxport` command loads this package, few use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import diarizer, settings, update  # noqa: PLC0415

    homes = (diarizer, settings, update)
    return next(getattr(home, name) for home in homes if name in vars(home))
