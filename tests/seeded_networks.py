"""State dicts with the originals' tensor names, of any size, filled by ``seeded``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from seeded import Shapes, seeded_state
from torch import Tensor, nn
from voxport.graphs import (
    CamPlusPlusConfig,
    CamPlusPlusTrunk,
    ResNetConfig,
    ResNetTrunk,
    Segmentation,
    SegmentationConfig,
)

State = dict[str, Tensor]


def tensors(arrays: Mapping[str, npt.NDArray[np.generic]]) -> State:
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def campplus_state(config: CamPlusPlusConfig, seed: int) -> State:
    shapes = _shapes(CamPlusPlusTrunk(config), without="projection.")
    dense, size = "xvector.dense.", config.embedding_size
    shapes[f"{dense}linear.weight"] = (size, 2 * config.trunk_channels, 1)
    for name in ("running_mean", "running_var"):
        shapes[f"{dense}nonlinear.batchnorm.{name}"] = (size,)
    return tensors(seeded_state(shapes, seed))


def resnet_state(config: ResNetConfig, seed: int) -> State:
    shapes = _shapes(ResNetTrunk(config), without="stages.")
    for name, shape in _shapes(ResNetTrunk(config).stages, without="-").items():
        stage, _, rest = name.partition(".")
        shapes[f"layer{int(stage) + 1}.{rest}"] = shape
    return tensors(seeded_state(shapes, seed))


def segmentation_state(config: SegmentationConfig, seed: int) -> State:
    shapes = _shapes(Segmentation(config), without="sincnet.conv1d.0.")
    bands, half_kernel = config.sinc_filters // 2, config.sinc_kernel // 2
    for name in ("low_hz_", "band_hz_"):
        shapes[f"sincnet.conv1d.0.filterbank.{name}"] = (bands, 1)
    shapes["sincnet.conv1d.0.filterbank.window_"] = (half_kernel,)
    shapes["sincnet.conv1d.0.filterbank.n_"] = (1, half_kernel)
    return tensors(seeded_state(shapes, seed))


def _shapes(module: nn.Module, *, without: str) -> dict[str, tuple[int, ...]]:
    state = module.state_dict()
    shapes: Shapes = {name: tuple(value.shape) for name, value in state.items()}
    return {name: shape for name, shape in shapes.items() if not name.startswith(without)}
