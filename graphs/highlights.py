"""Highlights of a stream: how far its loudness, and its chat, stand out from the whole of it.

Loudness is the root mean square (RMS) of overlapping frames. Both the loudness and the smoothed
chat counts become z-scores over the stream, and a weighted sum of the two is the score.

Everything is float32, and sums over a stream are formed in blocks of blocks: the z-scores of
three hours in hops of 10 ms (1.08 million frames) are within 1e-5 of those in float64. A plain
running sum would lose three more digits, and squares of uncentred values the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# What is summed at once: a power of two, so that dividing by it is exact. Three levels of it hold
# two million frames; of longer streams the last sum has more than one term.
_BLOCK = 128
_LEVELS = 3
# The most samples that are averaged at once.
_MAX_AVERAGED = 64
# Where a level varies by less than a thousandth of its mean (0.01 dB), z-scores are relative to
# that: a constant tone has none, instead of magnified rounding errors.
MIN_RELATIVE_DEVIATION = 1e-3
# So that nothing is divided by zero where all is silence.
MIN_DEVIATION = 1e-20


@dataclass(frozen=True)
class HighlightsConfig:
    """What is measured, and what counts as a highlight.

    Attributes:
        sample_rate_hz: of the waveform.
        frame_s: what one RMS spans; by default the 400 ms of the momentary loudness of EBU Tech
            3341.
        hop_s: from one frame to the next; by default the 100 ms of the same document.
        peak_threshold: a frame is a loudness peak above it, in standard deviations.
        chat_window_s: what the moving average of chat counts spans; rounded to an odd number of
            frames, so that it has a middle.
        loudness_weight: of the loudness' z-score in the score.
        chat_weight: of the chat's z-score in the score.
        score_threshold: a frame belongs to a highlight above it.

    Raises:
        ValueError: a number out of range.
    """

    sample_rate_hz: int = 16000
    frame_s: float = 0.4
    hop_s: float = 0.1
    peak_threshold: float = 2.0
    chat_window_s: float = 5.0
    loudness_weight: float = 1.0
    chat_weight: float = 1.0
    score_threshold: float = 2.0

    def __post_init__(self) -> None:
        for name in ("sample_rate_hz", "frame_s", "hop_s", "chat_window_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("peak_threshold", "score_threshold", "loudness_weight", "chat_weight"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        if not 1 <= self.hop_samples <= self.frame_samples:
            raise ValueError(
                f"hop_s must be from a sample to a frame of {self.frame_s} s, got {self.hop_s}"
            )

    @property
    def frame_samples(self) -> int:
        return round(self.frame_s * self.sample_rate_hz)

    @property
    def hop_samples(self) -> int:
        return round(self.hop_s * self.sample_rate_hz)

    @property
    def chat_frames(self) -> int:
        """Frames of the moving average, an odd number."""
        return 2 * round(self.chat_window_s * self.sample_rate_hz / self.hop_samples / 2) + 1

    def num_frames(self, num_samples: int) -> int:
        """Frames that fit wholly into ``num_samples``."""
        return max(0, 1 + (num_samples - self.frame_samples) // self.hop_samples)


def averaging_steps(num_samples: int) -> list[int]:
    """Numbers of at most 64, where it can be, whose product is ``num_samples``."""
    steps, rest, divisor = [1], num_samples, 2
    while rest > 1:
        if divisor * divisor > rest:
            divisor = rest
        if rest % divisor:
            divisor += 1
            continue
        rest //= divisor
        if steps[-1] * divisor > _MAX_AVERAGED and steps[-1] > 1:
            steps.append(1)
        steps[-1] *= divisor
    return steps


class FrameRms(nn.Module):
    """The root mean square of overlapping frames.

    Squares are averaged step by step over what frames and hops have in common, so that each is
    added once however frames overlap, and no sum is long.
    """

    def __init__(self, config: HighlightsConfig) -> None:
        super().__init__()
        shared = math.gcd(config.frame_samples, config.hop_samples)
        self.steps = [step for step in averaging_steps(shared) if step > 1]
        self.frame_parts = config.frame_samples // shared
        self.hop_parts = config.hop_samples // shared

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, 1, N) float32 -> (B, T) float32; T = 1 + (N - frame_samples) // hop_samples."""
        power = waveform * waveform
        for step in self.steps:
            power = functional.avg_pool1d(power, step)
        power = functional.avg_pool1d(power, self.frame_parts, self.hop_parts)
        return torch.sqrt(power).squeeze(1)


def block_sum(values: Tensor) -> Tensor:
    """(B, C, T) -> (B, C, 1): the sum over T, divided by ``_BLOCK ** _LEVELS``."""
    for _ in range(_LEVELS):
        # Zeros at the end are in the last block, and nothing but zeros is left out.
        values = functional.avg_pool1d(functional.pad(values, (0, _BLOCK - 1)), _BLOCK)
    return values.sum(dim=-1, keepdim=True)


def z_scores(values: Tensor) -> Tensor:
    """(B, C, T) -> (B, C, T): distance from the mean over T in (population) standard deviations.

    The mean of what is left after the first mean takes away what that one had lost to rounding.
    """
    count = block_sum(torch.ones_like(values))
    mean = block_sum(values) / count
    centred = values - mean
    centred = centred - block_sum(centred) / count
    deviation = torch.sqrt(block_sum(centred * centred) / count)
    least = (MIN_RELATIVE_DEVIATION * mean.abs()).clamp(min=MIN_DEVIATION)
    return centred / torch.maximum(deviation, least)


class HighlightScore(nn.Module):
    """From the RMS and the chat counts of all frames of a stream to scores."""

    def __init__(self, config: HighlightsConfig) -> None:
        super().__init__()
        self.config = config
        size = config.chat_frames
        self.smooth = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.smooth.weight.data.fill_(1.0 / size)

    def forward(self, rms: Tensor, chat: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """rms (B, T), chat (B, T) in messages per frame, all zero where there is none, float32.

        Returns (B, T) float32 each: z, the z-score of the RMS; peak_mask, 1 where z is above the
        peak threshold; chat_smoothed, the centred moving average of chat, which counts zeros
        before and after the stream; score, the weighted sum of z and of the z-score of
        chat_smoothed; highlight_mask, 1 where score is above the score threshold. Without
        variation, as in silence, z-scores are 0.
        """
        smoothed = self.smooth(chat.unsqueeze(1))
        loudness, activity = z_scores(torch.cat([rms.unsqueeze(1), smoothed], dim=1)).chunk(2, 1)
        z = loudness.squeeze(1)
        score = self.config.loudness_weight * z + self.config.chat_weight * activity.squeeze(1)
        peaks = (z > self.config.peak_threshold).to(z.dtype)
        highlights = (score > self.config.score_threshold).to(score.dtype)
        return z, peaks, smoothed.squeeze(1), score, highlights


class Highlights(nn.Module):
    """A whole stream at once: ``FrameRms``, then ``HighlightScore``."""

    def __init__(self, config: HighlightsConfig) -> None:
        super().__init__()
        self.rms = FrameRms(config)
        self.score = HighlightScore(config)

    def forward(
        self, waveform: Tensor, chat: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(B, 1, N), (B, T) -> rms, then what ``HighlightScore`` gives: (B, T) float32 each."""
        rms = self.rms(waveform)
        z, peaks, smoothed, score, highlights = self.score(rms, chat)
        return rms, z, peaks, smoothed, score, highlights
