"""From segmentation masks to what the embedding network needs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The shortest audio that pyannote.audio's speaker embedding accepts; a clean mask must cover
# more than that, or the full mask is used.
MIN_NUM_SAMPLES = 400


def clean_masks(masks: Tensor) -> Tensor:
    """(B, F, S) of 0 and 1 -> (B, F, S): frames with overlapping speakers are zeroed."""
    return masks * (masks.sum(dim=-1, keepdim=True) < 2).to(masks.dtype)


def embedding_masks(masks: Tensor, num_samples: int) -> Tensor:
    """(B, F, S) -> (B, S, F): the clean mask of each speaker, or the full one where too short.

    Source: pyannote.audio ``SpeakerDiarization.get_embeddings`` with ``exclude_overlap``: a
    clean mask serves if it has strictly more than ``ceil(F * 400 / num_samples)`` frames.
    """
    clean = clean_masks(masks)
    # count > ceil(a / b) is (count - 1) * b >= a for whole numbers: no division, no rounding.
    count = clean.sum(dim=1, keepdim=True)
    long_enough = (count - 1) * num_samples >= masks.shape[1] * MIN_NUM_SAMPLES
    return torch.where(long_enough, clean, masks).transpose(1, 2)


class EmbeddingMasks(nn.Module):
    """``embedding_masks`` as a graph of its own, between networks that run apart."""

    def __init__(self, num_samples: int) -> None:
        """``num_samples``: those of the windows that the masks span."""
        super().__init__()
        self.num_samples = num_samples

    def forward(self, masks: Tensor) -> Tensor:
        """(B, F, S) of 0 and 1 -> (B, S, F), float32."""
        return embedding_masks(masks, self.num_samples)


class EmbeddingInputs(nn.Module):
    """Repeat each window once per local speaker and pair it with that speaker's clean mask.

    For embedding networks that take one mask per waveform. voxport's own take all masks at once
    and run their trunk once.
    """

    def forward(self, waveform: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, N), (B, F, S) -> waveforms (B * S, N), clean masks (B * S, F), all float32.

        Row ``b * S + s`` belongs to window b and speaker s.
        """
        clean = clean_masks(masks).transpose(1, 2)
        waveforms = waveform.expand(-1, masks.shape[2], -1)
        return waveforms.flatten(0, 1), clean.flatten(0, 1)
