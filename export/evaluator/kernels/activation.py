"""Activation functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .registry import kernel


@kernel("relu")
def relu(x: Tensor) -> Tensor:
    return torch.relu(x)


@kernel("sigmoid")
def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


@kernel("tanh")
def tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)


@kernel("leaky_relu")
def leaky_relu(x: Tensor, alpha: float) -> Tensor:
    return functional.leaky_relu(x, alpha)


@kernel("softmax")
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)
