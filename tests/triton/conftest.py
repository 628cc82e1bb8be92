"""Every graph that is published, of small seeded networks: traced, not judged."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from seeded_networks import campplus_state, segmentation_state, tensors
from seeded_vggish import TINY, vggish_state
from voxport.export.checkpoints import (
    EmbeddingCheckpoint,
    Provenance,
    SegmentationCheckpoint,
    VggishCheckpoint,
)
from voxport.export.networks import Networks, evaluation_mode
from voxport.export.onnx_format import OnnxFormat
from voxport.export.specs import ExportSpec, export_specs
from voxport.graphs import CamPlusPlusConfig, SegmentationConfig
from voxport.runtime import ArtifactRow, Manifest
from voxport.runtime.manifest import MANIFEST_NAME

_WINDOW_SAMPLES = 16000


@pytest.fixture(scope="session")
def small_networks() -> Networks:
    """Networks of the real architectures with few and narrow layers, for windows of a second."""
    origin = Provenance("seeded", "a seed", "MIT", "0" * 64, 0)
    segmentation = SegmentationConfig(
        window_s=1.0, sinc_filters=16, conv_channels=12, lstm_hidden=16, lstm_layers=2
    )
    campplus = CamPlusPlusConfig(
        embedding_size=24, head_channels=8, init_channels=32, block_layers=(2, 1, 1)
    )
    vggish = replace(TINY, whitened=True)
    made_of = Path("seeded")
    return Networks(
        SegmentationCheckpoint(origin, segmentation, segmentation_state(segmentation, 1), made_of),
        (EmbeddingCheckpoint(origin, "campplus", campplus, campplus_state(campplus, 2), made_of),),
        VggishCheckpoint(origin, vggish, tensors(vggish_state(vggish, 4)), made_of, origin),
    )


@pytest.fixture(scope="session")
def specs(small_networks: Networks) -> list[ExportSpec]:
    return [replace(spec, traced=_traced(spec)) for spec in export_specs(small_networks)]


def _traced(spec: ExportSpec) -> dict[str, int]:
    """On a second of audio, where that is long enough."""
    small = {"samples": _WINDOW_SAMPLES, "frames": 56}
    if spec.name.startswith(("highlights", "vggish", "segmentation_windows")):
        return dict(spec.traced)
    return {axis: small.get(axis, size) for axis, size in spec.traced.items()}


@pytest.fixture(scope="session")
def all_models(
    small_networks: Networks,
    specs: list[ExportSpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Do not write into it."""
    folder = tmp_path_factory.mktemp("models")
    rows = []
    for spec in specs:
        module = evaluation_mode(spec.build, small_networks)
        wanted = ("fp32", "fp16", "int8") if spec.name in _NETWORKS else ("fp32",)
        for made in OnnxFormat().candidates(spec, module, small_networks, wanted, folder):
            content = made.path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            rows.append(
                ArtifactRow(
                    description=made.description,
                    format="onnx",
                    path=made.path.name,
                    sha256=digest,
                    size_bytes=len(content),
                    target="opset17",
                    ops=OnnxFormat().ops(made.path),
                    tools={},
                    gates=(),
                    probe={},
                    verified_on="a test",
                )
            )
    write_manifest(folder, rows)
    return folder


# What the ensemble is made of and held to.
_NETWORKS = ("segmentation_masks", "embedding_campplus", "diarization_window")


def write_manifest(folder: Path, rows: list[ArtifactRow]) -> None:
    (folder / MANIFEST_NAME).write_text(Manifest(tuple(rows)).to_json(), encoding="utf-8")


@pytest.fixture
def models(all_models: Path, tmp_path: Path) -> Path:
    """A copy."""
    return Path(shutil.copytree(all_models, tmp_path / "models"))
