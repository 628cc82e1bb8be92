from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from seeded_networks import campplus_state, resnet_state, segmentation_state, tensors
from seeded_vggish import TINY, vggish_state
from voxport.export.checkpoints import (
    EmbeddingCheckpoint,
    Provenance,
    SegmentationCheckpoint,
    VggishCheckpoint,
)
from voxport.export.coreml.convert import Converted, convert
from voxport.export.networks import Networks, evaluation_mode
from voxport.export.specs import ExportSpec, export_specs
from voxport.graphs import CamPlusPlusConfig, ResNetConfig, SegmentationConfig

_SMALL_SIZES = {"samples": 16000, "frames": 58}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("coremltools") is not None:
        return
    skip = pytest.mark.skip(reason="needs coremltools: install voxport[coreml]")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def small_networks() -> Networks:
    """Seeded networks of the real architectures with few and narrow layers."""
    origin = Provenance("seeded", "a seed", "MIT", "0" * 64, 0)
    segmentation = SegmentationConfig(
        window_s=1.0, sinc_filters=16, conv_channels=12, lstm_hidden=16, lstm_layers=2
    )
    campplus = CamPlusPlusConfig(
        embedding_size=24, head_channels=8, init_channels=32, block_layers=(2, 1, 1)
    )
    vggish = replace(TINY, whitened=True)
    wespeaker = ResNetConfig(embedding_size=24, channels=8, block_counts=(1, 1, 1, 1))
    return Networks(
        SegmentationCheckpoint(
            origin, segmentation, segmentation_state(segmentation, 1), Path("seeded")
        ),
        (
            EmbeddingCheckpoint(
                origin, "campplus", campplus, campplus_state(campplus, 2), Path("seeded")
            ),
            EmbeddingCheckpoint(
                origin, "wespeaker", wespeaker, resnet_state(wespeaker, 3), Path("seeded")
            ),
        ),
        VggishCheckpoint(origin, vggish, tensors(vggish_state(vggish, 4)), Path("seeded"), origin),
    )


@pytest.fixture(scope="session")
def small_specs(small_networks: Networks) -> dict[str, ExportSpec]:
    """Every spec, by name, traced on one second of audio."""
    return {
        spec.name: replace(spec, traced={**spec.traced, **_small(spec)})
        for spec in export_specs(small_networks)
        if spec.coreml
    }


def _small(spec: ExportSpec) -> dict[str, int]:
    if spec.name.startswith("highlights"):
        return {}  # they are small, and their frames follow from their samples
    return {axis: size for axis, size in _SMALL_SIZES.items() if axis in spec.traced}


@pytest.fixture(scope="session")
def converted(small_specs: dict[str, ExportSpec], small_networks: Networks) -> dict[str, Converted]:
    return {
        name: convert(spec, evaluation_mode(spec.build, small_networks))
        for name, spec in small_specs.items()
    }
