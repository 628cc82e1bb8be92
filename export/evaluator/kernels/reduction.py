"""Ops that reduce axes; without ``axes`` they reduce all."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .registry import kernel


def _sum_square(x: Tensor, axes: list[int], keep_dims: bool) -> Tensor:
    return torch.sum(x * x, axes, keep_dims)


def _l2_norm(x: Tensor, axes: list[int], keep_dims: bool) -> Tensor:
    return torch.sqrt(_sum_square(x, axes, keep_dims))


_REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "reduce_max": torch.amax,
    "reduce_mean": torch.mean,
    "reduce_min": torch.amin,
    "reduce_sum": torch.sum,
    "reduce_sum_square": _sum_square,
    "reduce_l2_norm": _l2_norm,
    "reduce_log_sum_exp": torch.logsumexp,
}


def _register(name: str, function: Callable[[Tensor, list[int], bool], Tensor]) -> None:
    @kernel(name)
    def reduction(x: Tensor, axes: list[int] | None = None, keep_dims: bool = False) -> Tensor:
        return function(x, list(range(x.ndim)) if axes is None else axes, keep_dims)


for _name, _reduction in _REDUCTIONS.items():
    _register(_name, _reduction)


# The lowest index wins ties, as in numpy; the specification leaves them open.
@kernel("reduce_argmax", dtype_from="output_dtype")
def reduce_argmax(
    x: Tensor,
    axis: int = -1,
    keep_dims: bool = False,
    output_dtype: str = "int32",  # noqa: ARG001 -- read by the registry
) -> Tensor:
    return torch.argmax(x, axis, keep_dims)


@kernel("reduce_argmin", dtype_from="output_dtype")
def reduce_argmin(
    x: Tensor,
    axis: int = -1,
    keep_dims: bool = False,
    output_dtype: str = "int32",  # noqa: ARG001 -- read by the registry
) -> Tensor:
    return torch.argmin(x, axis, keep_dims)
