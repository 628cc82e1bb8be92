"""Powerset classes: each class is a set of speakers that talk at once.

Source: Plaquet & Bredin, "Powerset multi-class cross entropy loss for neural speaker
diarization" (Interspeech 2023); the order of the classes is that of pyannote.audio's ``Powerset``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class PowersetConfig:
    """At most ``max_simultaneous`` of ``num_speakers`` local speakers are active in a frame."""

    num_speakers: int = 3
    max_simultaneous: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.max_simultaneous <= self.num_speakers:
            raise ValueError(
                f"max_simultaneous must lie in 1..num_speakers ({self.num_speakers}), "
                f"got {self.max_simultaneous}"
            )

    @property
    def classes(self) -> tuple[tuple[int, ...], ...]:
        """The speakers of each class: {}, {0}, {1}, ..., {0, 1}, {0, 2}, ..."""
        sizes = range(self.max_simultaneous + 1)
        speakers = range(self.num_speakers)
        return tuple(members for size in sizes for members in combinations(speakers, size))

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def mapping(self) -> tuple[tuple[int, ...], ...]:
        """(num_classes, num_speakers) table of 0 and 1."""
        return tuple(
            tuple(int(speaker in members) for speaker in range(self.num_speakers))
            for members in self.classes
        )


class Powerset(nn.Module):
    """Hard decoding of powerset scores into speaker masks.

    The best class is the argmax, the lowest index on ties. Log-probabilities, logits and
    probabilities give the same masks, since all are monotonic in one another.
    """

    mapping: Tensor

    def __init__(self, config: PowersetConfig) -> None:
        super().__init__()
        self.register_buffer("mapping", torch.tensor(config.mapping, dtype=torch.float32))

    def forward(self, log_probs: Tensor) -> Tensor:
        """(B, F, classes) float32 -> (B, F, speakers) float32 of 0 and 1."""
        return self.mapping[torch.argmax(log_probs, dim=-1)]
