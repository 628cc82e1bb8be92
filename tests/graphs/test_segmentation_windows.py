"""Windows that share the sinc filters against windows for themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from seeded_networks import segmentation_state
from signals import full_scale_noise, speechlike
from voxport.export.reference import segmentation_log_probs
from voxport.graphs import PowersetConfig, Segmentation, SegmentationConfig, SegmentationWindows

SMALL = SegmentationConfig(
    powerset=PowersetConfig(3, 2),
    window_s=1.0,
    lstm_hidden=6,
    lstm_layers=2,
    linear_sizes=(8, 5),
)
WINDOW = SMALL.window_samples
STATE = segmentation_state(SMALL, seed=4)

Samples = npt.NDArray[np.float32]


@pytest.fixture
def windows() -> SegmentationWindows:
    return SegmentationWindows(Segmentation(SMALL).load_original(STATE)).eval()


def shared(network: SegmentationWindows, samples: Samples, starts: list[int]) -> torch.Tensor:
    log_probs, masks = network(torch.from_numpy(samples)[None, None], torch.tensor(starts))
    assert log_probs.shape[:2] == masks.shape[:2] == (len(starts), SMALL.num_frames(WINDOW))
    assert torch.equal(masks, network.powerset(log_probs))
    return log_probs


def singly(network: SegmentationWindows, samples: Samples, starts: list[int]) -> torch.Tensor:
    parts = [torch.from_numpy(samples[start : start + WINDOW]) for start in starts]
    log_probs: torch.Tensor = network.segmentation(torch.stack(parts)[:, None])
    return log_probs


@pytest.mark.parametrize(
    "starts", [[0], [0, 1600, 3200], [15990, 10, 0, 10, 7770], [20, 40, 60]], ids=str
)
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_windows_come_out_as_by_themselves(
    windows: SegmentationWindows, starts: list[int], offset: float
) -> None:
    samples = speechlike(max(starts) + WINDOW + 7, seed=5) + np.float32(offset)
    difference = shared(windows, samples, starts) - singly(windows, samples, starts)
    # Measured: 2e-6, and 5e-6 with the offset.
    assert difference.abs().max() < 5e-5


def test_loud_and_quiet_windows_do_not_mix(windows: SegmentationWindows) -> None:
    """Each window is normalised by its own loudness, whatever lies beside it."""
    loud, quiet = full_scale_noise(WINDOW, seed=6), 1e-3 * speechlike(WINDOW, seed=7)
    samples = np.concatenate([loud, quiet]).astype(np.float32)
    starts = [0, WINDOW // 2, WINDOW]
    reference = segmentation_log_probs(
        STATE,
        torch.stack([torch.from_numpy(samples[s : s + WINDOW]) for s in starts])[:, None].double(),
        sinc_stride=SMALL.sinc_stride,
        sample_rate_hz=SMALL.sample_rate_hz,
    )
    assert (shared(windows, samples, starts) - reference).abs().max() < 1e-3


def test_an_inverted_normalisation_is_followed(windows: SegmentationWindows) -> None:
    """A checkpoint may scale the waveform by a negative weight."""
    with torch.no_grad():
        windows.front.norm.weight.fill_(-0.7)
        windows.front.norm.bias.fill_(0.3)
    samples = speechlike(2 * WINDOW, seed=8)
    starts = [0, 4000, WINDOW]
    difference = shared(windows, samples, starts) - singly(windows, samples, starts)
    assert difference.abs().max() < 5e-5


def test_a_window_must_be_whole_hops() -> None:
    config = SegmentationConfig(window_s=1.0, sinc_stride=7, lstm_hidden=2, lstm_layers=1)
    with pytest.raises(ValueError, match="no multiple"):
        SegmentationWindows(Segmentation(config))
