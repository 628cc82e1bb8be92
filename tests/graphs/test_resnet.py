from __future__ import annotations

import numpy as np
import pytest
import torch
from seeded_networks import State, resnet_state
from voxport.export import reference
from voxport.graphs import ResNetConfig, ResNetTrunk

SMALL = ResNetConfig(feature_size=24, embedding_size=10, channels=4, block_counts=(2, 1, 2, 1))


@pytest.fixture(scope="module")
def state() -> State:
    return resnet_state(SMALL, seed=1)


def assert_equals_textbook(config: ResNetConfig, state: State, num_frames: int) -> None:
    trunk = ResNetTrunk(config).load_original(state).double().eval()
    rng = np.random.default_rng(num_frames)
    features = torch.from_numpy(rng.standard_normal((2, num_frames, config.feature_size)))

    frames = trunk(features)

    expected = reference.resnet_frames(state, features)
    assert frames.shape == (2, config.trunk_channels, -(-num_frames // 8))
    assert expected.std() > 0.1
    assert (frames - expected).abs().max() < 1e-9


@pytest.mark.parametrize("num_frames", [1, 7, 8, 9, 42, 98, 998])
def test_trunk_equals_the_textbook_in_float64(state: State, num_frames: int) -> None:
    assert_equals_textbook(SMALL, state, num_frames)


def test_trunk_at_full_size_equals_the_textbook_in_float64() -> None:
    config = ResNetConfig()

    assert config.trunk_channels == 2560
    assert_equals_textbook(config, resnet_state(config, seed=2), num_frames=98)


@pytest.mark.parametrize(("mel", "expected"), [(80, 10), (81, 11), (64, 8), (23, 3)])
def test_trunk_channels_for_other_feature_sizes(mel: int, expected: int) -> None:
    config = ResNetConfig(feature_size=mel, channels=2, block_counts=(1, 1, 1, 1))

    assert config.trunk_channels == 16 * expected
    assert ResNetTrunk(config)(torch.zeros(1, 16, mel)).shape == (1, 16 * expected, 2)


def test_head_equals_the_textbook(state: State) -> None:
    trunk = ResNetTrunk(SMALL).load_original(state).double().eval()
    rng = np.random.default_rng(3)
    statistics = torch.from_numpy(rng.standard_normal((4, 2 * SMALL.trunk_channels)))

    expected = reference.resnet_head(state, statistics)

    assert (trunk.project(statistics) - expected).abs().max() < 1e-12
    assert trunk.project(statistics.reshape(2, 2, -1)).shape == (2, 2, SMALL.embedding_size)


def test_missing_tensors_are_refused(state: State) -> None:
    incomplete = {name: value for name, value in state.items() if "layer3.1" not in name}

    with pytest.raises(RuntimeError, match=r"Missing key.*stages\.2\.1"):
        ResNetTrunk(SMALL).load_original(incomplete)
