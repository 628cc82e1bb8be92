"""Mel spectrograms of segments within segments as one convolution and one matmul.

A waveform is cut into long segments, each of these into short segments, and each short segment
becomes a mel spectrogram of its own: padded by itself, so that no frame sees its neighbours. The
windowed DFT of a frame is linear in its samples, so that framing and transform are one strided
convolution, whose rows are the windowed sines and cosines of the bins that have mel weights.
Decibels tell what is left of a loud tone far from it, so that for them samples and weights are
split (see ``split_kernels``), at three times the multiplications.

Source of the numerics: librosa 0.10 and later, ``feature.melspectrogram`` (periodic Hann window
of ``n_fft`` points, power 2) and ``power_to_db``, of each short segment by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .mel import fourier_matrix, split_kernels, split_samples
from .mel_filters import FloatArray, MelFilters


@dataclass(frozen=True)
class MelMatrixConfig:
    """How mel matrices are made; the names are librosa's where librosa has them.

    Segments do not overlap. Samples that fill no whole segment are in none: those after the last
    short segment of a long one (``long_segment_rest``), and those after the last long segment.

    Attributes:
        sample_rate: samples per second.
        sample_length: seconds of a waveform.
        long_segment_scale: seconds of a long segment.
        short_segment_points: samples of a short segment.
        n_mels: mel bands.
        n_fft: samples of a frame, and of its window.
        hop_length: samples from one frame to the next.
        fmin: lowest frequency of the bands, in Hz.
        fmax: highest frequency, in Hz; None: half the sample rate.
        mel_scale: ``slaney``, or ``htk`` (librosa's ``htk=True``).
        norm: ``slaney`` divides each band by its width; ``none`` leaves its peak at 1.
        center: frames are centred on multiples of the hop, beyond the segment's ends ...
        pad_mode: ... in zeros (``constant``) or in its reflection (``reflect``).
        scale: ``power``, or ``db`` as ``power_to_db`` gives them.
        ref: the power that is 0 dB, or ``max`` for the largest of each short segment.
        amin: smaller powers count as this.
        top_db: how far below the maximum of its short segment a value may be; None: any.

    Raises:
        ValueError: a value out of range, or values that do not go together.
    """

    sample_rate: int = 4096
    sample_length: float = 10.0
    long_segment_scale: float = 0.25
    short_segment_points: int = 512
    n_mels: int = 64
    n_fft: int = 256
    hop_length: int = 32
    fmin: float = 0.0
    fmax: float | None = None
    mel_scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["slaney", "none"] = "slaney"
    center: bool = True
    pad_mode: Literal["constant", "reflect"] = "constant"
    scale: Literal["power", "db"] = "power"
    ref: float | Literal["max"] = 1.0
    amin: float = 1e-10
    top_db: float | None = 80.0

    def __post_init__(self) -> None:
        _check_ranges(self)
        _check_sizes(self)

    @property
    def num_samples(self) -> int:
        """Samples of a waveform."""
        return round(self.sample_length * self.sample_rate)

    @property
    def long_segment_points(self) -> int:
        """Samples of a long segment."""
        return round(self.long_segment_scale * self.sample_rate)

    @property
    def long_segments(self) -> int:
        """Long segments of a waveform."""
        return self.num_samples // self.long_segment_points

    @property
    def short_segments(self) -> int:
        """Short segments of a long one."""
        return self.long_segment_points // self.short_segment_points

    @property
    def long_segment_rest(self) -> int:
        """Samples at the end of a long segment that are in no short one."""
        return self.long_segment_points % self.short_segment_points

    @property
    def padding(self) -> int:
        """Samples before, and after, a short segment."""
        return self.n_fft // 2 if self.center else 0

    @property
    def time_frames(self) -> int:
        """Frames of a short segment."""
        return 1 + (self.short_segment_points + 2 * self.padding - self.n_fft) // self.hop_length

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(long_segments, short_segments, n_mels, time_frames)"""
        return self.long_segments, self.short_segments, self.n_mels, self.time_frames

    @property
    def filters(self) -> MelFilters:
        """The mel filters."""
        high_hz = self.sample_rate / 2 if self.fmax is None else self.fmax
        return MelFilters(
            self.sample_rate, self.n_fft, self.n_mels, self.fmin, high_hz, self.mel_scale, self.norm
        )


# More than any use needs: what comes of typing errors must not exhaust the memory.
_MOST = 2**20


def _check_ranges(config: MelMatrixConfig) -> None:
    for name in ("sample_rate", "short_segment_points", "n_mels", "n_fft", "hop_length"):
        if not 1 <= getattr(config, name) <= _MOST:
            raise ValueError(f"{name} must be 1 to {_MOST}, got {getattr(config, name)}")
    for name in ("sample_length", "long_segment_scale", "amin"):
        if not 0 < getattr(config, name) <= _MOST:
            raise ValueError(f"{name} must be above 0, up to {_MOST}, got {getattr(config, name)}")
    nyquist_hz = config.sample_rate / 2
    if not 0 <= config.fmin < config.filters.high_hz <= nyquist_hz:
        raise ValueError(
            f"fmin {config.fmin} and fmax {config.fmax} must ascend between 0 and half the sample "
            f"rate, {nyquist_hz} Hz"
        )
    if config.ref != "max" and not 0 < config.ref < math.inf:
        raise ValueError(f"ref must be max or above 0, got {config.ref}")
    if config.top_db is not None and not 0 <= config.top_db < math.inf:
        raise ValueError(f"top_db must be none or 0 or more, got {config.top_db}")


def _check_sizes(config: MelMatrixConfig) -> None:
    points, long_points = config.short_segment_points, config.long_segment_points
    if long_points < points:
        raise ValueError(
            f"long_segment_scale {config.long_segment_scale} s is {long_points} samples, fewer "
            f"than short_segment_points {points}"
        )
    if config.num_samples < long_points:
        raise ValueError(
            f"sample_length {config.sample_length} s is less than long_segment_scale "
            f"{config.long_segment_scale} s"
        )
    if not config.center and config.n_fft > points:
        raise ValueError(f"n_fft {config.n_fft} is more than short_segment_points {points}")
    if config.pad_mode == "reflect" and config.padding >= points:
        raise ValueError(
            f"short_segment_points {points} cannot be reflected by n_fft // 2 = {config.padding}"
        )
    if not config.filters.weights().any():
        raise ValueError(
            f"no bin of n_fft {config.n_fft} lies between fmin {config.fmin} and fmax {config.fmax}"
        )


class MelMatrix(nn.Module):
    """Mel spectrograms of all short segments of waveforms."""

    mel: Tensor

    def __init__(self, config: MelMatrixConfig) -> None:
        super().__init__()
        self.config = config
        mel = config.filters.weights()
        bins = np.flatnonzero(mel.any(axis=0))
        periodic_hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
        transform: FloatArray = fourier_matrix(bins, config.n_fft, config.n_fft) * periodic_hann
        coarse, rest = split_kernels(transform)
        self.frames = _framing(transform[:, None] if config.scale == "power" else coarse, config)
        self.rest = None if config.scale == "power" else _framing(rest, config)
        self.register_buffer("mel", _float32(mel[:, bins]))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, N) float32 -> (B, long_segments, short_segments, n_mels, time_frames) float32.

        N is ``config.num_samples``; the values are powers or decibels, as ``config.scale`` says.
        """
        config = self.config
        spectrum = self._spectrum(self._padded(self._segments(waveform)))
        real, imaginary = spectrum.chunk(2, dim=1)
        power = real * real + imaginary * imaginary
        rows = config.long_segments * config.short_segments
        by_bin = power.reshape(-1, self.mel.shape[1], rows * config.time_frames)
        by_band = torch.matmul(self.mel, by_bin)
        energies = by_band.reshape(-1, config.n_mels, rows, config.time_frames).transpose(1, 2)
        values = energies if config.scale == "power" else _decibels(energies, config)
        return values.reshape(-1, *config.shape)

    def _spectrum(self, segments: Tensor) -> Tensor:
        """(B, 1, segments, points) -> (B, real and imaginary parts, segments, frames)"""
        if self.rest is None:
            frames: Tensor = self.frames(segments)
            return frames
        coarse, both = split_samples(segments)
        spectrum: Tensor = self.frames(coarse) + self.rest(both)
        return spectrum

    def _segments(self, waveform: Tensor) -> Tensor:
        """(B, N) -> (B, 1, long_segments * short_segments, short_segment_points)"""
        config = self.config
        long_points = config.long_segment_points
        used = _first(waveform, config.long_segments * long_points, config.num_samples)
        if config.long_segment_rest:
            by_segment = used.reshape(-1, config.long_segments, long_points)
            used = _first(by_segment, long_points - config.long_segment_rest, long_points)
        rows = config.long_segments * config.short_segments
        return used.reshape(-1, 1, rows, config.short_segment_points)

    def _padded(self, segments: Tensor) -> Tensor:
        padding = self.config.padding
        if not padding:
            return segments
        return functional.pad(segments, (padding, padding, 0, 0), self.config.pad_mode)


def _framing(kernels: FloatArray, config: MelMatrixConfig) -> nn.Conv2d:
    """Kernels (outputs, inputs, n_fft), a result per hop.

    Segments are rows of an image that the kernel does not mix: one product for all of them.
    """
    outputs, inputs, length = kernels.shape
    framing = nn.Conv2d(inputs, outputs, (1, length), (1, config.hop_length), bias=False)
    framing.weight.data = _float32(kernels[:, :, None])
    return framing


def _first(values: Tensor, count: int, total: int) -> Tensor:
    """``count`` of ``total`` along the last axis: a split, which Core ML prefers to a slice."""
    return torch.split(values, [count, total - count], dim=-1)[0] if count < total else values


def _decibels(power: Tensor, config: MelMatrixConfig) -> Tensor:
    """``power_to_db`` of (B, segments, n_mels, frames), each segment by itself."""
    level = torch.log(power.clamp(min=config.amin)) * (10.0 / math.log(10.0))
    if config.ref == "max":
        relative = level - level.amax(dim=(2, 3), keepdim=True)
    else:
        relative = level - 10.0 * math.log10(max(config.amin, config.ref))
    if config.top_db is None:
        return relative
    return torch.maximum(relative, relative.amax(dim=(2, 3), keepdim=True) - config.top_db)


def _float32(values: FloatArray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
