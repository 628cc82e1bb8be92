"""The published checkpoints, from the cache or fetched; skipped where they cannot be had."""

from __future__ import annotations

import hashlib

import torch
from voxport.export.checkpoints import (
    EmbeddingCheckpoint,
    SegmentationCheckpoint,
    available,
    fetch,
    load_segmentation,
)
from voxport.export.checkpoints.registry import REGISTRY
from voxport.graphs import CamPlusPlusConfig, CamPlusPlusTrunk, Segmentation, SegmentationConfig


def test_registry_is_complete() -> None:
    """Every checkpoint states licence, sources and tensors; the defaults are pinned."""
    for name, entry in REGISTRY.items():
        assert entry.licence
        assert entry.sources
        assert (entry.sha256 is None) == (name == "wespeaker-resnet34-lm")
    counts = {name: len(entry.expected_tensors) for name, entry in REGISTRY.items()}
    assert counts["segmentation-3.0"] == 54
    assert counts["campplus-zh-en-advanced"] == 937
    assert counts["wespeaker-resnet34-lm"] == 218
    assert counts["sample.wav"] == counts["sample.rttm"] == 0


def test_real_segmentation(segmentation_checkpoint: SegmentationCheckpoint) -> None:
    assert available("segmentation-3.0")
    assert segmentation_checkpoint.config == SegmentationConfig()
    assert segmentation_checkpoint.provenance.licence == "MIT"
    digest = hashlib.sha256(segmentation_checkpoint.path.read_bytes()).hexdigest()
    assert digest == REGISTRY["segmentation-3.0"].sha256
    network = Segmentation(segmentation_checkpoint.config).eval()
    network.load_original(segmentation_checkpoint.state)
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 160_000)).shape == (1, 589, 7)
    same_file = load_segmentation(segmentation_checkpoint.path)
    assert same_file.provenance.name == "segmentation-3.0"


def test_real_campplus(campplus_checkpoint: EmbeddingCheckpoint) -> None:
    assert campplus_checkpoint.config == CamPlusPlusConfig()
    assert campplus_checkpoint.provenance.licence == "Apache-2.0"
    # The same numbers as torch's own reader gives; this file is safe for both.
    original = torch.load(campplus_checkpoint.path, weights_only=True)
    assert set(original) == set(campplus_checkpoint.state)
    for name, value in original.items():
        assert torch.equal(campplus_checkpoint.state[name], value)
    CamPlusPlusTrunk(campplus_checkpoint.config).load_original(campplus_checkpoint.state)


def test_one_wheel_brings_recording_and_reference(sample_waveform: object) -> None:
    assert sample_waveform is not None
    assert available("sample.rttm")
    assert fetch("sample.rttm").read_text(encoding="utf-8").startswith("SPEAKER sample")
