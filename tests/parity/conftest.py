"""The real networks, exported once (two minutes) for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from voxport.export.checkpoints import EmbeddingCheckpoint, SegmentationCheckpoint
from voxport.export.networks import Networks
from voxport.export.run import run_export


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="session")
def networks(
    segmentation_checkpoint: SegmentationCheckpoint, campplus_checkpoint: EmbeddingCheckpoint
) -> Networks:
    return Networks(segmentation_checkpoint, (campplus_checkpoint,))


@pytest.fixture(scope="session")
def models(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("coremltools", reason="needs coremltools: install voxport[coreml]")
    folder = tmp_path_factory.mktemp("models")
    run_export(networks, folder)
    return folder
