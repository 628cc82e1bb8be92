"""Networks and speech for exports that need no download, and one export of the real ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from seeded_networks import segmentation_state
from signals import speechlike
from voxport.export.checkpoints import EmbeddingCheckpoint, Provenance, SegmentationCheckpoint
from voxport.export.networks import Networks
from voxport.export.verification.cases import Speech, Turn
from voxport.graphs import PowersetConfig, SegmentationConfig


@pytest.fixture(scope="session")
def synthetic_speech() -> Speech:
    """16 s of synthetic voices with two made-up turns."""
    turns = (Turn(0.0, 7.0, "a"), Turn(8.0, 15.0, "b"))
    return Speech(speechlike(16 * 16000, seed=5), 16000, turns)


@dataclass(frozen=True)
class Tiny:
    """A small segmentation network with seeded weights."""

    config: SegmentationConfig = field(
        default_factory=lambda: SegmentationConfig(
            powerset=PowersetConfig(2, 2), lstm_hidden=16, lstm_layers=2, linear_sizes=(16,)
        )
    )

    def networks(self) -> Networks:
        provenance = Provenance("tiny", "seeded", "none", "0" * 64, 0)
        state = segmentation_state(self.config, seed=3)
        segmentation = SegmentationCheckpoint(provenance, self.config, state, Path("tiny"))
        return Networks(segmentation, ())


@pytest.fixture(scope="session")
def tiny_networks() -> Networks:
    return Tiny().networks()


@pytest.fixture(scope="session")
def real_networks(
    segmentation_checkpoint: SegmentationCheckpoint, campplus_checkpoint: EmbeddingCheckpoint
) -> Networks:
    return Networks(segmentation_checkpoint, (campplus_checkpoint,))
