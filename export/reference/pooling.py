"""pyannote.audio's ``StatsPool``, one speaker at a time, as it runs there."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def embeddings_per_speaker(
    frames: Tensor, masks: Tensor, head: Callable[[Tensor], Tensor]
) -> Tensor:
    """frames (B, C, T), masks (B, S, F) -> (B, S, D), with a pass per window and speaker."""
    rows = [
        torch.stack([head(_pool(window[None], mask))[0] for mask in window_masks])
        for window, window_masks in zip(frames, masks, strict=True)
    ]
    return torch.stack(rows)


def _pool(window: Tensor, mask: Tensor) -> Tensor:
    """(1, C, T), (F,) -> (1, 2 * C)."""
    num_frames = window.shape[-1]
    source = [i * len(mask) // num_frames for i in range(num_frames)]
    weights = mask[source].to(window.dtype)[None, None]
    v1 = weights.sum(dim=2) + 1e-8
    mean = (window * weights).sum(dim=2) / v1
    v2 = (weights**2).sum(dim=2)
    squares = ((window - mean[..., None]) ** 2 * weights).sum(dim=2)
    return torch.cat([mean, torch.sqrt(squares / (v1 - v2 / v1 + 1e-8))], dim=1)
