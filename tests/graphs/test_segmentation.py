from __future__ import annotations

import numpy as np
import pytest
import torch
from seeded_networks import State, segmentation_state
from signals import full_scale_noise, silence, speechlike
from voxport.export.reference import powerset_masks, segmentation_log_probs
from voxport.graphs import PowersetConfig, Segmentation, SegmentationConfig, SegmentationMasks
from voxport.graphs.segmentation import sinc_filters

SMALL = SegmentationConfig(
    powerset=PowersetConfig(3, 2), lstm_hidden=6, lstm_layers=2, linear_sizes=(8, 5)
)
SINC = "sincnet.conv1d.0.filterbank."


@pytest.fixture(scope="module")
def state() -> State:
    return segmentation_state(SMALL, seed=1)


@pytest.fixture
def network(state: State) -> Segmentation:
    return Segmentation(SMALL).load_original(state).eval()


def test_geometry_of_the_real_network() -> None:
    config = SegmentationConfig()

    assert config.window_samples == 160000
    assert config.num_frames(160000) == 589
    assert config.hop_samples == 270  # 16.875 ms
    assert config.receptive_field_samples == 991
    assert config.powerset.num_classes == 7


@pytest.mark.parametrize("num_samples", [0, 1, 250, 251, 990])
def test_too_short_inputs_have_no_frames(num_samples: int) -> None:
    assert SegmentationConfig().num_frames(num_samples) == 0


def test_frames_appear_every_hop_after_the_receptive_field() -> None:
    config = SegmentationConfig()
    hop, shortest = config.hop_samples, config.receptive_field_samples

    for num_samples in range(shortest, shortest + 3 * hop + 1):
        assert config.num_frames(num_samples) == 1 + (num_samples - shortest) // hop


@pytest.mark.parametrize(
    "num_samples", [1261, 1530, 1531, 16000, 16001, 16079, 59200, 79999, 80000, 160000, 160001]
)
def test_number_of_frames_is_that_of_the_network(network: Segmentation, num_samples: int) -> None:
    log_probs = network(torch.from_numpy(speechlike(num_samples, seed=2))[None, None])

    assert log_probs.shape == (1, SMALL.num_frames(num_samples), 7)


@pytest.mark.parametrize("stride", [5, 10, 20])
def test_number_of_frames_for_other_strides(stride: int) -> None:
    config = SegmentationConfig(sinc_stride=stride, lstm_hidden=2, lstm_layers=1, linear_sizes=())
    waveform = torch.from_numpy(full_scale_noise(16000, seed=3))[None, None]

    assert Segmentation(config)(waveform).shape[1] == config.num_frames(16000)


def test_single_frame_sees_the_receptive_field(network: Segmentation) -> None:
    """The shortest input passes the convolutions (the norms refuse a single value in PyTorch)."""
    x = torch.zeros(1, 1, 991)
    for conv in network.sincnet.conv1d:
        x = torch.nn.functional.max_pool1d(conv(x), 3)

    assert x.shape[-1] == SMALL.num_frames(991) == 1


def test_frozen_filters_equal_the_formula_in_float64(state: State) -> None:
    """Each filter is the difference of two low-pass filters under a Hamming window."""
    filters = sinc_filters(state, SINC, 16000)[:, 0].numpy()

    low = 50.0 + np.abs(state[SINC + "low_hz_"].double().numpy())
    high = np.clip(low + 50.0 + np.abs(state[SINC + "band_hz_"].double().numpy()), 50.0, 8000.0)
    angle = 2 * np.pi * np.arange(1, 126) / 16000.0
    window = np.hamming(251)[126:]
    right = {
        "cosine": (np.sin(high * angle) - np.sin(low * angle)) / angle / (high - low) * window,
        "sine": (np.cos(low * angle) - np.cos(high * angle)) / angle / (high - low) * window,
    }
    assert filters.shape == (80, 251)
    # float32 holds phases of up to 390 radians to about 2e-5.
    assert np.abs(filters[:40, 126:] - right["cosine"]).max() < 1e-4
    assert np.abs(filters[40:, 126:] - right["sine"]).max() < 1e-4
    assert np.array_equal(filters[:40], filters[:40, ::-1])
    assert np.array_equal(filters[40:], -filters[40:, ::-1])
    assert (filters[:40, 125] == 1).all()


def test_filters_are_frozen_into_a_plain_convolution(network: Segmentation, state: State) -> None:
    frozen = network.state_dict()

    assert torch.equal(frozen["sincnet.conv1d.0.weight"], sinc_filters(state, SINC, 16000))
    assert not any("filterbank" in name for name in frozen)


@pytest.mark.parametrize("num_samples", [1261, 16000, 40123])
def test_equals_the_textbook_in_float64(
    network: Segmentation, state: State, num_samples: int
) -> None:
    signals = [
        speechlike(num_samples, seed=4),
        full_scale_noise(num_samples, seed=5),
        silence(num_samples),
    ]
    waveform = torch.from_numpy(np.stack(signals))[:, None]

    log_probs = network(waveform)

    expected = segmentation_log_probs(
        state, waveform.double(), sinc_stride=10, sample_rate_hz=16000
    )
    assert log_probs.dtype == torch.float32
    assert log_probs.isfinite().all()
    assert (log_probs - expected).abs().max() < 1e-3
    assert (log_probs.exp().sum(dim=-1) - 1).abs().max() < 1e-5


def test_masks_are_those_of_the_log_probabilities(network: Segmentation) -> None:
    waveform = torch.from_numpy(speechlike(48000, seed=6))[None, None]

    log_probs, masks = SegmentationMasks(network)(waveform)

    assert torch.equal(log_probs, network(waveform))
    expected = powerset_masks(log_probs.numpy(), SMALL.powerset.classes, 3)
    assert np.array_equal(masks.numpy(), expected)


def test_missing_tensors_are_refused(state: State) -> None:
    incomplete = {name: value for name, value in state.items() if "lstm.weight_hh_l1" not in name}

    with pytest.raises(RuntimeError, match=r"Missing key.*lstm\.weight_hh_l1"):
        Segmentation(SMALL).load_original(incomplete)
