"""Kaldi log-mel filterbanks as one convolution and one matmul.

Kaldi cuts the waveform into frames, removes each frame's mean, applies pre-emphasis and a
window, takes the power of a zero-padded FFT, sums it into mel bins and takes the log. All steps
before the power are linear in the samples of a frame, so they fold into one matrix (computed in
float64), and framing plus that matrix is a strided convolution: no FFT, no ``unfold``, no
complex numbers.

Source of the numerics: Kaldi ``feat/feature-window.cc`` and ``feat/mel-computations.cc``, as in
kaldi-native-fbank with ``dither=0`` and ``snip_edges=true``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .mel import FloatMatrix, fourier_matrix, mel_triangles

# Kaldi floors mel energies at std::numeric_limits<float>::epsilon() before the logarithm.
LOG_FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class FbankConfig:
    """A recipe of Kaldi features.

    ``waveform_scale`` multiplies samples that lie in [-1, 1]: 32768 for recipes that were
    trained on 16-bit integers (WeSpeaker), 1 for those trained on floats (CAM++). It matters:
    the log floor does not scale.
    """

    window: Literal["povey", "hamming"]
    waveform_scale: float
    sample_rate_hz: int = 16000
    frame_length_samples: int = 400
    hop_samples: int = 160
    num_mel_bins: int = 80
    low_frequency_hz: float = 20.0
    preemphasis: float = 0.97

    @property
    def num_fft(self) -> int:
        """Frame length rounded up to a power of two."""
        return 1 << (self.frame_length_samples - 1).bit_length()

    def num_frames(self, num_samples: int) -> int:
        """Frames that fit wholly into ``num_samples`` (``snip_edges``)."""
        return max(0, 1 + (num_samples - self.frame_length_samples) // self.hop_samples)


CAMPPLUS_FBANK = FbankConfig(window="povey", waveform_scale=1.0)
WESPEAKER_FBANK = FbankConfig(window="hamming", waveform_scale=32768.0)


def analysis_window(config: FbankConfig) -> npt.NDArray[np.float64]:
    """(frame_length_samples,) the symmetric window of the recipe."""
    length = config.frame_length_samples
    cosine = np.cos(2 * np.pi * np.arange(length) / (length - 1))
    if config.window == "hamming":
        return 0.54 - 0.46 * cosine
    povey: npt.NDArray[np.float64] = (0.5 - 0.5 * cosine) ** 0.85
    return povey


def mel_matrix(config: FbankConfig) -> FloatMatrix:
    """(num_fft // 2, num_mel_bins) triangular weights; the Nyquist bin has none in Kaldi."""
    bins_hz = np.arange(config.num_fft // 2) * config.sample_rate_hz / config.num_fft
    nyquist_hz = config.sample_rate_hz / 2
    return mel_triangles(bins_hz, config.low_frequency_hz, nyquist_hz, config.num_mel_bins)


def frame_transform(config: FbankConfig, bins: npt.NDArray[np.int64]) -> FloatMatrix:
    """(frame_length_samples, 2 * len(bins)): raw frame -> real parts, then imaginary parts."""
    length = config.frame_length_samples
    remove_mean = np.eye(length) - 1.0 / length
    preemphasise = np.eye(length) - config.preemphasis * np.eye(length, k=-1)
    preemphasise[0, 0] = 1.0 - config.preemphasis  # Kaldi repeats the first sample
    dft = fourier_matrix(bins, length, config.num_fft)
    linear = dft @ np.diag(analysis_window(config)) @ preemphasise @ remove_mean
    transform: FloatMatrix = config.waveform_scale * linear.T
    return transform


class KaldiFbank(nn.Module):
    """Kaldi-exact log-mel features, not mean-normalised."""

    mel: Tensor

    def __init__(self, config: FbankConfig) -> None:
        super().__init__()
        self.config = config
        mel = mel_matrix(config)
        bins = np.flatnonzero(mel.any(axis=1))
        transform = frame_transform(config, bins)
        self.frames = nn.Conv1d(
            1, transform.shape[1], config.frame_length_samples, config.hop_samples, bias=False
        )
        self.frames.weight.data = torch.from_numpy(transform.T[:, None].astype(np.float32))
        self.register_buffer("mel", torch.from_numpy(mel[bins].T.astype(np.float32)))

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, 1, N) float32 in [-1, 1] -> (B, T, num_mel_bins) float32 natural-log energies.

        T = 1 + (N - frame_length_samples) // hop_samples.
        """
        # Frames lose their means anyway; removing the waveform's first keeps a large offset from
        # leaving float32 rounding behind in them.
        spectrum = self.frames(waveform - waveform.mean(dim=-1, keepdim=True))
        real, imaginary = spectrum.chunk(2, dim=1)
        power = real * real + imaginary * imaginary
        energies = torch.matmul(self.mel, power)
        return torch.log(energies.clamp(min=LOG_FLOOR)).transpose(1, 2)
