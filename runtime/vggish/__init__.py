"""VGGish: an embedding for every 0.96 s of any audio."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .embedder import VggishEmbedder
    from .embeddings import VggishEmbeddings
    from .model import embed_wav_file, load_vggish_model

__all__ = ["VggishEmbedder", "VggishEmbeddings", "embed_wav_file", "load_vggish_model"]


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: every `voxport` command loads this package, few use it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import embedder, embeddings, model  # noqa: PLC0415

    homes = (embedder, embeddings, model)
    return next(getattr(home, name) for home in homes if name in vars(home))
