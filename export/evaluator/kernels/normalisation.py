"""Normalisations: (x - mean) / sqrt(variance + epsilon) * gamma + beta."""

from __future__ import annotations

import torch
from torch import Tensor

from .registry import kernel


def _scaled(x: Tensor, gamma: Tensor | None, beta: Tensor | None, shape: list[int]) -> Tensor:
    if gamma is not None:
        x = x * gamma.reshape(shape)
    return x if beta is None else x + beta.reshape(shape)


@kernel("batch_norm", agree=("mean", "variance", "gamma", "beta"))
def batch_norm(  # noqa: PLR0913, PLR0917 -- the inputs of the op
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """(N, C, *D), by channel with stored statistics."""
    shape = [-1] + [1] * (x.ndim - 2)
    scale = torch.rsqrt(variance + epsilon)
    normal = (x - mean.reshape(shape)) * scale.reshape(shape)
    return _scaled(normal, gamma, beta, shape)


def _normalised(x: Tensor, axes: list[int], epsilon: float) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + epsilon)


@kernel("instance_norm", agree=("gamma", "beta"))
def instance_norm(
    x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    """(N, C, *D), each channel of each item over its spatial axes."""
    normal = _normalised(x, list(range(2, x.ndim)), epsilon)
    return _scaled(normal, gamma, beta, [-1] + [1] * (x.ndim - 2))


@kernel("layer_norm", agree=("gamma", "beta"))
def layer_norm(
    x: Tensor,
    axes: list[int] | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Over ``axes``, whose shape ``gamma`` and ``beta`` have."""
    axes = sorted(axis % x.ndim for axis in (range(x.ndim) if axes is None else axes))
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    return _scaled(_normalised(x, axes, epsilon), gamma, beta, shape)
