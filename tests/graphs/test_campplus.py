from __future__ import annotations

import numpy as np
import pytest
import torch
from seeded_networks import State, campplus_state
from voxport.export import reference
from voxport.graphs import CamPlusPlusConfig, CamPlusPlusTrunk
from voxport.graphs.campplus import Segments

SMALL = CamPlusPlusConfig(
    feature_size=24,
    embedding_size=10,
    head_channels=4,
    init_channels=16,
    growth_rate=6,
    bottleneck=12,
    context_channels=5,
    block_layers=(2, 3, 2),
)


@pytest.fixture(scope="module")
def state() -> State:
    return campplus_state(SMALL, seed=1)


@pytest.mark.parametrize("num_frames", [1, 99, 100, 101, 200, 250])
def test_segment_matrices(num_frames: int) -> None:
    """Against a loop over segments, in NumPy."""
    x = np.random.default_rng(num_frames).standard_normal((2, 3, num_frames))

    segments = Segments.of(torch.from_numpy(x))
    pooled = torch.from_numpy(x) @ segments.pool
    expanded = pooled @ segments.expand

    starts = range(0, num_frames, 100)
    assert segments.pool.shape == (num_frames, len(starts))
    for index, start in enumerate(starts):
        mean = x[..., start : start + 100].mean(axis=-1) + x.mean(axis=-1)
        assert np.abs(pooled[..., index].numpy() - mean).max() < 1e-12
        copies = expanded[..., start : start + 100].numpy()
        assert np.abs(copies - mean[..., None]).max() < 1e-12


@pytest.mark.parametrize("num_frames", [2, 3, 50, 199, 200, 201, 202, 998])
def test_trunk_equals_the_textbook_in_float64(state: State, num_frames: int) -> None:
    """Lengths around the segment borders: 200 features make 100 frames inside."""
    trunk = CamPlusPlusTrunk(SMALL).load_original(state).double().eval()
    rng = np.random.default_rng(num_frames)
    features = torch.from_numpy(rng.standard_normal((2, num_frames, SMALL.feature_size)))

    frames = trunk(features)

    expected = reference.campplus_frames(state, features)
    assert frames.shape == (2, SMALL.trunk_channels, (num_frames + 1) // 2)
    assert expected.std() > 0.05  # the weights have not switched the network off
    assert (frames - expected).abs().max() < 1e-9


def test_trunk_at_full_size_equals_the_textbook_in_float64() -> None:
    config = CamPlusPlusConfig()
    state = campplus_state(config, seed=2)
    trunk = CamPlusPlusTrunk(config).load_original(state).double().eval()
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 63, 80)))

    frames = trunk(features)

    assert config.trunk_channels == 512
    assert (frames - reference.campplus_frames(state, features)).abs().max() < 1e-9


def test_folded_head_equals_dense_and_batch_norm(state: State) -> None:
    trunk = CamPlusPlusTrunk(SMALL).load_original(state).eval()
    statistics = torch.randn(
        4, 2 * SMALL.trunk_channels, generator=torch.Generator().manual_seed(3)
    )

    expected = reference.campplus_head(state, statistics.double())

    assert (trunk.project(statistics) - expected).abs().max() < 2e-6


def test_head_keeps_leading_dimensions(state: State) -> None:
    trunk = CamPlusPlusTrunk(SMALL).load_original(state).eval()
    statistics = torch.ones(2, 3, 2 * SMALL.trunk_channels)

    assert trunk.project(statistics).shape == (2, 3, SMALL.embedding_size)


def test_missing_tensors_are_refused(state: State) -> None:
    incomplete = {name: value for name, value in state.items() if "block2.tdnnd1" not in name}

    with pytest.raises(RuntimeError, match=r"Missing key.*block2\.tdnnd1"):
        CamPlusPlusTrunk(SMALL).load_original(incomplete)


def test_layers_and_dilations_must_match() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        CamPlusPlusConfig(block_layers=(1, 2), dilations=(1, 2, 2))
