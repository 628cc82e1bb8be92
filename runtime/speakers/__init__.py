"""Who a voice belongs to: embeddings of speakers, a database of known ones, and matching."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .database import SpeakerDatabase
    from .embedder import SpeakerEmbedder
    from .embeddings import Embeddings
    from .identifier import Identification, IdentifiedSpeaker, SpeakerIdentifier

__all__ = [
    "Embeddings",
    "Identification",
    "IdentifiedSpeaker",
    "SpeakerDatabase",
    "SpeakerEmbedder",
    "SpeakerIdentifier",
]


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: every `voxport` command loads this package, few use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import database, embedder, embeddings, identifier  # noqa: PLC0415

    homes = (database, embedder, embeddings, identifier)
    return next(getattr(home, name) for home in homes if name in vars(home))
