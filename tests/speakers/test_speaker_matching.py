"""One-to-one matching below a threshold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime.speakers.matching import matched


def test_the_nearest_below_the_threshold() -> None:
    distances = np.array([[0.1, 0.9], [0.8, 0.3], [0.7, 0.6]], np.float32)
    assert matched(distances, 0.5) == [0, 1, None]


def test_nobody_is_found_twice() -> None:
    # Both are nearest to the first; the second has another, the first has not.
    assert matched(np.array([[0.2, 0.9], [0.1, 0.3]]), 0.5) == [0, 1]
    assert matched(np.array([[0.2], [0.1]]), 0.5) == [None, 0]


@pytest.mark.parametrize(("distance", "name"), [(0.4999, 0), (0.5, None), (2.0, None)])
def test_the_threshold_itself_is_unknown(distance: float, name: int | None) -> None:
    assert matched(np.array([[distance]]), 0.5) == [name]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nobody_to_match(shape: tuple[int, int]) -> None:
    assert matched(np.zeros(shape, np.float32), 0.5) == [None] * shape[0]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 4), st.floats(0.1, 1.9))
def test_no_other_matching_is_better(seed: int, size: int, known: int, threshold: float) -> None:
    distances = np.random.default_rng(seed).uniform(0, 2, (size, known))

    def gain(names: list[int | None]) -> float:
        pairs = [(s, n) for s, n in enumerate(names) if n is not None]
        return sum(threshold - distances[pair] for pair in pairs)

    found = matched(distances, threshold)
    named = [name for name in found if name is not None]
    assert len(named) == len(set(named))
    assert all(distances[s, n] < threshold for s, n in enumerate(found) if n is not None)
    choices = [None, *range(known)]
    for names in itertools.product(choices, repeat=size):
        taken = [name for name in names if name is not None]
        if len(taken) == len(set(taken)):
            assert gain(found) >= gain(list(names)) - 1e-9
