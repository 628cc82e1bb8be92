"""Checks of tensors against what the network needs, each failure naming tensor and file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..errors import (
    CorruptCheckpointError,
    MissingTensorError,
    TensorShapeError,
    UnexpectedTensorError,
)
from .architectures import STEP_COUNTER

_SHOWN = 5


def checked_state(
    state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], where: str
) -> dict[str, Tensor]:
    """The tensors as contiguous, finite CPU float32 (step counters: int64), names as expected.

    Raises MissingTensorError, UnexpectedTensorError, TensorShapeError (shape or kind of number),
    CorruptCheckpointError (NaN or infinity).
    """
    needed = [name for name in expected if not name.endswith(STEP_COUNTER)]
    missing = [name for name in needed if name not in state]
    if missing:
        raise MissingTensorError(
            f"{where}: no tensor {_names(missing)}; the file is incomplete or of another network"
        )
    unexpected = [name for name in state if name not in expected]
    if unexpected:
        raise UnexpectedTensorError(
            f"{where}: the network has no tensor {_names(unexpected)}; "
            "remove it from the file if it served training only"
        )
    wrong = [
        f"{name} has shape {tuple(state[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if wrong:
        raise TensorShapeError(f"{where}: {_names(wrong)}; the file is of another configuration")
    return {name: _plain(name, state.get(name), where) for name in expected}


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    rest = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _plain(name: str, value: Tensor | None, where: str) -> Tensor:
    if name.endswith(STEP_COUNTER):
        count = 0 if value is None or value.is_floating_point() else int(value.item())
        return torch.tensor(count, dtype=torch.int64)
    if value is None or not value.is_floating_point():
        kind = None if value is None else value.dtype
        raise TensorShapeError(f"{where}: {name} holds {kind}, expected floating-point numbers")
    # A copy of its own: storages may be shared and are larger than what is kept.
    plain = value.detach().to(torch.float32, copy=True).contiguous()
    if not bool(torch.isfinite(plain).all()):
        raise CorruptCheckpointError(
            f"{where}: {name} holds NaN or infinity; the training diverged or the file is damaged"
        )
    return plain


def dimensions(state: Mapping[str, Tensor], name: str, rank: int, where: str) -> tuple[int, ...]:
    """Shape of a tensor that a configuration is read from.

    Raises MissingTensorError, and TensorShapeError for another number of axes or an empty one.
    """
    if name not in state:
        raise MissingTensorError(f"{where}: no tensor {name}; the configuration is read from it")
    shape = tuple(state[name].shape)
    if len(shape) != rank or 0 in shape:
        raise TensorShapeError(f"{where}: {name} has shape {shape}, expected {rank} non-empty axes")
    return shape


def numbered(state: Mapping[str, Tensor], prefix: str, suffix: str, first: int) -> int:
    """How many modules ``prefix + number + suffix`` there are, counting from ``first``.

    A gap in the numbers counts, so that what is missing there gets named; numbers beyond the
    count of tensors do not, so that an absurd one cannot ask for an absurd network.
    """
    numbers = [-1]
    for name in state:
        if name.startswith(prefix):
            digits = name.removeprefix(prefix).partition(suffix)[0]
            if digits.isdecimal() and len(digits) < 6 and int(digits) < first + len(state):
                numbers.append(int(digits) - first)
    return max(numbers) + 1
