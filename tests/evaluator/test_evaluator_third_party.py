"""Programs that others converted from the same checkpoints give the checkpoints' own results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from small_programs import coremltools
from voxport.export.checkpoints import EmbeddingCheckpoint, SegmentationCheckpoint
from voxport.export.evaluator import Mode, load_program
from voxport.export.networks import Networks, embedding_module, evaluation_mode, segmentation_module

Waveform = npt.NDArray[np.float32]
Modes = pytest.mark.parametrize("mode", ["exact", "stored"])


@pytest.fixture(scope="module")
def networks(
    segmentation_checkpoint: SegmentationCheckpoint, campplus_checkpoint: EmbeddingCheckpoint
) -> Networks:
    return Networks(segmentation_checkpoint, (campplus_checkpoint,))


@Modes
def test_campplus_gives_the_embeddings_of_the_checkpoint(
    third_party: Callable[[str], Path], networks: Networks, sample_waveform: Waveform, mode: Mode
) -> None:
    coremltools()
    program = load_program(third_party("camplusplus_batch16.mlpackage"))
    assert program.ops["conv"] == 225
    assert "slice_by_index" not in program.ops
    # 150 frames: 25 ms for the first, 10 ms for each other.
    samples = 400 + 149 * 160
    crops = [sample_waveform[start : start + samples] for start in range(40000, 424000, 24000)]
    waveforms = torch.from_numpy(np.stack(crops)[:, None])
    module = evaluation_mode(lambda n: embedding_module(n, "campplus"), networks)
    features = module.fbank(waveforms)
    features -= features.mean(dim=1, keepdim=True)
    ours = module(waveforms, torch.ones(16, 1, 150))[:, 0].numpy()
    # These copies of the network, the traced one and this one, end in a ReLU that 3D-Speaker's
    # original does not have, and so does ours not.
    expected = np.maximum(ours, 0)
    found = program.run({"input_features": features.numpy()}, mode)["embeddings"]
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    distances = 1 - (expected * found).sum(axis=1) / norms
    assert np.abs(distances).max() < 1e-4


@Modes
def test_segmentation_makes_the_decisions_of_the_checkpoint(
    third_party: Callable[[str], Path], networks: Networks, sample_waveform: Waveform, mode: Mode
) -> None:
    """On the recording's three windows, every frame once.

    (On nine windows every 2.5 s, its FP16 weights flip 6 of 5,301 frames, 0.11 %. That these are
    the weights' and not the evaluator's is what the next test shows.)
    """
    program = load_program(third_party("pyannote_segmentation.mlmodelc"))
    assert program.ops["lstm"] == 4
    module = evaluation_mode(segmentation_module, networks)
    flips = []
    for window in _windows(sample_waveform, step=160000):
        expected = module(torch.from_numpy(window)).numpy().argmax(axis=-1)
        found = program.run({"audio": window}, mode)["segments"].argmax(axis=-1)
        flips.append(found != expected)
    assert np.mean(flips) <= 0.001


def test_segmentation_is_pytorch_with_the_same_rounded_weights(
    third_party: Callable[[str], Path], networks: Networks, sample_waveform: Waveform
) -> None:
    """The program's weights are FP16, but for the LSTM's: so are PyTorch's here, in float64."""
    program = load_program(third_party("pyannote_segmentation.mlmodelc"))
    module = evaluation_mode(segmentation_module, networks).double()
    for name, parameter in module.named_parameters():
        if "lstm" not in name:
            parameter.copy_(parameter.half())
    for window in _windows(sample_waveform, step=40000):
        expected = module(torch.from_numpy(window).double()).numpy()
        found = program.run({"audio": window})["segments"]
        # What remains: the FP16 epsilon of its norms and slope of its activations.
        np.testing.assert_allclose(found, expected, atol=0.02)
        np.testing.assert_array_equal(found.argmax(axis=-1), expected.argmax(axis=-1))


def _windows(samples: Waveform, step: int) -> list[Waveform]:
    """(1, 1, 160000) each"""
    starts = range(0, len(samples) - 160000 + 1, step)
    return [samples[None, None, start : start + 160000] for start in starts]
