"""Our networks against arrays that the original packages made (``tests/golden``).

Each golden is met twice: by the re-authored graph, which is what gets exported, and by the float64
reference, which judges the graph everywhere else. Blame is clear when only one of them is off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from seeded import fingerprint, seeded_state, shapes_from_json
from seeded_networks import State, tensors
from signals import full_scale_noise, silence, speechlike
from torch import Tensor
from voxport.export import reference
from voxport.graphs import (
    CAMPPLUS_FBANK,
    WESPEAKER_FBANK,
    CamPlusPlusConfig,
    CamPlusPlusTrunk,
    FbankConfig,
    Powerset,
    PowersetConfig,
    ResNetConfig,
    ResNetTrunk,
    Segmentation,
    SegmentationConfig,
    SpeakerEmbedding,
)

Arrays = dict[str, npt.NDArray[Any]]
Golden = Callable[[str], Arrays]
Waveform = npt.NDArray[np.float32]

TINY = SegmentationConfig(
    powerset=PowersetConfig(2, 2), lstm_hidden=16, lstm_layers=2, linear_sizes=(16, 16)
)
POWERSETS = ((2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 2), (4, 4), (5, 3))


# --- two implementations of each network --------------------------------------------------------


def segmentation_graph(
    state: State, config: SegmentationConfig, waveform: Waveform
) -> npt.NDArray[Any]:
    network = Segmentation(config).load_original(state).eval()
    return np.asarray(network(torch.from_numpy(waveform)))


def segmentation_reference(
    state: State, config: SegmentationConfig, waveform: Waveform
) -> npt.NDArray[Any]:
    log_probs = reference.segmentation_log_probs(
        state,
        torch.from_numpy(waveform).double(),
        sinc_stride=config.sinc_stride,
        sample_rate_hz=config.sample_rate_hz,
    )
    return np.asarray(log_probs)


def campplus_graph(state: State, waveform: Waveform, masks: Tensor) -> npt.NDArray[Any]:
    trunk = CamPlusPlusTrunk(CamPlusPlusConfig()).load_original(state)
    network = SpeakerEmbedding(CAMPPLUS_FBANK, trunk).eval()
    return np.asarray(network(torch.from_numpy(waveform), masks))


def campplus_reference(state: State, waveform: Waveform, masks: Tensor) -> npt.NDArray[Any]:
    frames = reference.campplus_frames(state, centred_features(waveform, CAMPPLUS_FBANK))
    return np.asarray(
        reference.embeddings_per_speaker(
            frames, masks, lambda statistics: reference.campplus_head(state, statistics)
        )
    )


def wespeaker_graph(state: State, waveform: Waveform, masks: Tensor) -> npt.NDArray[Any]:
    trunk = ResNetTrunk(ResNetConfig()).load_original(state)
    network = SpeakerEmbedding(WESPEAKER_FBANK, trunk).eval()
    return np.asarray(network(torch.from_numpy(waveform), masks))


def wespeaker_reference(state: State, waveform: Waveform, masks: Tensor) -> npt.NDArray[Any]:
    frames = reference.resnet_frames(state, centred_features(waveform, WESPEAKER_FBANK))
    return np.asarray(
        reference.embeddings_per_speaker(
            frames, masks, lambda statistics: reference.resnet_head(state, statistics)
        )
    )


def centred_features(waveform: Waveform, config: FbankConfig) -> Tensor:
    features = np.stack([reference.kaldi_fbank(row[0], config) for row in waveform])
    return torch.from_numpy(features - features.mean(axis=1, keepdims=True))


SEGMENTATIONS = pytest.mark.parametrize(
    "segment", [segmentation_graph, segmentation_reference], ids=["graph", "reference"]
)
CAMPPLUSES = pytest.mark.parametrize(
    "embed", [campplus_graph, campplus_reference], ids=["graph", "reference"]
)
WESPEAKERS = pytest.mark.parametrize(
    "embed", [wespeaker_graph, wespeaker_reference], ids=["graph", "reference"]
)


# --- comparisons --------------------------------------------------------------------------------


def assert_same_segmentation(log_probs: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    assert log_probs.shape == expected.shape
    assert np.isfinite(log_probs).all()
    # Measured: the graph is bit-equal on the machine that made the goldens; the reference is
    # 3e-4 away on real speech and 8e-4 on synthetic audio, which is the original's own rounding.
    assert np.abs(log_probs - expected).max() < 5e-3
    flipped = int((log_probs.argmax(axis=-1) != expected.argmax(axis=-1)).sum())
    assert flipped == 0


def assert_close(actual: npt.NDArray[Any], expected: npt.NDArray[Any], *, atol: float) -> None:
    assert actual.shape == expected.shape
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() < atol


def seeded(golden: Mapping[str, npt.NDArray[Any]], prefix: str = "") -> State:
    """The weights that a golden was made with, from their shapes and seed."""
    shapes = shapes_from_json(str(golden[f"{prefix}shapes"]))
    state = seeded_state(shapes, int(golden[f"{prefix}seed"]))
    # Else NumPy draws other numbers than it did: make the goldens anew, the networks are fine.
    assert fingerprint(state) == pytest.approx(float(golden[f"{prefix}fingerprint"]), rel=1e-9)
    return tensors(state)


# --- segmentation -------------------------------------------------------------------------------


@SEGMENTATIONS
def test_seeded_segmentation(segment: Callable[..., npt.NDArray[Any]], golden: Golden) -> None:
    arrays = golden("segmentation")
    seed = int(arrays["tiny_seed"])
    waveform = np.stack([speechlike(16000, seed), full_scale_noise(16000, seed)])[:, None]

    log_probs = segment(seeded(arrays, "tiny_"), TINY, waveform)

    assert_same_segmentation(log_probs, arrays["tiny_log_probs"])
    masks = Powerset(TINY.powerset)(torch.from_numpy(log_probs))
    assert np.array_equal(masks, arrays["tiny_masks"])


@SEGMENTATIONS
@pytest.mark.parametrize("name", ["synthetic", "synthetic_short"])
def test_segmentation_on_synthetic_audio(
    segment: Callable[..., npt.NDArray[Any]],
    name: str,
    golden: Golden,
    segmentation_checkpoint: Any,
) -> None:
    arrays = golden("segmentation")
    seed = int(arrays["tiny_seed"])
    samples = {
        "synthetic": speechlike(160000, seed),
        "synthetic_short": speechlike(59200, seed + 1),
    }[name]
    checkpoint = segmentation_checkpoint

    log_probs = segment(checkpoint.state, checkpoint.config, samples[None, None])

    assert_same_segmentation(log_probs, arrays[f"log_probs_{name}"])
    masks = Powerset(checkpoint.config.powerset)(torch.from_numpy(log_probs))
    assert np.array_equal(masks, arrays[f"masks_{name}"])


@SEGMENTATIONS
def test_segmentation_of_silence(
    segment: Callable[..., npt.NDArray[Any]], golden: Golden, segmentation_checkpoint: Any
) -> None:
    """Probabilities, since log-probabilities of silence are rounding.

    A constant has no variance, so that the norms divide the rounding of its mean by
    sqrt(1e-5). Measured on the original itself: log-probabilities near -50 move by 0.1 in
    float64 and by 1.0 with another order of summation, probabilities by 1e-5.
    """
    expected = golden("segmentation")["log_probs_silence"]
    checkpoint = segmentation_checkpoint

    log_probs = segment(checkpoint.state, checkpoint.config, silence(160000)[None, None])

    assert_close(np.exp(log_probs), np.exp(expected), atol=1e-3)
    assert (log_probs.argmax(axis=-1) == 0).all()
    assert (expected.argmax(axis=-1) == 0).all()


@SEGMENTATIONS
@pytest.mark.parametrize("start_s", [5, 15])
def test_segmentation_on_real_speech(
    segment: Callable[..., npt.NDArray[Any]],
    start_s: int,
    golden: Golden,
    segmentation_checkpoint: Any,
    sample_waveform: Waveform,
) -> None:
    arrays, checkpoint = golden("segmentation"), segmentation_checkpoint
    window = sample_waveform[start_s * 16000 :][:160000]

    log_probs = segment(checkpoint.state, checkpoint.config, window[None, None])

    assert_same_segmentation(log_probs, arrays[f"log_probs_sample_{start_s}s"])
    masks = Powerset(checkpoint.config.powerset)(torch.from_numpy(log_probs))
    assert np.array_equal(masks, arrays[f"masks_sample_{start_s}s"])


# --- CAM++ --------------------------------------------------------------------------------------

FULL_MASK = torch.ones(1, 1, 589)


@CAMPPLUSES
def test_seeded_campplus(embed: Callable[..., npt.NDArray[Any]], golden: Golden) -> None:
    arrays = golden("campplus")
    waveform = speechlike(40000, int(arrays["seeded_seed"]))[None, None]

    embedding = embed(seeded(arrays, "seeded_"), waveform, FULL_MASK)[:, 0]

    assert_close(embedding, arrays["seeded_embedding"], atol=1e-4)


@CAMPPLUSES
@pytest.mark.parametrize("num_samples", [24240, 48240, 160000])
def test_campplus_on_real_speech(
    embed: Callable[..., npt.NDArray[Any]],
    num_samples: int,
    golden: Golden,
    campplus_checkpoint: Any,
    sample_waveform: Waveform,
) -> None:
    expected = golden("campplus")[f"embedding_{num_samples}"]
    waveform = sample_waveform[7 * 16000 :][:num_samples][None, None]

    embedding = embed(campplus_checkpoint.state, waveform, FULL_MASK)[:, 0]

    assert (expected < 0).any()  # the original does not end in a ReLU
    # Measured: 9e-6 to 3e-5 for both, the shortest being the farthest.
    assert_close(embedding, expected, atol=1e-4)


# --- WeSpeaker ----------------------------------------------------------------------------------


def wespeaker_inputs(arrays: Arrays) -> tuple[State, Waveform]:
    seed = int(arrays["seed"])
    waveform = np.stack([speechlike(160000, seed), speechlike(160000, seed + 1)])[:, None]
    state = {name.removeprefix("resnet."): value for name, value in seeded(arrays).items()}
    return state, waveform


def assert_same_embeddings(actual: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    # Measured: graph 1e-6; reference 1e-6, but 4e-5 for the one-frame mask, whose deviation is 0
    # in float32 and 6e-5 of the frame in float64 (1 + 1e-8 rounds to 1).
    assert_close(actual, expected, atol=1e-4 * float(np.abs(expected).max()))


@WESPEAKERS
def test_seeded_wespeaker(embed: Callable[..., npt.NDArray[Any]], golden: Golden) -> None:
    """Without masks, under 0/1 masks and under soft weights: all from one pass of the trunk."""
    arrays = golden("wespeaker")
    state, waveform = wespeaker_inputs(arrays)
    full = np.ones((2, 1, 589))
    masks = np.concatenate([full, arrays["masks"], arrays["soft_weights"]], axis=1)

    embeddings = embed(state, waveform, torch.from_numpy(masks.astype(np.float32)))

    assert_same_embeddings(embeddings[:, 0], arrays["embeddings"])
    assert_same_embeddings(embeddings[:, 1:4], arrays["embeddings_masks"])
    assert_same_embeddings(embeddings[:, 4:], arrays["embeddings_soft"])


@WESPEAKERS
def test_seeded_wespeaker_on_short_input(
    embed: Callable[..., npt.NDArray[Any]], golden: Golden
) -> None:
    arrays = golden("wespeaker")
    state, waveform = wespeaker_inputs(arrays)

    embeddings = embed(state, waveform[..., :7000], torch.ones(2, 1, 589))[:, 0]

    assert_same_embeddings(embeddings, arrays["embeddings_7000"])


def test_wespeaker_golden_covers_the_awkward_masks(golden: Golden) -> None:
    sizes = golden("wespeaker")["masks"].sum(axis=2)

    assert 0 in sizes
    assert 589 in sizes
    assert 5 in sizes  # five frames of 589 that reach one of 125


# --- powerset -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("speakers", "at_once"), POWERSETS)
def test_powerset(speakers: int, at_once: int, golden: Golden) -> None:
    arrays, key = golden("powerset"), f"{speakers}_{at_once}"
    config = PowersetConfig(speakers, at_once)
    scores = arrays[f"scores_{key}"].astype(np.float32)
    expected = arrays[f"masks_{key}"]

    assert np.array_equal(config.mapping, arrays[f"mapping_{key}"])
    assert np.array_equal(Powerset(config)(torch.from_numpy(scores)), expected)
    assert np.array_equal(reference.powerset_masks(scores, config.classes, speakers), expected)
