"""The networks as peers take them, made of the very checkpoints that voxport uses."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from bench_export import random_wespeaker
from torch import Tensor, nn
from voxport.export.checkpoints import load_embedding, load_segmentation
from voxport.export.networks import SAMPLE_RATE_HZ, Networks, embedding_module
from voxport.export.run import ExportOptions, run_export
from voxport.runtime.manifest import MANIFEST_NAME, Manifest

_WESPEAKER = ("segmentation_masks", "embedding_wespeaker")


class _PooledOverAll(nn.Module):
    """CAM++ from features to one embedding: what sherpa-onnx runs on a cropped piece."""

    def __init__(self, trunk: Any) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, features: Tensor) -> Tensor:
        frames = self.trunk(features)
        deviation = frames.std(dim=-1, unbiased=True)
        pooled: Tensor = self.trunk.project(torch.cat([frames.mean(dim=-1), deviation], dim=-1))
        return pooled


def sherpa_segmentation(models: Path, path: Path) -> Path:
    """voxport's own graph with the metadata that sherpa-onnx reads.

    Source of the keys: sherpa-onnx, ``scripts/pyannote/segmentation/export-onnx.py``.
    """
    row = Manifest.read(models / MANIFEST_NAME).find("segmentation", "fp32", "onnx")
    recipe = row.description.recipe
    properties = {
        "model_type": "pyannote-segmentation-3.0",
        "num_speakers": recipe["num_speakers"],
        "powerset_max_classes": recipe["max_simultaneous"],
        "num_classes": len(recipe["classes"]),
        "sample_rate": recipe["sample_rate_hz"],
        "window_size": recipe["window_samples"],
        "receptive_field_size": recipe["receptive_field_samples"],
        "receptive_field_shift": recipe["hop_samples"],
    }
    return _saved(onnx.load(str(models / row.path)), properties, path)


def sherpa_campplus(path: Path) -> Path:
    """CAM++ on features, traced like voxport's own graphs.

    Source of the keys: sherpa-onnx, ``scripts/3dspeaker/export-onnx.py``.
    """
    checkpoint = load_embedding("campplus")
    networks = Networks(load_segmentation(), (checkpoint,))
    module = _PooledOverAll(embedding_module(networks, "campplus").trunk).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's deprecation, and hints on traced shapes
        torch.onnx.export(
            module,
            (torch.rand(1, 300, checkpoint.config.feature_size),),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["embedding"],
            dynamic_axes={"x": {0: "N", 1: "T"}, "embedding": {0: "N"}},
        )
    properties = {
        "framework": "3d-speaker",
        "language": "zh-en",
        "url": checkpoint.provenance.origin,
        "comment": checkpoint.provenance.name,
        "sample_rate": SAMPLE_RATE_HZ,
        "output_dim": checkpoint.config.embedding_size,
        "normalize_samples": 1,
        "feature_normalize_type": "global-mean",
    }
    return _saved(onnx.load(str(path)), properties, path)


def wespeaker_models(folder: Path) -> Path:
    """Artifacts of WeSpeaker's ResNet34 with random weights, exported once."""
    if not (folder / MANIFEST_NAME).is_file():
        sys.stderr.write("exporting WeSpeaker's ResNet34 with random weights\n")
        networks = Networks(load_segmentation(), (random_wespeaker(),))
        run_export(
            networks,
            folder,
            ExportOptions(formats=("onnx",), precisions=("fp32",), only=_WESPEAKER),
        )
    return folder


def _saved(model: onnx.ModelProto, properties: dict[str, Any], path: Path) -> Path:
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: str(value) for key, value in properties.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    return path
