"""Segmentation of overlapping windows that share the work of the first layer.

A window's instance normalisation only scales and shifts its waveform, and a convolution is
linear: ``conv(a * x + b) = a * (conv(x) + b / a * conv(1))``, where ``conv(1)`` is each filter's
sum. So the sinc filters, a quarter of the network's cost, run once over audio that many windows
overlap in. Rectifying and pooling follow: with ``q = b / a * conv(1)``, the largest ``|r + q|`` of
some responses r is ``max(max(r) + q, max(-r) - q) = max(max(r) + 2 * q, max(-r)) - q``. The
poolings are shared as well, and the last term, which is the same in all frames of a channel,
vanishes in the instance normalisation that comes next.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .powerset import Powerset
from .segmentation import POOL, Segmentation, SegmentationConfig, SincNet


class SharedFilters(nn.Module):
    """Normalise, filter, rectify and pool windows of a waveform, filtering it only once."""

    doubled_sums: Tensor
    pooled_rows: Tensor
    hop_rows: Tensor

    def __init__(self, sincnet: SincNet, config: SegmentationConfig) -> None:
        super().__init__()
        self.filters = sincnet.conv1d[0]
        self.norm = sincnet.wav_norm1d
        self.hop = config.sinc_stride
        hops = config.window_samples // self.hop
        pooled_frames = ((config.window_samples - config.sinc_kernel) // self.hop + 1) // POOL
        sums = cast(Tensor, self.filters.weight).double().sum(dim=2).T
        self.register_buffer("doubled_sums", (2 * sums).float().contiguous())
        self.register_buffer("pooled_rows", torch.arange(pooled_frames) * POOL)
        self.register_buffer("hop_rows", torch.arange(hops))

    def forward(self, waveform: Tensor, starts: Tensor) -> Tensor:
        """Pooled magnitudes of windows, up to a constant for each window and filter.

        Args:
            waveform: (1, 1, N).
            starts: (W,) int64.

        Returns:
            (W, sinc_filters, P)
        """
        # Without an offset, so that little is left of it to cancel after the filters. Clipped: one
        # broken sample of 1e8 would otherwise be an offset to all windows.
        centred = waveform - waveform.clamp(-1.0, 1.0).mean()
        first = (starts // self.hop).unsqueeze(1)
        scale, shift = self.normalisation(centred, first)
        response = self.filters(centred)
        rows = first + self.pooled_rows
        highest, lowest = (self.pooled(each)[rows] for each in (response, -response))
        magnitudes = scale * torch.maximum(highest + shift * self.doubled_sums, lowest)
        return magnitudes.transpose(1, 2)

    @staticmethod
    def pooled(response: Tensor) -> Tensor:
        """(1, C, L) -> (L - 2, C): the maximum of every three neighbours.

        A row holds all of a frame, since rows are what is gathered.
        """
        return functional.max_pool1d(response, POOL, 1)[0].T.contiguous()

    def normalisation(self, centred: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """(W, 1, 1) each: what instance normalisation multiplies a window by, up to the sign,
        and what it adds before that.
        """
        moments = torch.cat([centred, centred.square()], dim=1)
        # (hops, 2): sums over windows of sums over hops, the same samples in another order.
        per_hop = functional.avg_pool1d(moments, self.hop)[0].T.contiguous()
        mean, square = per_hop[first + self.hop_rows].mean(dim=1, keepdim=True).chunk(2, dim=2)
        deviation = torch.sqrt(functional.relu(square - mean.square()) + self.norm.eps)
        shift = self.norm.bias / self.norm.weight * deviation - mean
        return self.norm.weight.abs() / deviation, shift


class SegmentationWindows(nn.Module):
    """Segmentation and powerset decoding of windows of a longer waveform."""

    def __init__(self, segmentation: Segmentation) -> None:
        super().__init__()
        config = segmentation.config
        if config.window_samples % config.sinc_stride:
            raise ValueError(f"{config.window_samples=} is no multiple of {config.sinc_stride=}")
        self.front = SharedFilters(segmentation.sincnet, config)
        self.segmentation = segmentation
        self.powerset = Powerset(config.powerset)

    def forward(self, waveform: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and masks of windows of ``config.window_samples``.

        Args:
            waveform: (1, 1, N) float32.
            starts: (W,) int64, the windows' first samples; multiples of the sinc stride, and
                N minus a window at most.

        Returns:
            log_probs (W, F, classes), masks (W, F, speakers), both float32.
        """
        pooled = self.front(waveform, starts)
        log_probs = self.segmentation.classify(self.segmentation.sincnet.after_filters(pooled))
        return log_probs, self.powerset(log_probs)
