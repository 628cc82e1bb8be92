"""One or more cases per op: a program of that op, inputs, and what numpy or SciPy say.

Torch is never the oracle, since kernels use it. Cases of other themes are in ``layer_cases`` and
``compressed_cases``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special

Array = npt.NDArray[Any]
# Takes coremltools' builder and gives a function of the inputs, named as they are.
Build = Callable[[Any], Callable[..., Any]]

_RNG = np.random.default_rng(7)
X = _RNG.standard_normal((2, 3, 4)).astype(np.float32)
Y = _RNG.standard_normal((3, 1)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
HALVES = np.array([[-2.5, -1.5, -0.5, 0.0], [0.5, 1.5, 2.5, 3.0]], np.float32)
FLAGS = np.array([[0, 1, 0, 2]], np.float32)
OTHER_FLAGS = np.array([[0, 0, 1, 3]], np.float32)
INDICES = np.array([[2, 0], [1, 1]], np.int32)


@dataclass(frozen=True)
class Case:
    """``expected``: the outputs in order."""

    op: str
    build: Build
    inputs: dict[str, Array]
    expected: tuple[Any, ...]
    target: str = "iOS17"

    def __str__(self) -> str:
        return self.op


def unary(op: str, x: Array, expected: Any, **options: Any) -> Case:
    return Case(op, lambda mb: lambda x: getattr(mb, op)(x=x, **options), {"x": x}, (expected,))


def _binary(op: str, x: Array, y: Array, expected: Any) -> Case:
    return Case(
        op, lambda mb: lambda x, y: getattr(mb, op)(x=x, y=y), {"x": x, "y": y}, (expected,)
    )


def _comparison(op: str, expected: Any) -> Case:
    """Booleans are no outputs of a program: they leave it as numbers."""

    def build(mb: Any) -> Callable[..., Any]:
        return lambda x, y: mb.cast(x=getattr(mb, op)(x=x, y=y), dtype="fp32")

    return Case(op, build, {"x": X, "y": X[:1]}, (expected,))


def _logical(op: str, expected: list[float]) -> Case:
    def build(mb: Any) -> Callable[..., Any]:
        def program(x: Any, y: Any) -> Any:
            x, y = mb.cast(x=x, dtype="bool"), mb.cast(x=y, dtype="bool")
            return mb.cast(x=getattr(mb, op)(x=x, y=y), dtype="fp32")

        return program

    return Case(op, build, {"x": FLAGS, "y": OTHER_FLAGS}, ([expected],))


def _fp32(value: float) -> float:
    """A constant as a program holds it."""
    return float(np.float32(value))


X64, Y64, POSITIVE64 = (each.astype(np.float64) for each in (X, Y, POSITIVE))

ELEMENTWISE = [
    unary("abs", X, np.abs(X64)),
    unary("ceil", HALVES, [[-2, -1, 0, 0], [1, 2, 3, 3]]),
    unary("floor", HALVES, [[-3, -2, -1, 0], [0, 1, 2, 3]]),
    unary("round", HALVES, np.round(HALVES)),
    unary("sign", HALVES, [[-1, -1, -1, 0], [1, 1, 1, 1]]),
    unary("cos", X, np.cos(X64)),
    unary("sin", X, np.sin(X64)),
    unary("erf", X, scipy.special.erf(X64)),
    unary("exp", X, np.exp(X64)),
    unary("identity", X, X64),
    unary("sqrt", POSITIVE, np.sqrt(POSITIVE64)),
    unary("square", X, X64**2),
    unary("log", POSITIVE, np.log(POSITIVE64 + _fp32(0.01)), epsilon=0.01),
    unary("log", np.zeros((1, 2), np.float32), [[np.log(0.5)] * 2], epsilon=0.5),
    unary("rsqrt", POSITIVE, 1 / np.sqrt(POSITIVE64 + _fp32(0.01)), epsilon=0.01),
    unary("inverse", POSITIVE, 1 / (POSITIVE64 + _fp32(0.01)), epsilon=0.01),
    unary("clip", X, np.clip(X64, -0.5, 0.25), alpha=-0.5, beta=0.25),
    unary("cast", HALVES, np.array([[-2, -1, 0, 0], [0, 1, 2, 3]], np.int32), dtype="int32"),
    unary("cast", INDICES, INDICES.astype(np.float64), dtype="fp32"),
    unary("relu", HALVES, [[0, 0, 0, 0], [0.5, 1.5, 2.5, 3]]),
    unary("sigmoid", X, scipy.special.expit(X64)),
    unary("tanh", X, np.tanh(X64)),
    unary("leaky_relu", HALVES, [[-0.625, -0.375, -0.125, 0], [0.5, 1.5, 2.5, 3]], alpha=0.25),
    unary("softmax", X, scipy.special.softmax(X64, axis=1), axis=1),
    _binary("add", X, Y, X64 + Y64),
    _binary("sub", X, Y, X64 - Y64),
    _binary("mul", X, Y, X64 * Y64),
    _binary("real_div", X, Y, X64 / Y64),
    _binary("floor_div", X, Y, np.floor(X64 / Y64)),
    _binary("mod", X, Y, np.mod(X64, Y64)),
    _binary("mod", np.array([-7, 7], np.int32), np.array([3, -3], np.int32), [2, -2]),
    _binary("pow", POSITIVE, Y, POSITIVE64**Y64),
    _binary("maximum", X, Y, np.maximum(X64, Y64)),
    _binary("minimum", X, Y, np.minimum(X64, Y64)),
    _comparison("equal", X[:1] == X),
    _comparison("not_equal", X[:1] != X),
    _comparison("greater", X[:1] < X),
    _comparison("greater_equal", X[:1] <= X),
    _comparison("less", X[:1] > X),
    _comparison("less_equal", X[:1] >= X),
    _logical("logical_and", [0, 0, 0, 1]),
    _logical("logical_or", [0, 1, 1, 1]),
    _logical("logical_xor", [0, 1, 1, 0]),
    Case(
        "logical_not",
        lambda mb: lambda x: mb.cast(x=mb.logical_not(x=mb.cast(x=x, dtype="bool")), dtype="fp32"),
        {"x": FLAGS},
        ([[1, 0, 1, 0]],),
    ),
]

REDUCTION = [
    unary("reduce_max", X, X64.max(axis=(0, 2)), axes=[0, 2]),
    unary("reduce_mean", X, X64.mean(axis=1, keepdims=True), axes=[1], keep_dims=True),
    unary("reduce_mean", X, X64.mean().reshape(1, 1, 1), keep_dims=True),
    unary("reduce_min", X, X64.min(axis=-1), axes=[-1]),
    unary("reduce_sum", X, X64.sum(axis=(1, 2)), axes=[1, 2]),
    unary("reduce_sum_square", X, (X64**2).sum(axis=2), axes=[2]),
    unary("reduce_l2_norm", X, np.linalg.norm(X64, axis=2), axes=[2]),
    unary("reduce_log_sum_exp", X, scipy.special.logsumexp(X64, axis=1), axes=[1]),
    unary("reduce_argmax", X, X64.argmax(axis=1), axis=1),
    unary("reduce_argmax", FLAGS, [[3]], axis=1, keep_dims=True),
    unary("reduce_argmin", X, X64.argmin(axis=2), axis=2),
    # Ties: the lowest index.
    unary("reduce_argmin", FLAGS, [0], axis=1),
]


def _select(mb: Any) -> Callable[..., Any]:
    return lambda x, y: mb.select(cond=mb.greater(x=x, y=np.float32(0)), a=x, b=y)


def _sliced(**options: Any) -> Build:
    return lambda mb: lambda x: mb.slice_by_index(x=x, **options)


def _one_hot(mb: Any) -> Callable[..., Any]:
    return lambda x: mb.one_hot(
        indices=x, one_hot_vector_size=3, axis=1, on_value=np.float32(2), off_value=np.float32(-1)
    )


def _gathered(**options: Any) -> Build:
    return lambda mb: lambda x, i: mb.gather(x=x, indices=i, **options)


_HOT = np.full((2, 3, 2), -1.0)
for _row, _column in np.ndindex(2, 2):
    _HOT[_row, INDICES[_row, _column], _column] = 2

SELECTION = [
    Case("select", _select, {"x": X, "y": Y[None] * X[:1]}, (np.where(X > 0, X, Y * X[:1]),)),
    Case("gather", _gathered(axis=1), {"x": X, "i": INDICES}, (X[:, INDICES],)),
    Case("gather", _gathered(axis=-2), {"x": X, "i": -INDICES}, (X[:, -INDICES],), target="iOS16"),
    Case(
        "gather_along_axis",
        lambda mb: lambda x, i: mb.gather_along_axis(x=x, indices=i, axis=0),
        {"x": X[0], "i": INDICES[:, [0, 1, 1, 0]]},
        (np.take_along_axis(X[0], INDICES[:, [0, 1, 1, 0]].astype(np.int64), axis=0),),
    ),
    Case(
        "slice_by_index",
        _sliced(begin=[0, -1, 1], end=[1, -4, 4], stride=[1, -1, 2], end_mask=[False, True, False]),
        {"x": X},
        (X[0:1, ::-1, 1:4:2],),
    ),
    Case(
        "slice_by_index",
        _sliced(
            begin=[-1, 5, 0],
            end=[0, 2, 2],
            begin_mask=[False, True, False],
            squeeze_mask=[True, False, False],
        ),
        {"x": X},
        (X[-1, :2, :2],),
    ),
    Case("one_hot", _one_hot, {"x": INDICES}, (_HOT,)),
]


def _filled(mb: Any) -> Callable[..., Any]:
    """The shape is computed, so that nothing is folded."""
    return lambda x: mb.fill(shape=mb.shape(x=x), value=np.float32(1.5))


def _filled_like(mb: Any) -> Callable[..., Any]:
    return lambda x: mb.fill_like(ref_tensor=x, value=np.float32(1.5))


def _range(mb: Any) -> Callable[..., Any]:
    return lambda x: mb.range_1d(start=np.int32(1), end=mb.reduce_max(x=x), step=np.int32(3))


def _variadic(op: str, **options: Any) -> Build:
    return lambda mb: lambda x, y: getattr(mb, op)(values=(x, y), **options)


_TWICE = {"x": X, "y": -X}

SHAPE = [
    unary("transpose", X, X.transpose(2, 0, 1), perm=[2, 0, 1]),
    unary("reshape", X, X.reshape(6, 4), shape=[-1, 4]),
    unary("reshape", X, X.reshape(2, 12), shape=[2, -1]),
    unary("expand_dims", X, X[:, None, :, :, None], axes=[1, -1]),
    unary("squeeze", Y, Y[:, 0], axes=[-1]),
    unary("squeeze", X[None, :, :1], X[:, 0]),
    Case("concat", _variadic("concat", axis=1), _TWICE, (np.concatenate((X, -X), 1),)),
    Case(
        "concat",
        _variadic("concat", axis=0, interleave=True),
        _TWICE,
        (np.stack((X[0], -X[0], X[1], -X[1])),),
    ),
    Case("stack", _variadic("stack", axis=2), _TWICE, (np.stack((X, -X), 2),)),
    Case(
        "split",
        lambda mb: lambda x: mb.split(x=x, split_sizes=[1, 3], axis=-1),
        {"x": X},
        (X[..., :1], X[..., 1:]),
    ),
    Case(
        "split",
        lambda mb: lambda x: mb.split(x=x, num_splits=2, axis=0),
        {"x": X},
        (X[:1], X[1:]),
    ),
    unary("tile", X, np.tile(X, (1, 2, 3)), reps=[1, 2, 3]),
    unary(
        "pad",
        X,
        np.pad(X, ((0, 0), (1, 0), (2, 3)), constant_values=0.5),
        pad=[1, 0, 2, 3],
        constant_val=np.float32(0.5),
    ),
    unary("pad", X, np.pad(X, ((0, 0), (0, 0), (3, 1)), "reflect"), pad=[3, 1], mode="reflect"),
    unary("pad", X, np.pad(X, ((0, 0), (0, 0), (2, 4)), "edge"), pad=[2, 4], mode="replicate"),
    unary("shape", X, np.array([2, 3, 4], np.int32)),
    Case("fill", _filled, {"x": X}, (np.full((2, 3, 4), 1.5),)),
    Case("fill_like", _filled_like, {"x": X}, (np.full((2, 3, 4), 1.5),)),
    Case("range_1d", _range, {"x": np.array([3, 11], np.int32)}, ([1, 4, 7, 10],)),
]

CASES = [*ELEMENTWISE, *REDUCTION, *SELECTION, *SHAPE]
