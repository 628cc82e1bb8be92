from __future__ import annotations

import numpy as np
import pytest
import torch
from voxport.export import reference
from voxport.graphs import EmbeddingInputs, EmbeddingMasks, clean_masks, embedding_masks


def test_overlapping_frames_are_cleaned() -> None:
    masks = torch.tensor(
        [[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]]
    )

    assert clean_masks(masks).tolist() == [
        [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]],
    ]


@pytest.mark.parametrize(
    ("clean_frames", "uses_clean"), [(0, False), (1, False), (2, False), (3, True)]
)
def test_clean_mask_serves_only_above_the_minimum(clean_frames: int, uses_clean: bool) -> None:
    """10 s of 589 frames: ceil(589 * 400 / 160000) = 2 frames are not enough, 3 are."""
    masks = torch.zeros(1, 589, 2)
    masks[0, :100] = 1.0  # both talk
    masks[0, 100 : 100 + clean_frames, 0] = 1.0  # the first one alone

    chosen = embedding_masks(masks, num_samples=160000)

    assert chosen.shape == (1, 2, 589)
    expected = clean_masks(masks) if uses_clean else masks
    assert torch.equal(chosen[0, 0], expected[0, :, 0])
    assert torch.equal(chosen[0, 1], masks[0, :, 1])  # never alone: the full mask


def test_a_speaker_who_never_talks_keeps_an_empty_mask() -> None:
    masks = torch.zeros(1, 589, 3)
    masks[0, 10:50, 0] = 1.0

    assert embedding_masks(masks, num_samples=160000)[0, 1:].sum() == 0


@pytest.mark.parametrize(("frames", "num_samples"), [(589, 160000), (56, 16000), (40, 8000)])
def test_against_the_reference(frames: int, num_samples: int) -> None:
    rng = np.random.default_rng(frames)
    # From sparse to dense, so that both branches are taken.
    activity = rng.random((12, 1, 3)) ** 3
    masks = (rng.random((12, frames, 3)) < activity).astype(np.float32)

    clean = clean_masks(torch.from_numpy(masks)).numpy()
    chosen = embedding_masks(torch.from_numpy(masks), num_samples).numpy()

    assert np.array_equal(clean, reference.clean_masks(masks))
    assert np.array_equal(chosen, reference.embedding_masks(masks, num_samples))
    fallbacks = (chosen != clean.transpose(0, 2, 1)).any(axis=2)
    assert fallbacks.any()
    assert not fallbacks.all()


def test_embedding_inputs_are_ordered_by_window_then_speaker() -> None:
    waveform = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    masks = torch.zeros(2, 4, 3)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[0, 2, 2] = 1.0
    masks[1, 3] = 1.0  # all three at once: nothing clean
    masks[1, 0, 1] = 1.0

    waveforms, clean = EmbeddingInputs()(waveform, masks)

    assert waveforms.tolist() == [[1, 2], [1, 2], [1, 2], [3, 4], [3, 4], [3, 4]]
    assert clean.tolist() == [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_embedding_inputs_at_full_size() -> None:
    waveforms, clean = EmbeddingInputs()(torch.zeros(1, 1, 160000), torch.ones(1, 589, 3))

    assert (waveforms.shape, clean.shape) == ((3, 160000), (3, 589))
    assert waveforms.dtype == clean.dtype == torch.float32


def test_as_a_graph_of_its_own() -> None:
    masks = (torch.rand(2, 589, 3, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    assert torch.equal(EmbeddingMasks(160000)(masks), embedding_masks(masks, 160000))
    # The shorter the window, the more frames must be clean.
    assert not torch.equal(EmbeddingMasks(1600)(masks), embedding_masks(masks, 160000))
