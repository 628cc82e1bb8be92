"""Cosine distance between two sets of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The smallest normal number, so that only a zero vector stays zero, at distance 1 from all.
MIN_NORM = torch.finfo(torch.float32).tiny


def unit_length(vectors: Tensor) -> Tensor:
    """(..., D) -> (..., D), each vector divided by its norm; zero vectors stay zero.

    Scaling by the largest component first keeps the squares from underflowing, so that tiny
    vectors have a direction too.
    """
    largest = vectors.abs().amax(dim=-1, keepdim=True).clamp(min=MIN_NORM)
    scaled = vectors / largest
    norm = torch.sqrt((scaled * scaled).sum(dim=-1, keepdim=True))
    return scaled / norm.clamp(min=MIN_NORM)


class CosineDistance(nn.Module):
    """1 - cosine similarity, in [0, 2]; a zero vector is at distance 1 from everything."""

    def forward(self, embeddings: Tensor, database: Tensor) -> Tensor:
        """(S, D), (M, D) float32 -> (S, M) float32; S = 0 and M = 0 give an empty matrix."""
        return 1.0 - torch.matmul(unit_length(embeddings), unit_length(database).transpose(0, 1))
