"""Masked statistics pooling: the one place where masks meet the frames of a trunk.

Source: pyannote.audio ``StatsPool`` (weighted mean, unbiased weighted standard deviation, mask
resampled by nearest neighbour). With a full mask it equals the plain mean and the unbiased
standard deviation of WeSpeaker and 3D-Speaker.
"""

from __future__ import annotations

import torch
from torch import Tensor

# The constant of pyannote.audio. It keeps an all-zero mask finite in float32 and vanishes in
# float16, which is why pooling stays in float32 in every half-precision artifact.
EPSILON = 1e-8


def nearest_resample(masks: Tensor, num_frames: int) -> Tensor:
    """(B, S, F) -> (B, S, num_frames), frame i taken from ``floor(i * F / num_frames)``.

    Integer arithmetic, hence exact for any length; equal to ``interpolate(mode="nearest")``
    where that one does not suffer from rounding of its float32 ratio.
    """
    frames = torch.arange(num_frames, device=masks.device)
    # For non-negative integers truncation is the floor, and ONNX's own division.
    source = torch.div(frames * masks.shape[-1], num_frames, rounding_mode="trunc")
    return torch.index_select(masks, -1, source)


def masked_statistics(frames: Tensor, masks: Tensor) -> Tensor:
    """Weighted mean and standard deviation of frames under each speaker's mask.

    frames (B, C, T) and masks (B, S, F) float32 -> (B, S, 2 * C): mean, then standard
    deviation. The frames are read once for all speakers. An all-zero mask gives zeros, a
    one-frame mask that frame and zeros: always finite.
    """
    weights = nearest_resample(masks, frames.shape[-1]).unsqueeze(2)  # (B, S, 1, T)
    frames = frames.unsqueeze(1)  # (B, 1, C, T)
    total = weights.sum(dim=-1) + EPSILON
    mean = (frames * weights).sum(dim=-1) / total  # (B, S, C)
    deviation = frames - mean.unsqueeze(-1)
    square_sum = (deviation * deviation * weights).sum(dim=-1)
    # Rounding must not turn the effective sample size of a single soft frame negative.
    freedom = (total - (weights * weights).sum(dim=-1) / total).clamp(min=0) + EPSILON
    return torch.cat([mean, torch.sqrt(square_sum / freedom)], dim=-1)
