"""Checkpoints: found, fetched, checked and read, without running anything that they contain."""

from .fetch import available, fetch
from .loading import (
    EmbeddingCheckpoint,
    Provenance,
    SegmentationCheckpoint,
    load_embedding,
    load_segmentation,
)
from .vggish import VggishCheckpoint, load_vggish

__all__ = [
    "EmbeddingCheckpoint",
    "Provenance",
    "SegmentationCheckpoint",
    "VggishCheckpoint",
    "available",
    "fetch",
    "load_embedding",
    "load_segmentation",
    "load_vggish",
]
