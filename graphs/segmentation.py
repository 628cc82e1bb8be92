"""PyanNet: SincNet, bidirectional LSTM and linear layers, from waveform to powerset scores.

Source: pyannote.audio ``PyanNet`` and ``SincNet``; Ravanelli & Bengio, "Speaker recognition from
raw waveform with SincNet" (SLT 2018). The learnt band-pass filters depend on weights alone, so
they are frozen into a plain convolution when the weights are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from .powerset import Powerset, PowersetConfig

# (kernel, stride) of the convolutions and poolings that set the frame grid, after the first
# convolution, whose stride is a hyper-parameter.
POOL = 3
_AFTER_SINC = ((POOL, POOL), (5, 1), (POOL, POOL), (5, 1), (POOL, POOL))


@dataclass(frozen=True)
class SegmentationConfig:
    """Hyper-parameters of a PyanNet, all readable from a checkpoint."""

    powerset: PowersetConfig = field(default_factory=PowersetConfig)
    sample_rate_hz: int = 16000
    window_s: float = 10.0
    sinc_filters: int = 80
    sinc_kernel: int = 251
    sinc_stride: int = 10
    conv_channels: int = 60
    conv_kernel: int = 5
    lstm_hidden: int = 128
    lstm_layers: int = 4
    lstm_bidirectional: bool = True
    linear_sizes: tuple[int, ...] = (128, 128)

    @property
    def strides(self) -> tuple[tuple[int, int], ...]:
        """(kernel, stride) of every layer between samples and frames."""
        return ((self.sinc_kernel, self.sinc_stride), *_AFTER_SINC)

    @property
    def hop_samples(self) -> int:
        hop = 1
        for _, stride in self.strides:
            hop *= stride
        return hop

    @property
    def receptive_field_samples(self) -> int:
        """Samples that one frame sees."""
        size = 1
        for kernel, stride in reversed(self.strides):
            size = (size - 1) * stride + kernel
        return size

    @property
    def min_samples(self) -> int:
        """The shortest input: two frames, since one alone has no variance to normalise by."""
        return self.receptive_field_samples + self.hop_samples

    @property
    def window_samples(self) -> int:
        return round(self.window_s * self.sample_rate_hz)

    def num_frames(self, num_samples: int) -> int:
        """Frames that the network gives for ``num_samples`` samples (0 if too short)."""
        for kernel, stride in self.strides:
            num_samples = max(0, 1 + (num_samples - kernel) // stride)
        return num_samples


def sinc_filters(state: Mapping[str, Tensor], prefix: str, sample_rate_hz: int) -> Tensor:
    """(filters, 1, kernel) float32: cosine filters, then sine filters, of the learnt bands.

    Source: asteroid-filterbanks ``ParamSincFB`` with its minimum frequency and minimum bandwidth
    of 50 Hz. Same operations in the same precision, hence bit-equal to the original.
    """
    low_hz = 50.0 + state[prefix + "low_hz_"].abs()
    high_hz = (low_hz + 50.0 + state[prefix + "band_hz_"].abs()).clamp(50.0, sample_rate_hz / 2)
    half_window, times = state[prefix + "window_"], state[prefix + "n_"]
    phase_low, phase_high = low_hz @ times, high_hz @ times
    cosine = (phase_high.sin() - phase_low.sin()) / (times / 2) * half_window
    sine = (phase_low.cos() - phase_high.cos()) / (times / 2) * half_window
    centre = 2 * (high_hz - low_hz)
    filters = torch.cat(
        [
            torch.cat([cosine, centre, cosine.flip(1)], dim=1) / centre,
            torch.cat([sine, torch.zeros_like(centre), -sine.flip(1)], dim=1) / centre,
        ]
    )
    return filters.unsqueeze(1)


class SincNet(nn.Module):
    """Waveform (B, 1, N) -> features (B, conv_channels, F)."""

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        channels = (config.sinc_filters, config.conv_channels, config.conv_channels)
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        self.conv1d = nn.ModuleList(
            [
                nn.Conv1d(1, channels[0], config.sinc_kernel, config.sinc_stride, bias=False),
                nn.Conv1d(channels[0], channels[1], config.conv_kernel),
                nn.Conv1d(channels[1], channels[2], config.conv_kernel),
            ]
        )
        self.norm1d = nn.ModuleList([nn.InstanceNorm1d(size, affine=True) for size in channels])

    def forward(self, waveform: Tensor) -> Tensor:
        filtered = self.conv1d[0](self.wav_norm1d(waveform)).abs()
        return self.after_filters(functional.max_pool1d(filtered, POOL))

    def after_filters(self, pooled: Tensor) -> Tensor:
        """Pooled magnitudes of the filters (B, sinc_filters, P) -> (B, conv_channels, F)."""
        x = functional.leaky_relu(self.norm1d[0](pooled))
        for conv, norm in zip(self.conv1d[1:], self.norm1d[1:], strict=True):
            x = functional.leaky_relu(norm(functional.max_pool1d(conv(x), POOL)))
        return x


class Segmentation(nn.Module):
    """Who speaks when within one window, as log-probabilities of powerset classes."""

    def __init__(self, config: SegmentationConfig) -> None:
        super().__init__()
        self.config = config
        self.sincnet = SincNet(config)
        self.lstm = nn.LSTM(
            config.conv_channels,
            config.lstm_hidden,
            config.lstm_layers,
            bidirectional=config.lstm_bidirectional,
        )
        width = config.lstm_hidden * (2 if config.lstm_bidirectional else 1)
        sizes = (width, *config.linear_sizes)
        self.linear = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
        self.classifier = nn.Linear(sizes[-1], config.powerset.num_classes)

    def load_original(self, state: Mapping[str, Tensor]) -> Segmentation:
        """Load the tensors of a pyannote.audio PyanNet, freezing its sinc filters; self."""
        prefix = "sincnet.conv1d.0.filterbank."
        frozen = sinc_filters(state, prefix, self.config.sample_rate_hz)
        plain = {name: value for name, value in state.items() if not name.startswith(prefix)}
        self.load_state_dict({**plain, "sincnet.conv1d.0.weight": frozen})
        return self

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, 1, N) float32 -> (B, F, classes) float32 log-probabilities."""
        return self.classify(self.sincnet(waveform))

    def classify(self, features: Tensor) -> Tensor:
        """SincNet's features (B, conv_channels, F) -> (B, F, classes) log-probabilities."""
        # Time first, as recurrent kernels want it, and batch first again at the end only, where
        # there is least to transpose. (With a transposition right before the first linear layer,
        # ONNX Runtime 1.31 crashes while it optimises the FP16 graph.)
        x, _ = self.lstm(features.permute(2, 0, 1))
        for linear in self.linear:
            x = functional.leaky_relu(linear(x))
        return functional.log_softmax(self.classifier(x).transpose(0, 1), dim=-1)


class SegmentationMasks(nn.Module):
    """Segmentation and powerset decoding in one graph."""

    def __init__(self, segmentation: Segmentation) -> None:
        super().__init__()
        self.segmentation = segmentation
        self.powerset = Powerset(segmentation.config.powerset)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, N) -> log_probs (B, F, classes), masks (B, F, speakers), all float32."""
        log_probs = self.segmentation(waveform)
        return log_probs, self.powerset(log_probs)
