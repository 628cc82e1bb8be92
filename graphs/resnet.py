"""WeSpeaker's ResNet for speaker embedding.

Source: WeSpeaker ``ResNet34`` (Wang et al., "Wespeaker: a research and production oriented
speaker embedding learning toolkit", ICASSP 2023), tensor names as in pyannote.audio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class ResNetConfig:
    """Hyper-parameters of a WeSpeaker ResNet with basic blocks, readable from its tensors."""

    feature_size: int = 80
    embedding_size: int = 256
    channels: int = 32
    block_counts: tuple[int, ...] = (3, 4, 6, 3)

    @property
    def trunk_channels(self) -> int:
        """Channels times mel bins after the last stage."""
        stages = len(self.block_counts)
        mel = self.feature_size
        for _ in range(stages - 1):
            mel = (mel + 1) // 2
        widening: int = 2 ** (stages - 1)
        return self.channels * widening * mel


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


def _stage(inputs: int, outputs: int, count: int, stride: int) -> nn.Sequential:
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs, 1) for _ in range(count - 1)))


def _stage_name(name: str) -> str:
    """``layer1.0.conv1.weight`` -> ``stages.0.0.conv1.weight``; other names stay."""
    if not name.startswith("layer"):
        return name
    number, rest = name.removeprefix("layer").split(".", 1)
    return f"stages.{int(number) - 1}.{rest}"


class ResNetTrunk(nn.Module):
    """All of the ResNet but its pooling: frames before it, a linear head after it."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(1, config.channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.channels)
        inputs = config.channels
        self.stages = nn.ModuleList()
        for index, count in enumerate(config.block_counts):
            outputs = config.channels * 2**index
            self.stages.append(_stage(inputs, outputs, count, stride=1 if index == 0 else 2))
            inputs = outputs
        self.seg_1 = nn.Linear(2 * config.trunk_channels, config.embedding_size)

    def load_original(self, state: Mapping[str, Tensor]) -> ResNetTrunk:
        """Load the tensors of a WeSpeaker ResNet (no prefix): ``layer1`` is stage 0; self."""
        self.load_state_dict({_stage_name(name): value for name, value in state.items()})
        return self

    def forward(self, features: Tensor) -> Tensor:
        """(B, T, mel) mean-normalised features -> (B, trunk_channels, ceil(T / 8))."""
        x = functional.relu(self.bn1(self.conv1(features.transpose(1, 2).unsqueeze(1))))
        for stage in self.stages:
            x = stage(x)
        return x.flatten(1, 2)

    def project(self, statistics: Tensor) -> Tensor:
        """(..., 2 * trunk_channels) -> (..., embedding_size), not L2-normalised."""
        out: Tensor = self.seg_1(statistics)
        return out
