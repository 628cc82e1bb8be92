"""3D-Speaker's CAM++ and WeSpeaker's ResNet, as published, on their state dicts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

State = Mapping[str, Tensor]


def _batch_norm(x: Tensor, state: State, name: str) -> Tensor:
    return functional.batch_norm(
        x,
        state[f"{name}.running_mean"],
        state[f"{name}.running_var"],
        state.get(f"{name}.weight"),
        state.get(f"{name}.bias"),
        eps=1e-5,
    )


def _conv1d(x: Tensor, state: State, name: str) -> Tensor:
    return functional.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"])


def _residual(x: Tensor, state: State, name: str, stride: tuple[int, int]) -> Tensor:
    out = functional.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
    out = functional.relu(_batch_norm(out, state, f"{name}.bn1"))
    out = functional.conv2d(out, state[f"{name}.conv2.weight"], padding=1)
    out = _batch_norm(out, state, f"{name}.bn2")
    if f"{name}.shortcut.0.weight" in state:
        x = functional.conv2d(x, state[f"{name}.shortcut.0.weight"], stride=stride)
        x = _batch_norm(x, state, f"{name}.shortcut.1")
    return functional.relu(out + x)


def _numbered(state: State, prefix: str, start: int) -> list[str]:
    """Module names ``prefix + number`` that exist, counting up from ``start``."""
    names: list[str] = []
    while any(key.startswith(f"{prefix}{start + len(names)}.") for key in state):
        names.append(f"{prefix}{start + len(names)}")
    return names


def campplus_frames(state: State, features: Tensor) -> Tensor:
    """CAM++ up to its pooling: centred features (B, T, mel) -> (B, C, T / 2)."""
    state = {name: value.to(features.dtype) for name, value in state.items()}
    x = functional.conv2d(features.transpose(1, 2)[:, None], state["head.conv1.weight"], padding=1)
    x = functional.relu(_batch_norm(x, state, "head.bn1"))
    for layer in _numbered(state, "head.layer", 1):
        for block in _numbered(state, f"{layer}.", 0):
            stride = (2, 1) if block.endswith(".0") else (1, 1)
            x = _residual(x, state, block, stride)
    x = functional.conv2d(x, state["head.conv2.weight"], stride=(2, 1), padding=1)
    x = functional.relu(_batch_norm(x, state, "head.bn2"))
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    x = functional.conv1d(x, state["xvector.tdnn.linear.weight"], stride=2, padding=2)
    x = functional.relu(_batch_norm(x, state, "xvector.tdnn.nonlinear.batchnorm"))
    for block, dilation in zip(_numbered(state, "xvector.block", 1), (1, 2, 2), strict=True):
        for layer in _numbered(state, f"{block}.tdnnd", 1):
            x = torch.cat([x, _dense_layer(x, state, layer, dilation)], dim=1)
        transit = block.replace("block", "transit")
        x = functional.relu(_batch_norm(x, state, f"{transit}.nonlinear.batchnorm"))
        x = functional.conv1d(x, state[f"{transit}.linear.weight"])
    return functional.relu(_batch_norm(x, state, "xvector.out_nonlinear.batchnorm"))


def _dense_layer(x: Tensor, state: State, name: str, dilation: int) -> Tensor:
    x = functional.relu(_batch_norm(x, state, f"{name}.nonlinear1.batchnorm"))
    x = functional.conv1d(x, state[f"{name}.linear1.weight"])
    x = functional.relu(_batch_norm(x, state, f"{name}.nonlinear2.batchnorm"))
    cam = f"{name}.cam_layer"
    local = functional.conv1d(
        x, state[f"{cam}.linear_local.weight"], padding=dilation, dilation=dilation
    )
    segment = functional.avg_pool1d(x, 100, stride=100, ceil_mode=True)
    segment = segment.repeat_interleave(100, dim=-1)[..., : x.shape[-1]]
    context = x.mean(dim=-1, keepdim=True) + segment
    context = functional.relu(_conv1d(context, state, f"{cam}.linear1"))
    return local * torch.sigmoid(_conv1d(context, state, f"{cam}.linear2"))


def campplus_head(state: State, statistics: Tensor) -> Tensor:
    """(B, 2 * C) -> (B, D): the dense layer and its batch norm."""
    state = {name: value.to(statistics.dtype) for name, value in state.items()}
    x = functional.conv1d(statistics.unsqueeze(-1), state["xvector.dense.linear.weight"])
    return _batch_norm(x, state, "xvector.dense.nonlinear.batchnorm").squeeze(-1)


def resnet_frames(state: State, features: Tensor) -> Tensor:
    """WeSpeaker's ResNet up to its pooling: centred features (B, T, mel) -> (B, C, T / 8)."""
    state = {name: value.to(features.dtype) for name, value in state.items()}
    x = functional.conv2d(features.transpose(1, 2)[:, None], state["conv1.weight"], padding=1)
    x = functional.relu(_batch_norm(x, state, "bn1"))
    for layer in _numbered(state, "layer", 1):
        for block in _numbered(state, f"{layer}.", 0):
            halves = block.endswith(".0") and layer != "layer1"
            x = _residual(x, state, block, (2, 2) if halves else (1, 1))
    return x.reshape(x.shape[0], -1, x.shape[-1])


def resnet_head(state: State, statistics: Tensor) -> Tensor:
    """(B, 2 * C) -> (B, D): the first segment-level layer."""
    weight, bias = (state[f"seg_1.{name}"].to(statistics.dtype) for name in ("weight", "bias"))
    return functional.linear(statistics, weight, bias)
