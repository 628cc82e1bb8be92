"""The tensors of each network in its original layout, derived from its configuration.

The module that will receive the weights is built on the ``meta`` device (no memory, no
arithmetic), and its names are turned back into those of the original. So this table cannot
disagree with ``load_original``.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import nn

from ...graphs import (
    CamPlusPlusConfig,
    CamPlusPlusTrunk,
    ResNetConfig,
    ResNetTrunk,
    Segmentation,
    SegmentationConfig,
)

NetworkConfig: TypeAlias = SegmentationConfig | CamPlusPlusConfig | ResNetConfig
Shapes: TypeAlias = dict[str, tuple[int, ...]]

# Batch normalisation counts its training steps here; inference never reads it, and writers of
# plain weights often leave it out.
STEP_COUNTER = "num_batches_tracked"


def expected_tensors(config: NetworkConfig) -> Shapes:
    """Name -> shape of every tensor of the original network with this configuration."""
    if isinstance(config, SegmentationConfig):
        return _segmentation(config)
    if isinstance(config, CamPlusPlusConfig):
        return _campplus(config)
    return _resnet(config)


def _shapes(module: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def _segmentation(config: SegmentationConfig) -> Shapes:
    with torch.device("meta"):
        shapes = _shapes(Segmentation(config))
    del shapes["sincnet.conv1d.0.weight"]
    bands, half = config.sinc_filters // 2, config.sinc_kernel // 2
    prefix = "sincnet.conv1d.0.filterbank."
    return shapes | {
        f"{prefix}low_hz_": (bands, 1),
        f"{prefix}band_hz_": (bands, 1),
        f"{prefix}window_": (half,),
        f"{prefix}n_": (1, half),
    }


def _campplus(config: CamPlusPlusConfig) -> Shapes:
    with torch.device("meta"):
        shapes = _shapes(CamPlusPlusTrunk(config))
    outputs, inputs = shapes.pop("projection.weight")
    del shapes["projection.bias"]
    norm = "xvector.dense.nonlinear.batchnorm."
    return shapes | {
        "xvector.dense.linear.weight": (outputs, inputs, 1),
        f"{norm}running_mean": (outputs,),
        f"{norm}running_var": (outputs,),
        f"{norm}{STEP_COUNTER}": (),
    }


def _resnet(config: ResNetConfig) -> Shapes:
    with torch.device("meta"):
        shapes = _shapes(ResNetTrunk(config))
    return {resnet_name(name): shape for name, shape in shapes.items()}


def resnet_name(name: str) -> str:
    if not name.startswith("stages."):
        return name
    number, rest = name.removeprefix("stages.").split(".", 1)
    return f"layer{int(number) + 1}.{rest}"
