from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from seeded_networks import campplus_state, resnet_state
from signals import full_scale_noise, silence, speechlike
from torch import Tensor
from voxport.export import reference
from voxport.graphs import (
    CAMPPLUS_FBANK,
    WESPEAKER_FBANK,
    CamPlusPlusConfig,
    CamPlusPlusTrunk,
    ResNetConfig,
    ResNetTrunk,
    SpeakerEmbedding,
)

CAMPPLUS = CamPlusPlusConfig(head_channels=8, init_channels=16, block_layers=(2, 3, 2))
RESNET = ResNetConfig(channels=4, block_counts=(1, 1, 1, 1))


def campplus() -> SpeakerEmbedding:
    trunk = CamPlusPlusTrunk(CAMPPLUS).load_original(campplus_state(CAMPPLUS, seed=1))
    return SpeakerEmbedding(CAMPPLUS_FBANK, trunk).eval()


def wespeaker() -> SpeakerEmbedding:
    trunk = ResNetTrunk(RESNET).load_original(resnet_state(RESNET, seed=1))
    return SpeakerEmbedding(WESPEAKER_FBANK, trunk).eval()


def campplus_reference(features: Tensor, masks: Tensor) -> Tensor:
    state = campplus_state(CAMPPLUS, seed=1)
    frames = reference.campplus_frames(state, features)
    return reference.embeddings_per_speaker(
        frames, masks, lambda statistics: reference.campplus_head(state, statistics)
    )


def wespeaker_reference(features: Tensor, masks: Tensor) -> Tensor:
    state = resnet_state(RESNET, seed=1)
    frames = reference.resnet_frames(state, features)
    return reference.embeddings_per_speaker(
        frames, masks, lambda statistics: reference.resnet_head(state, statistics)
    )


def waveforms(num_samples: int) -> Tensor:
    signals = [
        speechlike(num_samples, seed=1),
        full_scale_noise(num_samples, seed=2),
        silence(num_samples),
    ]
    return torch.from_numpy(np.stack(signals))[:, None]


def masks(batch: int) -> Tensor:
    """Random, empty, one frame wide and full."""
    generator = torch.Generator().manual_seed(3)
    chosen = (torch.rand(batch, 4, 589, generator=generator) < 0.5).float()
    chosen[:, 1], chosen[:, 2], chosen[:, 3] = 0.0, 0.0, 1.0
    chosen[:, 2, 300:305] = 1.0
    return chosen


def relative(difference: Tensor, expected: Tensor) -> float:
    return float(difference.abs().max() / expected.abs().max())


BOTH = pytest.mark.parametrize("build", [campplus, wespeaker])


@BOTH
def test_all_masks_at_once_equal_one_at_a_time(build: Callable[[], SpeakerEmbedding]) -> None:
    network, waveform, chosen = build(), waveforms(32000), masks(3)

    together = network(waveform, chosen)

    alone = torch.cat([network(waveform, chosen[:, [s]]) for s in range(4)], dim=1)
    assert together.isfinite().all()
    assert relative(together - alone, alone) < 1e-6


@BOTH
def test_windows_of_a_batch_are_independent(build: Callable[[], SpeakerEmbedding]) -> None:
    network, waveform, chosen = build(), waveforms(24000), masks(3)

    together = network(waveform, chosen)

    alone = torch.cat([network(waveform[[b]], chosen[[b]]) for b in range(3)])
    # Convolutions may add in another order for another batch.
    assert relative(together - alone, alone) < 1e-5


@pytest.mark.parametrize(
    ("build", "expect"), [(campplus, campplus_reference), (wespeaker, wespeaker_reference)]
)
@pytest.mark.parametrize("num_samples", [16000, 16001, 16079, 16161, 32240])
def test_equals_the_textbook_in_float64(
    build: Callable[[], SpeakerEmbedding],
    expect: Callable[[Tensor, Tensor], Tensor],
    num_samples: int,
) -> None:
    network, waveform, chosen = build(), waveforms(num_samples), masks(3)
    features = np.stack(
        [reference.kaldi_fbank(row[0].numpy(), network.fbank.config) for row in waveform]
    )
    centred = torch.from_numpy(features - features.mean(axis=1, keepdims=True))

    embeddings = network(waveform, chosen)

    expected = expect(centred, chosen.double())
    assert embeddings.dtype == torch.float32
    assert embeddings.shape == expected.shape
    assert embeddings.isfinite().all()
    assert relative(embeddings - expected, expected) < 1e-4
