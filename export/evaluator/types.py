"""A program as it was read: functions of typed operations, whatever file it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = dict[str, Array]
Kind: TypeAlias = Literal["float", "int", "bool", "string"]
CONST = "const"


@dataclass(frozen=True)
class DType:
    """An element type. ``bits`` is what one element takes in a weight file."""

    kind: Kind
    bits: int
    numpy: npt.DTypeLike

    @property
    def is_signed(self) -> bool:
        return np.issubdtype(self.numpy, np.signedinteger)

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer that fits."""
        if self.is_signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1


# Types of fewer than 8 bits are unpacked into bytes.
DTYPES: Mapping[str, DType] = {
    "bool": DType("bool", 8, np.bool_),
    "string": DType("string", 0, np.str_),
    "fp16": DType("float", 16, np.float16),
    "fp32": DType("float", 32, np.float32),
    "fp64": DType("float", 64, np.float64),
    "int4": DType("int", 4, np.int8),
    "int8": DType("int", 8, np.int8),
    "int16": DType("int", 16, np.int16),
    "int32": DType("int", 32, np.int32),
    "int64": DType("int", 64, np.int64),
    **{f"uint{bits}": DType("int", bits, np.uint8) for bits in (1, 2, 3, 4, 6, 8)},
    "uint16": DType("int", 16, np.uint16),
    "uint32": DType("int", 32, np.uint32),
    "uint64": DType("int", 64, np.uint64),
}


@dataclass(frozen=True)
class TensorType:
    """Element type (a key of ``DTYPES``) and shape; None is a size known at run time only."""

    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.dtype}[{sizes}]"

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape fits."""
        return len(shape) == len(self.shape) and all(
            declared in (None, size) for declared, size in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True)
class NamedType:
    """An input of a function, or an output of an operation."""

    name: str
    type: TensorType


@dataclass(frozen=True)
class BlobReference:
    """Where in which weight file a constant lies. ``file`` is relative to the model's folder."""

    file: str
    offset: int


@dataclass(frozen=True)
class Reference:
    """An operand that another operation computes."""

    name: str


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that is written in the program, or beside it in a weight file."""

    type: TensorType
    content: Array | str | BlobReference


Operand: TypeAlias = Reference | Constant


@dataclass(frozen=True)
class Operation:
    """One operation: its operands by parameter (attributes included), its typed outputs."""

    kind: str
    operands: Mapping[str, tuple[Operand, ...]]
    outputs: tuple[NamedType, ...]

    @property
    def title(self) -> str:
        """How errors name it."""
        names = ", ".join(output.name for output in self.outputs)
        return f"op {self.kind!r} (output {names})"


@dataclass(frozen=True)
class Function:
    """Operations in the order of execution; ``outputs`` are names of their results."""

    name: str
    opset: str
    inputs: tuple[NamedType, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]

    @property
    def ops(self) -> dict[str, int]:
        """How often each op occurs, constants not counted."""
        counts = Counter(each.kind for each in self.operations if each.kind != CONST)
        return dict(sorted(counts.items()))


@dataclass(frozen=True)
class StoredProgram:
    """Functions by name, and the folder to which weight files are relative."""

    path: Path
    model_folder: Path
    functions: Mapping[str, Function]
    default_function: str
