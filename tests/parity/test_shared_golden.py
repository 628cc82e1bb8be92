"""Our graphs against the larger references of the shared data folder, where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch
from voxport.export import reference
from voxport.graphs import (
    CAMPPLUS_FBANK,
    WESPEAKER_FBANK,
    CamPlusPlusTrunk,
    CosineDistance,
    KaldiFbank,
    Powerset,
    PowersetConfig,
    ResNetConfig,
    ResNetTrunk,
    Segmentation,
    SegmentationMasks,
    SpeakerEmbedding,
)

Arrays = dict[str, npt.NDArray[Any]]

WINDOW, STEP = 160000, 16000


@pytest.fixture(scope="module")
def segmentation(segmentation_checkpoint: Any) -> SegmentationMasks:
    network = Segmentation(segmentation_checkpoint.config)
    return SegmentationMasks(network.load_original(segmentation_checkpoint.state)).eval()


@pytest.fixture(scope="module")
def campplus(campplus_checkpoint: Any) -> SpeakerEmbedding:
    trunk = CamPlusPlusTrunk(campplus_checkpoint.config)
    return SpeakerEmbedding(CAMPPLUS_FBANK, trunk.load_original(campplus_checkpoint.state)).eval()


@pytest.fixture(scope="module")
def wespeaker_state(shared_data: Path) -> dict[str, torch.Tensor]:
    file = shared_data / "golden" / "wespeaker" / "random_weights.pt"
    state = torch.load(file, weights_only=True)
    return {name.removeprefix("resnet."): value for name, value in state.items()}


@pytest.fixture(scope="module")
def wespeaker(wespeaker_state: dict[str, torch.Tensor]) -> SpeakerEmbedding:
    trunk = ResNetTrunk(ResNetConfig()).load_original(wespeaker_state)
    return SpeakerEmbedding(WESPEAKER_FBANK, trunk).eval()


def load_golden(shared_data: Path, name: str) -> Arrays:
    with np.load(shared_data / "golden" / name / "reference.npz") as file:
        return dict(file)


def community1(shared_data: Path, name: str) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(shared_data / "golden" / "community1" / f"{name}.npy")
    return array


def full_mask(batch: int) -> torch.Tensor:
    return torch.ones(batch, 1, 589)


def test_segmentation(segmentation: SegmentationMasks, shared_data: Path) -> None:
    arrays = load_golden(shared_data, "segmentation")

    log_probs, masks = segmentation(torch.from_numpy(arrays["waveform"]))

    assert log_probs.isfinite().all()
    # The original's own float32 is 1e-3 away from its float64.
    for name in ("log_probs", "log_probs_float64"):
        assert np.abs(log_probs.numpy() - arrays[name]).max() < 5e-3
        assert np.array_equal(log_probs.numpy().argmax(-1), arrays[name].argmax(-1))
    assert np.array_equal(masks, arrays["masks"])


def test_segmentation_of_silence(segmentation: SegmentationMasks, shared_data: Path) -> None:
    expected = load_golden(shared_data, "segmentation")["log_probs_silence"]

    log_probs, masks = segmentation(torch.zeros(1, 1, WINDOW))

    # Log-probabilities of silence are rounding: see test_originals.py.
    assert np.abs(log_probs.exp().numpy() - np.exp(expected)).max() < 1e-3
    assert (masks == 0).all()


@pytest.mark.parametrize("num_samples", [24240, 32240, 48240, 160000])
def test_campplus(campplus: SpeakerEmbedding, shared_data: Path, num_samples: int) -> None:
    arrays = load_golden(shared_data, "campplus")
    waveform = torch.from_numpy(arrays["waveform_160000"])[:, None, :num_samples]

    features = campplus.fbank(waveform).numpy()
    embeddings = campplus(waveform, full_mask(len(waveform)))[:, 0].numpy()

    difference = np.abs(features - arrays[f"fbank_raw_{num_samples}"])
    assert difference.max() < 2e-3
    assert difference.mean() < 1e-5
    # These references come from a copy of the module whose last layer is a ReLU. The authors' own
    # code ends in a batch norm; test_originals.py holds the negative half to it.
    assert (embeddings < 0).any()
    rectified = np.maximum(embeddings, 0)
    assert np.abs(rectified - arrays[f"embeddings_{num_samples}"]).max() < 1e-4


def assert_relative(actual: torch.Tensor, expected: npt.NDArray[Any]) -> None:
    assert actual.shape == expected.shape
    assert actual.isfinite().all()
    assert np.abs(actual.numpy() - expected).max() < 1e-4 * np.abs(expected).max()


def test_wespeaker_features(shared_data: Path) -> None:
    arrays = load_golden(shared_data, "wespeaker")

    features = KaldiFbank(WESPEAKER_FBANK)(torch.from_numpy(arrays["waveform"]))
    centred = features - features.mean(dim=1, keepdim=True)

    for actual, name in ((features, "fbank_raw"), (centred, "fbank_centered")):
        difference = np.abs(actual.numpy() - arrays[name])
        assert difference.max() < 2e-3
        assert difference.mean() < 2e-5


@pytest.mark.parametrize("num_samples", [160000, 48000, 16000, 7000])
def test_wespeaker_without_masks(
    wespeaker: SpeakerEmbedding, shared_data: Path, num_samples: int
) -> None:
    arrays = load_golden(shared_data, "wespeaker")
    name = "embeddings" if num_samples == WINDOW else f"embeddings_{num_samples}"
    waveform = torch.from_numpy(arrays["waveform"])[..., :num_samples]

    assert_relative(wespeaker(waveform, full_mask(len(waveform)))[:, 0], arrays[name])


@pytest.mark.parametrize("kind", ["masks", "random"])
def test_wespeaker_with_masks(wespeaker: SpeakerEmbedding, shared_data: Path, kind: str) -> None:
    arrays = load_golden(shared_data, "wespeaker")
    masks = torch.from_numpy(arrays[f"weights_{kind}"])

    embeddings = wespeaker(torch.from_numpy(arrays["waveform"]), masks)

    assert_relative(embeddings, arrays[f"embeddings_{kind}"])


def test_wespeaker_reference_in_float64(
    wespeaker_state: dict[str, torch.Tensor], shared_data: Path
) -> None:
    """From the original's own features, so that only the network is compared."""
    arrays = load_golden(shared_data, "wespeaker")
    centred = torch.from_numpy(arrays["fbank_centered"][:1]).double()

    embeddings = reference.embeddings_per_speaker(
        reference.resnet_frames(wespeaker_state, centred),
        full_mask(len(centred)),
        lambda statistics: reference.resnet_head(wespeaker_state, statistics),
    )[:, 0]

    expected = arrays["embeddings_float64"][:1]
    assert np.abs(embeddings.numpy() - expected).max() < 1e-6 * np.abs(expected).max()


POWERSETS = [(2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3), (4, 4)]


@pytest.mark.parametrize(("speakers", "at_once"), POWERSETS)
def test_powerset_mapping(shared_data: Path, speakers: int, at_once: int) -> None:
    expected = community1(shared_data, f"powerset_mapping_{speakers}_{at_once}")

    assert np.array_equal(PowersetConfig(speakers, at_once).mapping, expected)


def test_powerset_decoding(shared_data: Path) -> None:
    logits = community1(shared_data, "powerset_input_logits")

    masks = Powerset(PowersetConfig(3, 2))(torch.from_numpy(logits))

    assert np.array_equal(masks, community1(shared_data, "powerset_hard_output"))


def test_cosine_similarity(shared_data: Path) -> None:
    vectors = torch.from_numpy(community1(shared_data, "cosine_sim_input"))

    distances = CosineDistance()(vectors, vectors).numpy()

    expected = community1(shared_data, "cosine_sim_expected")
    assert np.abs((1 - distances) - expected).max() < 1e-6


def sliding_windows(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(windows, 1, WINDOW): every second, with a zero-padded last window for a remainder."""
    count = 1 + max(0, -(-(len(samples) - WINDOW) // STEP))
    padded = np.zeros((count - 1) * STEP + WINDOW, dtype=np.float32)
    padded[: len(samples)] = samples
    return np.stack([padded[i * STEP :][:WINDOW] for i in range(count)])[:, None]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("spk_test", "pipeline"),
        ("spk_3speakers", "3speakers"),
        ("spk_single", "single_speaker"),
        ("spk_short", "short"),
    ],
)
def test_segmentation_of_whole_files(
    segmentation: SegmentationMasks, shared_data: Path, uri: str, name: str
) -> None:
    """Masks that pyannote community-1 found, window by window."""
    samples, _ = soundfile.read(shared_data / "wav" / f"{uri}.wav", dtype="float32")

    masks = segmentation(torch.from_numpy(sliding_windows(samples)))[1]

    assert np.array_equal(masks, community1(shared_data, f"{name}_segmentation_data"))
