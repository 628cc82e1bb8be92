"""From waveform and masks to speaker embeddings, with any trunk."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from .fbank import FbankConfig, KaldiFbank
from .pooling import masked_statistics


class Trunk(Protocol):
    """A speaker network without its pooling."""

    def __call__(self, features: Tensor) -> Tensor:
        """(B, T, mel) mean-normalised features -> (B, C, frames)."""

    def project(self, statistics: Tensor) -> Tensor:
        """(..., 2 * C) -> (..., D)."""


class SpeakerEmbedding(nn.Module):
    """Features and trunk once per window, then pooling under each speaker's mask."""

    def __init__(self, fbank: FbankConfig, trunk: Trunk) -> None:
        super().__init__()
        self.fbank = KaldiFbank(fbank)
        self.trunk = trunk

    def forward(self, waveform: Tensor, masks: Tensor) -> Tensor:
        """waveform (B, 1, N), masks (B, S, F), float32 -> embeddings (B, S, D) float32.

        A mask's frames may have any rate: F frames span the N samples. An all-zero mask gives
        a finite constant vector.
        """
        features = self.fbank(waveform)
        frames = self.trunk(features - features.mean(dim=1, keepdim=True))
        return self.trunk.project(masked_statistics(frames, masks))
