from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.spatial.distance import cdist
from voxport.export import reference
from voxport.graphs import CosineDistance


def distance(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    result = CosineDistance()(torch.from_numpy(a), torch.from_numpy(b))
    assert result.dtype == torch.float32
    return np.asarray(result)


def random_vectors(count: int, size: int, seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


def test_by_hand() -> None:
    a = np.array([[1.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    b = np.array([[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]], dtype=np.float32)

    assert np.allclose(distance(a, b), [[0.0, 1.0, 2.0], [0.4, 0.2, 1.6]], atol=1e-6)


@pytest.mark.parametrize("size", [2, 192, 256])
def test_against_scipy(size: int) -> None:
    a, b = random_vectors(5, size, seed=1), random_vectors(7, size, seed=2)

    assert np.abs(distance(a, b) - cdist(a, b, "cosine")).max() < 1e-6


@pytest.mark.parametrize("scale_a", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("scale_b", [1e-30, 1.0, 1e30])
def test_length_does_not_matter(scale_a: float, scale_b: float) -> None:
    """Squares of such vectors underflow or overflow in float32."""
    a, b = random_vectors(3, 192, seed=3), random_vectors(4, 192, seed=4)

    scaled = distance(np.float32(scale_a) * a, np.float32(scale_b) * b)

    assert np.abs(scaled - cdist(a, b, "cosine")).max() < 1e-6


def test_zero_vectors_are_at_distance_one_from_everything() -> None:
    zero, other = np.zeros((1, 192), dtype=np.float32), random_vectors(2, 192, seed=5)

    assert (distance(zero, other) == 1).all()
    assert (distance(other, zero) == 1).all()
    assert (distance(zero, zero) == 1).all()


@pytest.mark.parametrize(("rows", "columns"), [(3, 0), (0, 3), (0, 0)])
def test_empty_sets_give_an_empty_matrix(rows: int, columns: int) -> None:
    a, b = random_vectors(rows, 192, seed=6), random_vectors(columns, 192, seed=7)

    assert distance(a, b).shape == (rows, columns)


def test_reference_against_scipy() -> None:
    a, b = random_vectors(5, 192, seed=8), random_vectors(6, 192, seed=9)

    assert np.abs(reference.cosine_distance(a, b) - cdist(a, b, "cosine")).max() < 1e-12
