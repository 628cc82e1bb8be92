"""Repairs of coremltools' torch frontend, in force only while a graph is converted.

Each one is needed by coremltools 9.0; a test per patch fails as soon as it no longer is. The
graphs are traced (``torch.jit.trace``), where sizes are tensors of one element: all three repair
arithmetic on sizes, which conversion folds into constants. The ``torch.export`` route would need
two more (``lstm.input``, ``alias``) and is not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np

from .tools import import_coremltools

Handler = Callable[[Any, Any], None]


def _frontend() -> Any:
    return import_coremltools("converters.mil.frontend.torch.ops")


def _handlers() -> dict[str, Handler]:
    registry = import_coremltools("converters.mil.frontend.torch.torch_op_registry")
    handlers: dict[str, Handler] = registry._TORCH_OPS_REGISTRY.name_to_func_mapping
    return handlers


def _value(context: Any, name: str | None) -> Any:
    """What is known about an operand while converting; None if it is computed at run time."""
    return None if name is None else getattr(context[name], "val", None)


@contextmanager
def scalar_cast() -> Iterator[None]:
    """``int(size)``: numpy 2 refuses ``int(array)`` for arrays with dimensions, even of one
    element, and coremltools holds sizes as such arrays."""
    frontend = _frontend()
    original = frontend._cast

    def cast(context: Any, node: Any, dtype: type, dtype_name: str) -> None:
        value = _value(context, node.inputs[0])
        if value is None:
            original(context, node, dtype, dtype_name)
            return
        scalar = dtype(np.asarray(value).item())
        context.add(frontend.mb.const(val=scalar, name=node.name), node.name)

    with mock.patch.object(frontend, "_cast", cast):
        yield


@contextmanager
def integer_reciprocal() -> Iterator[None]:
    """``1.0 / size``: MIL's ``inverse`` takes no integers, and adds an epsilon."""
    handlers, frontend = _handlers(), _frontend()
    original = handlers["reciprocal"]

    def reciprocal(context: Any, node: Any) -> None:
        value = _value(context, node.inputs[0])
        if value is None or not np.issubdtype(np.asarray(value).dtype, np.integer):
            original(context, node)
            return
        inverse = np.float32(1) / np.asarray(value, np.float32)
        context.add(frontend.mb.const(val=inverse, name=node.name), node.name)

    with mock.patch.dict(handlers, {"reciprocal": reciprocal}):
        yield


@contextmanager
def integer_division() -> Iterator[None]:
    """``torch.div(..., rounding_mode="trunc")`` of integers: coremltools divides floats and
    leaves floats, which cannot index anything afterwards."""
    handlers, frontend = _handlers(), _frontend()
    original = handlers["div"]

    def div(context: Any, node: Any) -> None:
        numerator, denominator, *mode = (_value(context, name) for name in node.inputs)
        operands = [value for value in (numerator, denominator) if value is not None]
        whole = all(np.issubdtype(np.asarray(value).dtype, np.integer) for value in operands)
        if mode != ["trunc"] or len(operands) < 2 or not whole:
            original(context, node)
            return
        sign = np.sign(numerator) * np.sign(denominator)
        quotient = sign * (np.abs(numerator) // np.abs(denominator))
        constant = frontend.mb.const(val=np.asarray(quotient, np.int32), name=node.name)
        context.add(constant, node.name)

    with mock.patch.dict(handlers, {"div": div}):
        yield


PATCHES = (scalar_cast, integer_reciprocal, integer_division)


@contextmanager
def patched() -> Iterator[None]:
    """All repairs; coremltools is as before afterwards."""
    with ExitStack() as stack:
        for patch in PATCHES:
            stack.enter_context(patch())
        yield
