"""Cases of the ops with weights: products, convolutions, pooling, normalisation, LSTM."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.signal
import scipy.special
from op_cases import Array, Case, unary

_RNG = np.random.default_rng(11)


def _random(*shape: int) -> Array:
    return _RNG.standard_normal(shape).astype(np.float32)


SIGNAL, FILTERS, BIAS = _random(2, 4, 11), _random(6, 2, 3), _random(6)
IMAGE, KERNELS_2D = _random(1, 3, 6, 5), _random(2, 3, 2, 3)
MATRIX, OTHER, COLUMNS = _random(2, 3, 4), _random(2, 5, 4), _random(3, 2)


def convolved(x: Array, weight: Array, stride: int, dilation: int, groups: int) -> Array:
    """(N, C, T) with weight (O, C / groups, K), by SciPy's correlation, channel by channel."""
    spread = np.zeros((*weight.shape[:2], (weight.shape[2] - 1) * dilation + 1))
    spread[..., ::dilation] = weight
    per_group = weight.shape[0] // groups
    out = []
    for item, channel in itertools.product(x.astype(np.float64), range(weight.shape[0])):
        first = channel // per_group * weight.shape[1]
        out.append(
            sum(
                scipy.signal.correlate(item[first + index], row, "valid")
                for index, row in enumerate(spread[channel])
            )[::stride]
        )
    return np.stack(out).reshape(x.shape[0], weight.shape[0], -1)


def _convolved_2d(x: Array, weight: Array) -> Array:
    planes = [
        sum(scipy.signal.correlate2d(x[0, c], row[c], "valid") for c in range(x.shape[1]))
        for row in weight.astype(np.float64)
    ]
    return np.stack(planes)[None]


def _padded(x: Array, before: int, after: int, value: float = 0.0) -> Array:
    widths = [(0, 0)] * (x.ndim - 1) + [(before, after)]
    return np.pad(x.astype(np.float64), widths, constant_values=value)


def _conv(expected: Array, x: Array = SIGNAL, weight: Array = FILTERS, **options: Any) -> Case:
    return unary("conv", x, expected, weight=weight, **options)


def _biased(values: Array) -> Array:
    return values + BIAS.astype(np.float64)[:, None]


CONVOLUTION = [
    _conv(
        _biased(convolved(_padded(SIGNAL, 2, 1), FILTERS, 2, 2, 2)),
        bias=BIAS,
        strides=[2],
        dilations=[2],
        groups=2,
        pad_type="custom",
        pad=[2, 1],
    ),
    _conv(convolved(SIGNAL, FILTERS, 1, 1, 2), groups=2, pad_type="valid"),
    # 11 samples at stride 3 give 4, which span (4 - 1) * 3 + 3 = 12: one too many.
    _conv(
        convolved(_padded(SIGNAL, 0, 1), FILTERS, 3, 1, 2), groups=2, strides=[3], pad_type="same"
    ),
    _conv(
        convolved(_padded(SIGNAL, 1, 0), FILTERS, 3, 1, 2),
        groups=2,
        strides=[3],
        pad_type="same_lower",
    ),
    _conv(
        _convolved_2d(np.pad(IMAGE, ((0, 0), (0, 0), (1, 1), (0, 2))), KERNELS_2D),
        IMAGE,
        KERNELS_2D,
        pad_type="custom",
        pad=[1, 1, 0, 2],
    ),
    unary(
        "linear",
        MATRIX,
        MATRIX.astype(np.float64) @ OTHER[0].T.astype(np.float64) + BIAS[:5],
        weight=OTHER[0],
        bias=BIAS[:5],
    ),
    Case(
        "matmul",
        lambda mb: lambda x, y: mb.matmul(x=x, y=y, transpose_y=True),
        {"x": MATRIX, "y": OTHER},
        (np.einsum("bnk,bmk->bnm", MATRIX, OTHER, dtype=np.float64),),
    ),
    Case(
        "matmul",
        lambda mb: lambda x, y: mb.matmul(x=x, y=y, transpose_x=True),
        {"x": MATRIX, "y": COLUMNS},
        (np.einsum("bkn,km->bnm", MATRIX, COLUMNS, dtype=np.float64),),
    ),
]


def _pooled(x: Array, extent: int, stride: int, reduce: Callable[..., Array]) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(x, extent, axis=-1)
    return reduce(windows[..., ::stride, :], axis=-1)


def _pool(op: str, expected: Array, **options: Any) -> Case:
    return unary(op, SIGNAL, expected, kernel_sizes=[3], **options)


_SUMS = _pooled(_padded(SIGNAL, 2, 1), 3, 2, np.sum)
_COUNTS = _pooled(_padded(np.ones_like(SIGNAL), 2, 1), 3, 2, np.sum)

POOLING = [
    _pool("max_pool", _pooled(SIGNAL, 3, 3, np.max), strides=[3], pad_type="valid"),
    # Padding must not win where all values are negative.
    unary(
        "max_pool",
        -np.abs(SIGNAL),
        _pooled(_padded(-np.abs(SIGNAL), 1, 2, -np.inf), 3, 2, np.max),
        kernel_sizes=[3],
        strides=[2],
        pad_type="custom",
        pad=[1, 2],
    ),
    # 11 samples, ceil: windows start at 0, 3, 6, 9; the last one has two samples.
    _pool(
        "max_pool",
        _pooled(_padded(SIGNAL, 0, 1, -np.inf), 3, 3, np.max),
        strides=[3],
        pad_type="valid",
        ceil_mode=True,
    ),
    # 9 samples, padded: a sixth window would start at 10, in the padding after them.
    unary(
        "max_pool",
        SIGNAL[..., :9],
        _pooled(_padded(SIGNAL[..., :9], 1, 0, -np.inf), 2, 2, np.max),
        kernel_sizes=[2],
        strides=[2],
        pad_type="custom",
        pad=[1, 1],
        ceil_mode=True,
    ),
    _pool("avg_pool", _SUMS / 3, strides=[2], pad_type="custom", pad=[2, 1]),
    _pool(
        "avg_pool",
        _SUMS / _COUNTS,
        strides=[2],
        pad_type="custom",
        pad=[2, 1],
        exclude_padding_from_average=True,
    ),
]


def _normal(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    x = x.astype(np.float64)
    variance = x.var(axis=axes, keepdims=True) + float(np.float32(epsilon))
    return (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(variance)


_GAMMA, _BETA = _random(4), _random(4)
_MEAN, _VARIANCE = _random(4), np.abs(_random(4)) + np.float32(0.5)
_BY_CHANNEL = (slice(None), None)
_SPREAD = np.sqrt(_VARIANCE.astype(np.float64) + float(np.float32(1e-3)))

NORMALISATION = [
    unary(
        "batch_norm",
        SIGNAL,
        (SIGNAL - _MEAN.astype(np.float64)[_BY_CHANNEL])
        / _SPREAD[_BY_CHANNEL]
        * _GAMMA[_BY_CHANNEL]
        + _BETA[_BY_CHANNEL],
        mean=_MEAN,
        variance=_VARIANCE,
        gamma=_GAMMA,
        beta=_BETA,
        epsilon=1e-3,
    ),
    unary(
        "instance_norm",
        SIGNAL,
        _normal(SIGNAL, (2,), 1e-2) * _GAMMA[_BY_CHANNEL] + _BETA[_BY_CHANNEL],
        gamma=_GAMMA,
        beta=_BETA,
        epsilon=1e-2,
    ),
    unary(
        "layer_norm",
        MATRIX,
        _normal(MATRIX, (1, 2), 1e-2) * OTHER[0, :3] + OTHER[1, :3],
        axes=[1, 2],
        gamma=OTHER[0, :3],
        beta=OTHER[1, :3],
        epsilon=1e-2,
    ),
]

STEPS, BATCH, INPUTS, HIDDEN = 5, 2, 3, 4
SEQUENCE, H0, C0 = (
    _random(STEPS, BATCH, INPUTS),
    _random(BATCH, 2 * HIDDEN),
    _random(BATCH, 2 * HIDDEN),
)
WEIGHTS = [
    (_random(4 * HIDDEN, INPUTS), _random(4 * HIDDEN, HIDDEN), _random(4 * HIDDEN))
    for _ in range(2)
]


def lstm_loop(
    x: Array, h: Array, c: Array, weights: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """The equations of the specification, step by step; gates in the order i, f, o, z."""
    x, h, c, weight_ih, weight_hh, bias = (each.astype(np.float64) for each in (x, h, c, *weights))
    outputs = []
    for step in x:
        gates = step @ weight_ih.T + h @ weight_hh.T + bias
        i, f, o = (scipy.special.expit(gates[:, n * HIDDEN : (n + 1) * HIDDEN]) for n in range(3))
        c = f * c + i * np.tanh(gates[:, 3 * HIDDEN :])
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), h, c


def _joined(*pair: Array) -> Array:
    return np.concatenate(pair, axis=-1)


_FORWARD = lstm_loop(SEQUENCE, H0[:, :HIDDEN], C0[:, :HIDDEN], WEIGHTS[0])
_BACK = lstm_loop(SEQUENCE[::-1], H0[:, HIDDEN:], C0[:, HIDDEN:], WEIGHTS[1])
_REVERSE = lstm_loop(SEQUENCE[::-1], H0[:, :HIDDEN], C0[:, :HIDDEN], WEIGHTS[0])


def _lstm(states: Array, cells: Array, expected: tuple[Array, ...], **options: Any) -> Case:
    weights = dict(zip(("weight_ih", "weight_hh", "bias"), WEIGHTS[0], strict=True))

    def build(mb: Any) -> Callable[..., Any]:
        return lambda x, h, c: mb.lstm(x=x, initial_h=h, initial_c=c, **weights, **options)

    return Case("lstm", build, {"x": SEQUENCE, "h": states, "c": cells}, expected)


_BACKWARD_WEIGHTS = dict(
    zip(("weight_ih_back", "weight_hh_back", "bias_back"), WEIGHTS[1], strict=True)
)

RECURRENT = [
    _lstm(H0[:, :HIDDEN], C0[:, :HIDDEN], _FORWARD, direction="forward", output_sequence=True),
    _lstm(
        H0[:, :HIDDEN],
        C0[:, :HIDDEN],
        (_FORWARD[1][None], *_FORWARD[1:]),
        direction="forward",
        output_sequence=False,
    ),
    _lstm(
        H0[:, :HIDDEN],
        C0[:, :HIDDEN],
        (_REVERSE[0][::-1], *_REVERSE[1:]),
        direction="reverse",
        output_sequence=True,
    ),
    _lstm(
        H0,
        C0,
        (
            _joined(_FORWARD[0], _BACK[0][::-1]),
            _joined(_FORWARD[1], _BACK[1]),
            _joined(_FORWARD[2], _BACK[2]),
        ),
        direction="bidirectional",
        output_sequence=True,
        **_BACKWARD_WEIGHTS,
    ),
]

CASES = [*CONVOLUTION, *POOLING, *NORMALISATION, *RECURRENT]
