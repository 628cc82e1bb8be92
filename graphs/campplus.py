"""CAM++: a densely connected TDNN with context-aware masking.

Source: Wang et al., "CAM++: a fast and efficient network for speaker verification using
context-aware masking" (Interspeech 2023), and 3D-Speaker's implementation, whose tensor names
are kept. Two exact rewrites make the graph small and fast:

* Segment pooling is one matmul with a (frames, segments) matrix instead of a padded average
  pooling, expand and slice per layer.
* The context is constant within a segment, so the two layers that turn it into a gate run on
  the few segments instead of on all frames; the gate is expanded to frames afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

SEGMENT_FRAMES = 100


@dataclass(frozen=True)
class CamPlusPlusConfig:
    """Hyper-parameters of a CAM++, all readable from its tensors but the dilations."""

    feature_size: int = 80
    embedding_size: int = 192
    head_channels: int = 32
    init_channels: int = 128
    growth_rate: int = 32
    bottleneck: int = 128
    context_channels: int = 64
    block_layers: tuple[int, ...] = (12, 24, 16)
    dilations: tuple[int, ...] = (1, 2, 2)

    def __post_init__(self) -> None:
        if len(self.block_layers) != len(self.dilations):
            raise ValueError(f"{self.block_layers=} and {self.dilations=} differ in length")

    def block_input(self, index: int) -> int:
        """Channels that enter block ``index``; a transition halves those that leave one."""
        channels = self.init_channels
        for layers in self.block_layers[:index]:
            channels = (channels + layers * self.growth_rate) // 2
        return channels

    @property
    def trunk_channels(self) -> int:
        return self.block_input(len(self.block_layers))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions over (mel, time), striding over mel only."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut.append(nn.Conv2d(channels, channels, 1, (stride, 1), bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ConvHead(nn.Module):
    """(B, mel, T) -> (B, channels * mel / 8, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(ResidualBlock(channels, 2), ResidualBlock(channels, 1))
        self.layer2 = nn.Sequential(ResidualBlock(channels, 2), ResidualBlock(channels, 1))
        self.conv2 = nn.Conv2d(channels, channels, 3, (2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(features.unsqueeze(1))))
        x = functional.relu(self.bn2(self.conv2(self.layer2(self.layer1(x)))))
        return x.flatten(1, 2)


class BatchNormRelu(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.batchnorm(x))


class UnitLayer(nn.Module):
    """Convolution, batch norm, ReLU (the first TDNN layer)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        padding = (kernel - 1) // 2
        self.linear = nn.Conv1d(inputs, outputs, kernel, stride, padding, bias=False)
        self.nonlinear = BatchNormRelu(outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.nonlinear(self.linear(x))
        return out


class TransitLayer(nn.Module):
    """Batch norm, ReLU, 1x1 convolution to half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = BatchNormRelu(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.nonlinear(x))
        return out


@dataclass(frozen=True)
class Segments:
    """Matrices between T frames and K segments of 100 frames (the last may be shorter)."""

    pool: Tensor  # (T, K): mean of the segment plus mean of all frames
    expand: Tensor  # (K, T): copies a segment's value to its frames

    @classmethod
    def of(cls, frames: Tensor) -> Segments:
        """Build the matrices for frames (B, C, T), with T known only at run time."""
        num_frames = frames.shape[-1]
        index = torch.arange(num_frames, device=frames.device).unsqueeze(0)
        start = torch.arange(0, num_frames, SEGMENT_FRAMES, device=frames.device).unsqueeze(1)
        expand = ((index >= start) & (index < start + SEGMENT_FRAMES)).to(frames.dtype)
        pool = expand / expand.sum(dim=1, keepdim=True) + 1.0 / num_frames
        return cls(pool=pool.transpose(0, 1), expand=expand)


class ContextAwareMask(nn.Module):
    """A dilated convolution whose output is gated by its context."""

    def __init__(self, config: CamPlusPlusConfig, dilation: int) -> None:
        super().__init__()
        inputs, outputs = config.bottleneck, config.growth_rate
        self.linear_local = nn.Conv1d(
            inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(inputs, config.context_channels, 1)
        self.linear2 = nn.Conv1d(config.context_channels, outputs, 1)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        context = torch.matmul(x, segments.pool)
        gate = torch.sigmoid(self.linear2(functional.relu(self.linear1(context))))
        out: Tensor = self.linear_local(x) * torch.matmul(gate, segments.expand)
        return out


class DenseLayer(nn.Module):
    def __init__(self, config: CamPlusPlusConfig, inputs: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = BatchNormRelu(inputs)
        self.linear1 = nn.Conv1d(inputs, config.bottleneck, 1, bias=False)
        self.nonlinear2 = BatchNormRelu(config.bottleneck)
        self.cam_layer = ContextAwareMask(config, dilation)

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        hidden = self.nonlinear2(self.linear1(self.nonlinear1(x)))
        out: Tensor = self.cam_layer(hidden, segments)
        return out


class DenseBlock(nn.ModuleDict):
    """Each layer sees the outputs of all layers before it."""

    def __init__(self, config: CamPlusPlusConfig, index: int) -> None:
        inputs, growth = config.block_input(index), config.growth_rate
        super().__init__(
            {
                f"tdnnd{layer + 1}": DenseLayer(
                    config, inputs + layer * growth, config.dilations[index]
                )
                for layer in range(config.block_layers[index])
            }
        )

    def forward(self, x: Tensor, segments: Segments) -> Tensor:
        for layer in self.values():
            x = torch.cat([x, layer(x, segments)], dim=1)
        return x


def fold_dense(state: Mapping[str, Tensor], prefix: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of ``dense``: a 1x1 convolution and a batch norm without parameters."""
    mean, variance = (
        state[f"{prefix}nonlinear.batchnorm.{name}"].double()
        for name in ("running_mean", "running_var")
    )
    scale = torch.rsqrt(variance + 1e-5)
    weight = state[f"{prefix}linear.weight"].double().squeeze(-1) * scale.unsqueeze(1)
    return weight.float(), (-mean * scale).float()


class CamPlusPlusTrunk(nn.Module):
    """All of CAM++ but its pooling: frames before it, a linear head after it."""

    def __init__(self, config: CamPlusPlusConfig) -> None:
        super().__init__()
        self.config = config
        self.head = ConvHead(config.head_channels)
        head_size = config.head_channels * config.feature_size // 8
        self.xvector = nn.ModuleDict({"tdnn": UnitLayer(head_size, config.init_channels, 5, 2)})
        for index, layers in enumerate(config.block_layers):
            channels = config.block_input(index) + layers * config.growth_rate
            self.xvector[f"block{index + 1}"] = DenseBlock(config, index)
            self.xvector[f"transit{index + 1}"] = TransitLayer(channels)
        self.xvector["out_nonlinear"] = BatchNormRelu(config.trunk_channels)
        self.projection = nn.Linear(2 * config.trunk_channels, config.embedding_size)

    def load_original(self, state: Mapping[str, Tensor]) -> CamPlusPlusTrunk:
        """Load the tensors of a 3D-Speaker CAMPPlus, folding its last batch norm; self."""
        dense = "xvector.dense."
        weight, bias = fold_dense(state, dense)
        plain = {name: value for name, value in state.items() if not name.startswith(dense)}
        self.load_state_dict({**plain, "projection.weight": weight, "projection.bias": bias})
        return self

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, mel) mean-normalised features -> (B, trunk_channels, ceil(T / 2))."""
        x = self.xvector["tdnn"](self.head(features.transpose(1, 2)))
        segments = Segments.of(x)
        for index in range(len(self.config.block_layers)):
            x = self.xvector[f"block{index + 1}"](x, segments)
            x = self.xvector[f"transit{index + 1}"](x)
        out: Tensor = self.xvector["out_nonlinear"](x)
        return out

    def project(self, statistics: Tensor) -> Tensor:
        """(..., 2 * trunk_channels) -> (..., embedding_size)."""
        out: Tensor = self.projection(statistics)
        return out
