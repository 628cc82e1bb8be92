from __future__ import annotations

import numpy as np
import torch
from seeded_networks import resnet_state, segmentation_state
from signals import full_scale_noise, speechlike
from voxport.export import reference
from voxport.graphs import (
    WESPEAKER_FBANK,
    DiarizationWindow,
    PowersetConfig,
    ResNetConfig,
    ResNetTrunk,
    Segmentation,
    SegmentationConfig,
    SegmentationMasks,
    SpeakerEmbedding,
)

SEGMENTATION = SegmentationConfig(
    powerset=PowersetConfig(3, 2), lstm_hidden=6, lstm_layers=1, linear_sizes=(8,)
)
RESNET = ResNetConfig(channels=4, block_counts=(1, 1, 1, 1), embedding_size=12)


def test_window_is_the_composition_of_its_parts() -> None:
    segmentation = Segmentation(SEGMENTATION).load_original(segmentation_state(SEGMENTATION, 1))
    masks_graph = SegmentationMasks(segmentation).eval()
    trunk = ResNetTrunk(RESNET).load_original(resnet_state(RESNET, seed=2))
    embedding = SpeakerEmbedding(WESPEAKER_FBANK, trunk).eval()
    signals = [speechlike(48000, seed=1), full_scale_noise(48000, seed=2)]
    waveform = torch.from_numpy(np.stack(signals))[:, None]

    masks, clean, embeddings = DiarizationWindow(masks_graph, embedding)(waveform)

    expected_masks = masks_graph(waveform)[1]
    weights = reference.embedding_masks(expected_masks.numpy(), 48000).astype(np.float32)
    assert torch.equal(masks, expected_masks)
    assert np.array_equal(clean.numpy(), reference.clean_masks(expected_masks.numpy()))
    assert torch.equal(embeddings, embedding(waveform, torch.from_numpy(weights)))
    assert masks.shape == clean.shape == (2, SEGMENTATION.num_frames(48000), 3)
    assert embeddings.shape == (2, 3, 12)
    assert 0 < clean.sum() < masks.sum()  # some overlap, and not only overlap
