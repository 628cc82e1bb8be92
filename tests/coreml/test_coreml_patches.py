"""The repairs of coremltools: needed, effective, and gone afterwards."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from voxport.export.coreml import patches
from voxport.export.coreml.tools import import_coremltools, quiet

Patch = Callable[[], AbstractContextManager[None]]


class FlattensSizes(nn.Module):
    """``int(size)``: the tracer writes it where a traced size becomes an argument."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1).expand(-1, x.shape[1], -1)


class InvertsASize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (1.0 / x.shape[1])


class DividesSizes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        index = torch.div(torch.arange(3) * x.shape[1], 3, rounding_mode="trunc")
        return torch.index_select(x, 1, index)


NEEDED_FOR = [
    (patches.scalar_cast, FlattensSizes),
    (patches.integer_reciprocal, InvertsASize),
    (patches.integer_division, DividesSizes),
]


def _program(module: nn.Module) -> Any:
    coremltools = import_coremltools()
    with quiet():
        traced = torch.jit.trace(module, (torch.zeros(2, 7),), check_trace=False)
        try:
            model = coremltools.convert(
                traced,
                convert_to="mlprogram",
                inputs=[coremltools.TensorType("x", (2, 7))],
                minimum_deployment_target=coremltools.target.iOS17,
                compute_precision=coremltools.precision.FLOAT32,
                skip_model_load=True,
            )
        except (TypeError, ValueError) as error:
            traceback.clear_frames(error.__traceback__)
            raise
    return model._mil_program.functions["main"]


def _without(patch: Patch) -> ExitStack:
    """All patches but one."""
    stack = ExitStack()
    for each in patches.PATCHES:
        if each is not patch:
            stack.enter_context(each())
    return stack


def test_every_patch_is_tested() -> None:
    assert tuple(patch for patch, _ in NEEDED_FOR) == patches.PATCHES


@pytest.mark.parametrize(("patch", "module"), NEEDED_FOR)
def test_a_patch_is_needed(patch: Patch, module: type[nn.Module]) -> None:
    """If this fails, coremltools has been repaired: remove the patch."""
    with _without(patch), pytest.raises((TypeError, ValueError)):
        _program(module())


@pytest.mark.parametrize(("patch", "module"), NEEDED_FOR)
def test_a_patch_suffices(patch: Patch, module: type[nn.Module]) -> None:
    with patch():
        _program(module())


def test_division_of_integers_is_exact() -> None:
    with patches.patched():
        (gather,) = _program(DividesSizes()).find_ops(op_type="gather")
    assert gather.inputs["indices"].val.tolist() == [0, 2, 4]


def test_an_inverse_has_no_epsilon() -> None:
    with patches.patched():
        (mul,) = _program(InvertsASize()).find_ops(op_type="mul")
    assert np.float32(1) / np.float32(7) in (mul.inputs["x"].val, mul.inputs["y"].val)


def test_patches_are_gone_afterwards() -> None:
    frontend = import_coremltools("converters.mil.frontend.torch.ops")
    handlers = patches._handlers()
    before = (frontend._cast, dict(handlers))
    with patches.patched():
        assert frontend._cast is not before[0]
        assert handlers["div"] is not before[1]["div"]
    assert (frontend._cast, handlers) == before


def test_patches_are_gone_after_an_error() -> None:
    handlers = dict(patches._handlers())
    with pytest.raises(RuntimeError), patches.patched():
        raise RuntimeError
    assert patches._handlers() == handlers
