"""Segmentation and embedding in one graph: one call per batch of windows."""

from __future__ import annotations

from torch import Tensor, nn

from .embedding import SpeakerEmbedding
from .masks import clean_masks, embedding_masks
from .segmentation import SegmentationMasks


class DiarizationWindow(nn.Module):
    """Everything that a diarization pipeline needs to know about a window."""

    def __init__(self, segmentation: SegmentationMasks, embedding: SpeakerEmbedding) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.embedding = embedding

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 1, N) -> masks (B, F, S), clean_masks (B, F, S), embeddings (B, S, D), float32.

        Each embedding is pooled over the speaker's clean mask, or over the full mask where the
        clean one is too short (see ``embedding_masks``).
        """
        _, masks = self.segmentation(waveform)
        weights = embedding_masks(masks, waveform.shape[-1])
        return masks, clean_masks(masks), self.embedding(waveform, weights)
