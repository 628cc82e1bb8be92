from __future__ import annotations

import pytest
import torch
from voxport.export.reference import powerset_masks
from voxport.graphs import Powerset, PowersetConfig


def test_classes_of_three_speakers_two_at_once() -> None:
    config = PowersetConfig(num_speakers=3, max_simultaneous=2)

    assert config.classes == ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))
    assert config.mapping == (
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (1, 1, 0),
        (1, 0, 1),
        (0, 1, 1),
    )


@pytest.mark.parametrize(
    ("speakers", "at_once", "count"), [(1, 1, 2), (2, 1, 3), (3, 3, 8), (4, 2, 11), (5, 3, 26)]
)
def test_number_of_classes(speakers: int, at_once: int, count: int) -> None:
    assert PowersetConfig(speakers, at_once).num_classes == count


@pytest.mark.parametrize(("speakers", "at_once"), [(2, 3), (2, 0), (0, 1)])
def test_impossible_configurations_are_refused(speakers: int, at_once: int) -> None:
    with pytest.raises(ValueError, match="max_simultaneous must lie in"):
        PowersetConfig(speakers, at_once)


def test_hard_decoding_by_hand() -> None:
    scores = torch.tensor(
        [
            [9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],  # nobody
            [0.0, 0.0, 5.0, 0.0, 4.9, 0.0, 0.0],  # the second speaker
            [-3.0, -4.0, -5.0, -6.0, -7.0, -1.0, -2.0],  # the first and the third
        ]
    )

    masks = Powerset(PowersetConfig())(scores[None])

    assert masks.dtype == torch.float32
    assert masks.tolist() == [[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]]


def test_ties_go_to_the_lowest_class() -> None:
    scores = torch.zeros(1, 4, 7)
    scores[0, 1, [3, 4]] = 1.0
    scores[0, 2, [5, 6]] = 1.0
    scores[0, 3, [1, 6]] = 1.0

    masks = Powerset(PowersetConfig())(scores)

    assert masks[0].tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(("speakers", "at_once"), [(1, 1), (3, 2), (4, 3)])
def test_against_the_reference_with_many_ties(speakers: int, at_once: int) -> None:
    config = PowersetConfig(speakers, at_once)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(-3, 0, (3, 40, config.num_classes), generator=generator).float()

    expected = powerset_masks(scores.numpy(), config.classes, speakers)

    assert (Powerset(config)(scores).numpy() == expected).all()
