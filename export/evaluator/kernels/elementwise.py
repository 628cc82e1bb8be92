"""Ops that treat every element on its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .registry import kernel

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "floor": torch.floor,
    "identity": torch.clone,
    "logical_not": torch.logical_not,
    "round": torch.round,
    "sign": torch.sign,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "square": torch.square,
}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.div,
    "floor_div": torch.floor_divide,
    "mod": torch.remainder,
    "pow": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
}
_COMPARISONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
}


def _register_unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    @kernel(name)
    def unary(x: Tensor) -> Tensor:
        return function(x)


def _register_binary(
    name: str, function: Callable[[Tensor, Tensor], Tensor], dtype: str | None
) -> None:
    @kernel(name, dtype=dtype, agree=("x", "y"))
    def binary(x: Tensor, y: Tensor) -> Tensor:
        return function(x, y)


for _name, _unary in _UNARY.items():
    _register_unary(_name, _unary)
for _name, _binary in _BINARY.items():
    _register_binary(_name, _binary, None)
for _name, _comparison in _COMPARISONS.items():
    _register_binary(_name, _comparison, "bool")


@kernel("log")
def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    return torch.log(x + epsilon)


@kernel("rsqrt")
def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    return torch.rsqrt(x + epsilon)


@kernel("inverse")
def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    return torch.reciprocal(x + epsilon)


@kernel("clip")
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Limits to [alpha, beta]."""
    return torch.clamp(x, alpha, beta)


@kernel("cast", dtype_from="dtype")
def cast(x: Tensor, dtype: str) -> Tensor:
    """To another kind of element; widths are the executor's. Floats are truncated to integers."""
    if dtype == "bool":
        return x != 0
    if dtype.startswith("fp"):
        # float64 holds every int32; the executor makes it the float of the run.
        return x if x.is_floating_point() else x.to(torch.float64)
    return x.to(torch.int64)
