"""VGGish's log-mel examples as three convolutions and one matmul.

VGGish cuts a 16 kHz waveform into frames of 25 ms every 10 ms, takes the magnitude (not the
power) of a zero-padded FFT of each, sums it into 64 mel bins and takes the log of the sum plus an
offset; 96 frames are an example. Framing, window and FFT are a strided convolution. Cutting
frames into examples is one too, with the identity as its kernel: exact, and without slices.

Samples and weights are split (see ``split_kernels``): without, what rounding leaves of a tone of
full scale in other bands changes their logarithm by up to 2.7e-4.

Source of the numerics: ``mel_features.py`` and ``vggish_input.py`` of Google's VGGish
(tensorflow/models, research/audioset/vggish).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .mel import FloatMatrix, fourier_matrix, mel_triangles, split_kernels, split_samples


@dataclass(frozen=True)
class VggishFrontendConfig:
    """How a waveform becomes examples; the defaults are Google's.

    ``example_hop_frames`` frames lie between the starts of two examples: 96, and none is used
    twice.

    Raises:
        ValueError: a value out of range.
    """

    sample_rate_hz: int = 16000
    frame_length_samples: int = 400
    hop_samples: int = 160
    num_mel_bins: int = 64
    low_frequency_hz: float = 125.0
    high_frequency_hz: float = 7500.0
    log_offset: float = 0.01
    example_frames: int = 96
    example_hop_frames: int = 96

    def __post_init__(self) -> None:
        sizes = ("sample_rate_hz", "frame_length_samples", "hop_samples", "num_mel_bins")
        for name in (*sizes, "example_frames", "example_hop_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.example_hop_frames > self.example_frames:
            raise ValueError(
                f"example_hop_frames {self.example_hop_frames} exceeds example_frames "
                f"{self.example_frames}: audio between examples would be heard by none"
            )
        nyquist_hz = self.sample_rate_hz / 2
        if not 0 <= self.low_frequency_hz < self.high_frequency_hz <= nyquist_hz:
            raise ValueError(
                f"low_frequency_hz {self.low_frequency_hz:g} and high_frequency_hz "
                f"{self.high_frequency_hz:g} must ascend within 0 and {nyquist_hz:g}"
            )
        if not self.log_offset > 0:
            raise ValueError(f"log_offset must be above 0, got {self.log_offset:g}")

    @property
    def num_fft(self) -> int:
        """Frame length rounded up to a power of two."""
        return 1 << (self.frame_length_samples - 1).bit_length()

    @property
    def example_samples(self) -> int:
        """Samples that an example is computed from: 15,600, which is 0.975 s."""
        return (self.example_frames - 1) * self.hop_samples + self.frame_length_samples

    @property
    def example_hop_samples(self) -> int:
        """Samples from one example to the next: 15,360, which is 0.96 s."""
        return self.example_hop_frames * self.hop_samples

    def num_examples(self, num_samples: int) -> int:
        """Examples that fit wholly into ``num_samples``."""
        return max(0, 1 + (num_samples - self.example_samples) // self.example_hop_samples)


def vggish_mel_matrix(config: VggishFrontendConfig) -> FloatMatrix:
    """(num_fft // 2 + 1, num_mel_bins) triangular weights; the bin of 0 Hz has none."""
    bins_hz = np.linspace(0.0, config.sample_rate_hz / 2, config.num_fft // 2 + 1)
    weights = mel_triangles(
        bins_hz, config.low_frequency_hz, config.high_frequency_hz, config.num_mel_bins
    )
    weights[0] = 0.0
    return weights


def vggish_frame_transform(
    config: VggishFrontendConfig, bins: npt.NDArray[np.int64]
) -> FloatMatrix:
    """(2 * len(bins), frame_length_samples): raw frame -> real parts, then imaginary parts."""
    length = config.frame_length_samples
    periodic_hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    transform: FloatMatrix = fourier_matrix(bins, length, config.num_fft) * periodic_hann
    return transform


def _framing(kernels: FloatMatrix, config: VggishFrontendConfig) -> nn.Conv1d:
    """Kernels (outputs, inputs, frame_length_samples), one result per hop."""
    outputs, inputs, length = kernels.shape
    framing = nn.Conv1d(inputs, outputs, length, config.hop_samples, bias=False)
    framing.weight.data = torch.from_numpy(kernels.astype(np.float32))
    return framing


class VggishFrontend(nn.Module):
    """Waveforms to log-mel examples."""

    mel: Tensor

    def __init__(self, config: VggishFrontendConfig) -> None:
        super().__init__()
        self.config = config
        mel = vggish_mel_matrix(config)
        bins = np.flatnonzero(mel.any(axis=1))
        coarse, rest = split_kernels(vggish_frame_transform(config, bins))
        self.frames, self.rest = _framing(coarse, config), _framing(rest, config)
        self.register_buffer("mel", torch.from_numpy(mel[bins].T.astype(np.float32)))
        length, hop = config.example_frames, config.example_hop_frames
        self.examples = nn.Conv2d(1, length, (1, length), (1, hop), bias=False)
        self.examples.weight.data = torch.eye(length)[:, None, None]

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, 1, N) float32 in [-1, 1] -> (B, E, example_frames, num_mel_bins) float32.

        E = 1 + (N - example_samples) // example_hop_samples: frames that fill no example are
        left out. Natural logarithms.
        """
        coarse, both = split_samples(waveform)
        spectrum = self.frames(coarse) + self.rest(both)
        real, imaginary = spectrum.chunk(2, dim=1)
        magnitude = torch.sqrt(real * real + imaginary * imaginary)
        log_mel = torch.log(torch.matmul(self.mel, magnitude) + self.config.log_offset)
        examples: Tensor = self.examples(log_mel.unsqueeze(1))
        return examples.permute(0, 3, 1, 2)
