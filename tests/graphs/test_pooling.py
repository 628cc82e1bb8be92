from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional
from voxport.export.reference import embeddings_per_speaker
from voxport.graphs import masked_statistics, nearest_resample


def random_frames(batch: int, channels: int, frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(batch, channels, frames, generator=generator)


def test_mean_and_deviation_by_hand() -> None:
    frames = torch.tensor([[[1.0, 2.0, 3.0, 10.0], [0.0, 4.0, 8.0, -5.0]]])
    masks = torch.tensor([[[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]]])

    statistics = masked_statistics(frames, masks)

    # First speaker: 1, 2, 3 and 0, 4, 8. Second: 3, 10 and 8, -5.
    expected = torch.tensor(
        [[[2.0, 4.0, 1.0, 4.0], [6.5, 1.5, 7 / math.sqrt(2), 13 / math.sqrt(2)]]]
    )
    assert torch.allclose(statistics, expected, atol=1e-6)


def test_soft_weights_by_hand() -> None:
    frames = torch.tensor([[[2.0, 6.0]]])
    weights = torch.tensor([[[0.75, 0.25]]])

    mean, deviation = masked_statistics(frames, weights)[0, 0].tolist()

    # Mean 3; squares 0.75 * 1 + 0.25 * 9 = 3; freedom 1 - (0.5625 + 0.0625) = 0.375.
    assert mean == pytest.approx(3.0, abs=1e-6)
    assert deviation == pytest.approx(math.sqrt(8.0), abs=1e-6)


@pytest.mark.parametrize("num_frames", [2, 125, 499])
def test_full_mask_is_the_plain_mean_and_unbiased_deviation(num_frames: int) -> None:
    frames = random_frames(2, 5, num_frames)

    statistics = masked_statistics(frames, torch.ones(2, 1, 589))[:, 0]

    expected = torch.cat([frames.mean(-1), frames.std(-1, unbiased=True)], dim=-1)
    assert torch.allclose(statistics, expected, atol=2e-6)


def test_all_zero_mask_gives_zeros() -> None:
    statistics = masked_statistics(random_frames(1, 4, 125), torch.zeros(1, 2, 589))

    assert (statistics == 0).all()


def test_one_frame_mask_gives_that_frame_and_no_deviation() -> None:
    frames = random_frames(1, 6, 125)
    masks = torch.zeros(1, 1, 125)
    masks[0, 0, 40] = 1.0

    mean, deviation = masked_statistics(frames, masks)[0, 0].chunk(2)

    assert torch.allclose(mean, frames[0, :, 40], atol=1e-6)
    assert (deviation.abs() < 1e-3).all()


def test_one_soft_frame_is_finite() -> None:
    """For some weights rounding leaves an effective sample size below zero."""
    masks = torch.zeros(1, 1000, 20)
    masks[0, :, 3] = torch.linspace(0.001, 1.0, 1000)

    assert masked_statistics(100 * random_frames(1, 16, 20), masks).isfinite().all()


def test_speakers_and_windows_do_not_mix() -> None:
    frames = random_frames(3, 7, 125)
    masks = (torch.rand(3, 4, 589, generator=torch.Generator().manual_seed(1)) < 0.5).float()

    together = masked_statistics(frames, masks)

    for window in range(3):
        for speaker in range(4):
            alone = masked_statistics(frames[window, None], masks[window, speaker, None, None])
            assert torch.allclose(together[window, speaker], alone[0, 0], atol=1e-6)


def test_against_the_reference_in_float64() -> None:
    frames = random_frames(2, 9, 125).double()
    weights = torch.rand(2, 3, 589, generator=torch.Generator().manual_seed(2)).double()
    weights[0, 0] = (weights[0, 0] > 0.6).double()

    expected = embeddings_per_speaker(frames, weights, head=lambda statistics: statistics)

    assert (masked_statistics(frames, weights) - expected).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("source", "target"),
    [(589, 125), (589, 499), (589, 75), (589, 1), (125, 589), (589, 589), (293, 62), (7, 3)],
)
def test_nearest_resample_equals_interpolate(source: int, target: int) -> None:
    positions = torch.arange(source, dtype=torch.float32).expand(2, 3, source)

    resampled = nearest_resample(positions, target)

    assert torch.equal(resampled, functional.interpolate(positions, size=target, mode="nearest"))
    assert resampled[0, 0].tolist() == [i * source // target for i in range(target)]


def test_nearest_resample_is_exact_for_every_length() -> None:
    """PyTorch's float32 ratio may miss by one frame at some lengths; integers never do."""
    positions = torch.arange(589, dtype=torch.float32)[None, None]

    for target in range(1, 700):
        expected = [i * 589 // target for i in range(target)]
        assert nearest_resample(positions, target)[0, 0].tolist() == expected
