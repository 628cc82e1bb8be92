"""Runs one function: constants once, then its operations in order, checking every result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .arithmetic import Arithmetic
from .errors import (
    OpFailedError,
    ProgramFormatError,
    ResultMismatchError,
    UnknownOpError,
)
from .kernels import KERNELS, Kernel
from .kernels.registry import Cell
from .types import (
    CONST,
    DTYPES,
    BlobReference,
    Constant,
    Function,
    Kind,
    NamedType,
    Operand,
    Operation,
    Reference,
)
from .weights import WeightStore

_CONSTANT_PREFIX = "constexpr_"
# What torch raises where operands do not fit together.
_OPERAND_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, OverflowError)


@dataclass(frozen=True)
class _Step:
    """One operation, and the values that nothing needs after it."""

    operation: Operation
    kernel: Kernel
    releases: tuple[str, ...]


class Executor:
    """One function, prepared for one arithmetic; constants are expanded once."""

    def __init__(self, function: Function, weights: WeightStore, arithmetic: Arithmetic) -> None:
        """Prepare a function.

        Raises:
            UnknownOpError: it has ops without a kernel.
            EvaluatorError: it is inconsistent, or its weights cannot be read.
        """
        _check_ops(function)
        _check_names(function)
        self._function = function
        self._weights = weights
        self._arithmetic = arithmetic
        computed = [each for each in function.operations if not _is_constant(each)]
        self._constants = self._expanded_constants(computed)
        self._steps = tuple(_steps(computed, function.outputs, set(self._constants)))

    def run(self, inputs: Mapping[str, Cell]) -> dict[str, Cell]:
        """The outputs for inputs that were checked already."""
        values = {**self._constants, **inputs}
        with torch.inference_mode():
            for step in self._steps:
                values.update(self._results(step.operation, step.kernel, values))
                for name in step.releases:
                    del values[name]
        return {name: values[name] for name in self._function.outputs}

    def _expanded_constants(self, computed: Sequence[Operation]) -> dict[str, Cell]:
        """Constants that the computed operations use, by name."""
        values: dict[str, Cell] = {}
        with torch.inference_mode():
            for operation in self._function.operations:
                if operation.kind == CONST:
                    values[operation.outputs[0].name] = self._constant(operation)
                elif _is_constant(operation):
                    values |= self._results(operation, KERNELS[operation.kind], values)
        used = {name for each in computed for name in _references(each)}
        used |= set(self._function.outputs)
        return {name: cell for name, cell in values.items() if name in used}

    def _constant(self, operation: Operation) -> Cell:
        (output,), (value,) = operation.outputs, operation.operands["val"]
        if not isinstance(value, Constant) or value.type != output.type:
            raise ProgramFormatError(f"{operation.title}: its value is not of its type")
        return self._literal(value)

    def _literal(self, constant: Constant) -> Cell:
        content, dtype = constant.content, constant.type.dtype
        if isinstance(content, BlobReference):
            content = self._weights.read(content, constant.type)
        if not isinstance(content, str):
            return Cell(self._arithmetic.hold(content, dtype), dtype)
        return Cell(content, dtype)

    def _results(
        self, operation: Operation, kernel: Kernel, values: Mapping[str, Cell]
    ) -> dict[str, Cell]:
        def cell(operand: Operand) -> Cell:
            if isinstance(operand, Reference):
                return values[operand.name]
            return self._literal(operand)

        operands = {
            name: [cell(operand) for operand in given] for name, given in operation.operands.items()
        }
        try:
            dtype = kernel.result_dtype(operands)
            results = kernel(operands)
        except _OPERAND_ERRORS as error:
            raise OpFailedError(f"{operation.title}: {error}") from error
        if len(results) != len(operation.outputs):
            raise ResultMismatchError(f"{operation.title}: {len(results)} results")
        return {
            output.name: self._checked(operation, output, result, dtype)
            for output, result in zip(operation.outputs, results, strict=True)
        }

    def _checked(self, operation: Operation, output: NamedType, result: Tensor, dtype: str) -> Cell:
        """A result in its declared type, if it has the declared shape and type."""
        declared = output.type
        found = f"{dtype}{list(result.shape)}"
        if dtype != declared.dtype or not declared.accepts(tuple(result.shape)):
            raise ResultMismatchError(
                f"{operation.title}: {output.name!r} is declared {declared}, the result is {found}"
            )
        if _kind(result) != DTYPES[dtype].kind:
            raise ResultMismatchError(
                f"{operation.title}: {output.name!r} is declared {declared}, "
                f"the result holds elements of kind {_kind(result)}"
            )
        if result.is_floating_point():
            return Cell(self._arithmetic.rounded(result, dtype), dtype)
        if _kind(result) == "int" and result.numel():
            low, high = DTYPES[dtype].limits
            if int(result.min()) < low or int(result.max()) > high:
                raise ResultMismatchError(f"{operation.title}: values outside of {dtype}")
        return Cell(result, dtype)


def _kind(values: Tensor) -> Kind:
    if values.is_floating_point():
        return "float"
    return "bool" if values.dtype == torch.bool else "int"


def _is_constant(operation: Operation) -> bool:
    return operation.kind == CONST or operation.kind.startswith(_CONSTANT_PREFIX)


def _references(operation: Operation) -> list[str]:
    return [
        operand.name
        for given in operation.operands.values()
        for operand in given
        if isinstance(operand, Reference)
    ]


def _check_ops(function: Function) -> None:
    """All unknown ops at once, before anything is computed."""
    unknown = {kind: count for kind, count in function.ops.items() if kind not in KERNELS}
    if unknown:
        ops = ", ".join(f"{kind!r} ({count})" for kind, count in unknown.items())
        raise UnknownOpError(f"function {function.name!r} has ops without a kernel: {ops}")
    for operation in function.operations:
        if operation.kind != CONST:
            KERNELS[operation.kind].check(operation)
        elif "val" not in operation.operands or len(operation.outputs) != 1:
            raise ProgramFormatError(f"{operation.title}: a constant without a value")


def _check_names(function: Function) -> None:
    """Every operand is defined before it is used, and nothing twice."""
    defined = {each.name for each in function.inputs}
    for operation in function.operations:
        for name in _references(operation):
            if name not in defined:
                raise ProgramFormatError(f"{operation.title}: nothing defines its input {name!r}")
        for output in operation.outputs:
            if output.name in defined:
                raise ProgramFormatError(f"{operation.title}: {output.name!r} is defined twice")
            defined.add(output.name)
    missing = set(function.outputs) - defined
    if missing:
        raise ProgramFormatError(f"function {function.name!r}: nothing defines {sorted(missing)}")


def _steps(
    computed: Sequence[Operation], outputs: Sequence[str], constants: set[str]
) -> list[_Step]:
    """Operations with what they release: results and inputs that no later one uses."""
    needed = set(outputs) | constants
    steps = []
    for operation in reversed(computed):
        touched = {*_references(operation), *(each.name for each in operation.outputs)}
        releases = touched - needed
        needed |= touched
        steps.append(_Step(operation, KERNELS[operation.kind], tuple(sorted(releases))))
    return steps[::-1]
