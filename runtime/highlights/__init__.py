"""Highlights of long streams: where loudness, and the chat, stand out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chat import ChatCounts, read_chat
    from .highlighter import Highlighter
    from .result import HighlightResult
    from .selection import Moment
    from .stream import HighlightStream, HighlightUpdate

__all__ = [
    "ChatCounts",
    "HighlightResult",
    "HighlightStream",
    "HighlightUpdate",
    "Highlighter",
    "Moment",
    "read_chat",
]


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: every `voxport` command loads this package, few use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import chat, highlighter, result, selection, stream  # noqa: PLC0415

    homes = (chat, highlighter, result, selection, stream)
    return next(getattr(home, name) for home in homes if name in vars(home))
