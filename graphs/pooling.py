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
# Two frames of weight w have w degrees of freedom; below this there is but one frame.
MIN_FREEDOM = 1e-3


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
    deviation. The frames are read once for all speakers, in two products, so that a mask more
    costs next to nothing: the sum of squared deviations is taken apart around the mean over all
    frames, which keeps what cancels small. An all-zero mask gives zeros, a one-frame mask that
    frame and zeros: always finite.
    """
    weights = nearest_resample(masks, frames.shape[-1])  # (B, S, T)
    centre = frames.mean(dim=-1, keepdim=True)  # (B, C, 1)
    centred = (frames - centre).transpose(1, 2)  # (B, T, C)
    centre = centre.transpose(1, 2)
    share = weights.sum(dim=-1, keepdim=True)  # (B, S, 1)
    total = share + EPSILON
    sums = _products(weights, centred)  # (B, S, C)
    squares = _products(weights, centred * centred)
    mean = (sums + share * centre) / total  # (B, S, C)
    offset = mean - centre
    square_sum = (squares - offset * (2 * sums - offset * share)).clamp(min=0)
    freedom = total - (weights * weights).sum(dim=-1, keepdim=True) / total
    # One frame, hard or soft, has no deviation: what rounding leaves of it must not be divided
    # by the constant alone.
    several = (freedom > MIN_FREEDOM).to(frames.dtype)
    variance = several * square_sum / (freedom.clamp(min=0) + EPSILON)
    return torch.cat([mean, torch.sqrt(variance)], dim=-1)


def _products(weights: Tensor, values: Tensor) -> Tensor:
    """(B, S, T) x (B, T, C) -> (B, S, C), each row the same whatever the others are.

    A row of zeros goes along: engines take another path for a single row, which rounds otherwise.
    """
    rows = torch.nn.functional.pad(weights, (0, 0, 0, 1))
    kept = torch.arange(weights.shape[1], device=weights.device)
    return torch.index_select(torch.matmul(rows, values), 1, kept)
