"""The table of kernels, and how a kernel is called with the operands of an operation.

A kernel is a function whose parameters are those of the op. Their annotations say what it wants:
``Tensor`` as it is, ``int``, ``float``, ``bool``, ``str``, ``list[int]``, ``list[bool]`` as Python
values, ``list[Tensor]`` for variadic operands. Defaults are those of the specification.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from torch import Tensor

from ..errors import UnsupportedOpError
from ..types import DTYPES, Operation

Content = Tensor | str
KernelFunction = TypeVar("KernelFunction", bound=Callable[..., Any])
Converter = Callable[[Sequence[Content]], Any]


@dataclass(frozen=True)
class Cell:
    """A value during execution: its content, and the element type that the program declares."""

    content: Content
    dtype: str


def _scalar(target: Callable[[Any], Any]) -> Converter:
    return lambda contents: target(_tensor(contents).item())


def _listed(contents: Sequence[Content]) -> list[Any]:
    values: list[Any] = _tensor(contents).reshape(-1).tolist()
    return values


def _only(contents: Sequence[Content]) -> Content:
    if len(contents) != 1:
        raise ValueError(f"expected one operand, found {len(contents)}")
    return contents[0]


def _tensor(contents: Sequence[Content]) -> Tensor:
    content = _only(contents)
    if isinstance(content, str):
        raise TypeError(f"expected a tensor, found {content!r}")
    return content


def _string(contents: Sequence[Content]) -> str:
    content = _only(contents)
    if not isinstance(content, str):
        raise TypeError("expected a string, found a tensor")
    return content


_CONVERTERS: Mapping[Any, Converter] = {
    Tensor: _tensor,
    list[Tensor]: list,
    str: _string,
    int: _scalar(int),
    float: _scalar(float),
    bool: _scalar(bool),
    list[int]: _listed,
    list[bool]: _listed,
}


@dataclass(frozen=True)
class Kernel:
    """One op.

    Attributes:
        function: computes the results: a tensor, or a tuple of them.
        converters: how the operands of each parameter are passed.
        required: parameters without a default.
        like: the parameter whose element type the results have, unless
        dtype: names it, or
        dtype_from: is the parameter that names it.
        agree: parameters that must have one element type, where they are given. (From iOS 17 on,
            the weights of an op may be of another type than its input.)
    """

    function: Callable[..., Tensor | tuple[Tensor, ...]]
    converters: Mapping[str, Converter]
    defaults: Mapping[str, Any]
    required: frozenset[str]
    like: str
    dtype: str | None
    dtype_from: str | None
    agree: tuple[str, ...]

    def check(self, operation: Operation) -> None:
        """Raise UnsupportedOpError where the operation has operands that the kernel does not."""
        given = set(operation.operands)
        unknown, missing = given - set(self.converters), self.required - given
        if unknown or missing:
            raise UnsupportedOpError(
                f"{operation.title}: inputs {sorted(unknown)} are not supported, "
                f"{sorted(missing)} are missing"
            )

    def result_dtype(self, operands: Mapping[str, Sequence[Cell]]) -> str:
        """The element type of the results.

        Raises:
            ValueError: the operands' types do not fit together.
        """
        cells = [cell for name in self.agree for cell in operands.get(name, ())]
        found = sorted({cell.dtype for cell in cells})
        if len(found) > 1:
            raise ValueError(f"operands of different types: {', '.join(found)}")
        if self.dtype is not None:
            return self.dtype
        if self.dtype_from is None:
            return operands[self.like][0].dtype
        given = operands.get(self.dtype_from)
        name = given[0].content if given else self.defaults[self.dtype_from]
        if not isinstance(name, str) or name not in DTYPES:
            raise ValueError(f"unknown element type {name!r}")
        return name

    def __call__(self, operands: Mapping[str, Sequence[Cell]]) -> tuple[Tensor, ...]:
        """The results of the op."""
        arguments = {
            name: self.converters[name]([cell.content for cell in cells])
            for name, cells in operands.items()
        }
        results = self.function(**arguments)
        return results if isinstance(results, tuple) else (results,)


KERNELS: dict[str, Kernel] = {}


def kernel(
    *names: str,
    like: str = "x",
    dtype: str | None = None,
    dtype_from: str | None = None,
    agree: tuple[str, ...] = (),
) -> Callable[[KernelFunction], KernelFunction]:
    """Register a function as the kernel of the ops ``names``; see ``Kernel``."""

    def register(function: KernelFunction) -> KernelFunction:
        hints = get_type_hints(function)
        parameters = inspect.signature(function).parameters
        empty = inspect.Parameter.empty
        made = Kernel(
            function=function,
            converters={name: _CONVERTERS[_wanted(hints[name])] for name in parameters},
            defaults={n: p.default for n, p in parameters.items() if p.default is not empty},
            required=frozenset(n for n, p in parameters.items() if p.default is empty),
            like=like,
            dtype=dtype,
            dtype_from=dtype_from,
            agree=agree,
        )
        KERNELS.update(dict.fromkeys(names, made))
        return function

    return register


def _wanted(hint: Any) -> Any:
    """``X`` for ``X`` and for ``X | None``."""
    options = [each for each in getattr(hint, "__args__", ()) if each is not type(None)]
    is_optional = type(None) in getattr(hint, "__args__", ())
    return options[0] if is_optional else hint
