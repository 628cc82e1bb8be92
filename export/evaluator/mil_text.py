"""Reads compiled ``.mlmodelc`` folders, whose program is text (``model.mil``).

::

    program(1.0)
    [buildInfo = ...]
    {
        func main<ios15>(tensor<fp32, [1, 4]> x) {
                tensor<fp32, []> half = const()[name = ..., val = tensor<fp32, []>(0x1p-1)];
                tensor<fp32, [1, 4]> y = mul(x = x, y = half)[name = ...];
            } -> (y);
    }

Scalars may also be written without ``tensor``: ``fp32 half = const()[val = fp32(0x1p-1)]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .errors import ProgramFormatError
from .package import NAME_ATTRIBUTE
from .types import (
    DTYPES,
    Array,
    BlobReference,
    Constant,
    Function,
    NamedType,
    Operand,
    Operation,
    Reference,
    StoredProgram,
    TensorType,
)

Item = TypeVar("Item")

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>[+-]?(?:0x[0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:p[+-]?\d+)?
                         |\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|inf\b|nan\b))
      | (?P<word>[A-Za-z_][\w.]*)
      | (?P<mark>->|[][(){}<>,=;?])
    )""",
    re.VERBOSE,
)
_CLOSING = {"[": "]", "(": ")", "{": "}", "<": ">"}
_BLOB = "BLOBFILE"
_BOOLS = {"true": True, "false": False}


def read_compiled(path: Path) -> StoredProgram:
    """The program of an ``.mlmodelc``.

    Raises:
        ProgramFormatError: it has no textual program, or one that cannot be understood.
    """
    file = path / "model.mil"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProgramFormatError(f"{file}: cannot be read: {error}") from error
    functions = {each.name: each for each in _Parser(file, text).program()}
    if not functions:
        raise ProgramFormatError(f"{file}: no function")
    default = "main" if "main" in functions else next(iter(functions))
    return StoredProgram(path, path, functions, default)


class _Parser:
    """Recursive descent over the tokens of one file."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text
        self._tokens = list(self._split(text))
        self._next = 0

    def _split(self, text: str) -> Iterator[tuple[int, str]]:
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error(position, f"unexpected {text[position : position + 20]!r}")
            yield match.start(match.lastgroup or 0), match[match.lastgroup or 0]
            position = match.end()

    def _error(self, position: int, reason: str) -> ProgramFormatError:
        line = self._text.count("\n", 0, position) + 1
        return ProgramFormatError(f"{self._file}, line {line}: {reason}")

    def _peek(self, ahead: int = 0) -> str:
        index = self._next + ahead
        return self._tokens[index][1] if index < len(self._tokens) else ""

    def _fail(self, expected: str) -> ProgramFormatError:
        ends = self._next >= len(self._tokens)
        position = len(self._text) if ends else self._tokens[self._next][0]
        return self._error(position, f"expected {expected}, found {self._peek() or 'the end'!r}")

    def _take(self) -> str:
        token = self._peek()
        if not token:
            raise self._fail("more")
        self._next += 1
        return token

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            if self._peek() != token:
                raise self._fail(repr(token))
            self._next += 1

    def _word(self) -> str:
        if not re.match(r"[A-Za-z_]", self._peek()):
            raise self._fail("a name")
        return self._take()

    def _skip(self, opening: str) -> None:
        """Leave out a bracketed section, if one comes next."""
        if self._peek() != opening:
            return
        expected: list[str] = []
        while not expected or expected[-1]:
            token = self._take()
            if token in _CLOSING:
                expected.append(_CLOSING[token])
            elif token == expected[-1]:
                expected.pop()
                if not expected:
                    return

    def _listed(self, opening: str, item: Callable[[], Item]) -> list[Item]:
        """Items between brackets, with commas between them."""
        self._expect(opening)
        closing, items = _CLOSING[opening], list[Item]()
        while self._peek() != closing:
            items.append(item())
            if self._peek() != closing:
                self._expect(",")
        self._expect(closing)
        return items

    def program(self) -> list[Function]:
        self._expect("program")
        self._skip("(")
        self._skip("[")
        self._expect("{")
        functions = []
        while self._peek() == "func":
            functions.append(self._function())
        self._expect("}")
        return functions

    def _function(self) -> Function:
        self._expect("func")
        name = self._word()
        (opset,) = self._listed("<", self._word)
        inputs = tuple(self._listed("(", self._named_type))
        self._skip("[")
        self._expect("{")
        operations = []
        while self._peek() != "}":
            operations.append(self._operation())
        self._expect("}", "->")
        outputs = tuple(self._listed("(", self._word))
        self._expect(";")
        return Function(name, opset, inputs, tuple(operations), outputs)

    def _operation(self) -> Operation:
        outputs = [self._named_type()]
        while self._peek() == ",":
            self._expect(",")
            outputs.append(self._named_type())
        self._expect("=")
        kind = self._word()
        operands = dict(self._listed("(", self._argument))
        if self._peek() == "[":
            attributes = dict(self._listed("[", self._argument))
            operands |= {key: each for key, each in attributes.items() if key != NAME_ATTRIBUTE}
        self._expect(";")
        return Operation(kind, operands, tuple(outputs))

    def _argument(self) -> tuple[str, tuple[Operand, ...]]:
        name = self._word()
        self._expect("=")
        if self._peek() == "(":
            return name, tuple(self._listed("(", self._operand))
        return name, (self._operand(),)

    def _operand(self) -> Operand:
        # A type comes before a value: tensor<...>(...) or fp32(...).
        if self._peek(1) in ("<", "("):
            return self._constant()
        return Reference(self._word())

    def _named_type(self) -> NamedType:
        declared = self._type()
        return NamedType(self._word(), declared)

    def _type(self) -> TensorType:
        word = self._word()
        if word != "tensor":
            return TensorType(self._dtype(word), ())
        self._expect("<")
        dtype = self._dtype(self._word())
        self._expect(",")
        shape = tuple(self._listed("[", self._size))
        self._expect(">")
        return TensorType(dtype, shape)

    def _dtype(self, word: str) -> str:
        if word not in DTYPES:
            self._next -= 1
            raise self._fail(f"a type of {sorted(DTYPES)}")
        return word

    def _size(self) -> int | None:
        if self._peek() != "?" and not self._peek().isdigit():
            raise self._fail("a size or '?'")
        size = self._take()
        return None if size == "?" else int(size)

    def _constant(self) -> Constant:
        declared = self._type()
        self._expect("(")
        if self._peek() == _BLOB:
            content: Array | str | BlobReference = self._blob()
        elif DTYPES[declared.dtype].kind == "string":
            content = self._string()
        else:
            content = self._array(declared)
        self._expect(")")
        return Constant(declared, content)

    def _blob(self) -> BlobReference:
        self._expect(_BLOB)
        fields = dict(self._listed("(", self._argument))
        match fields.get("path"), fields.get("offset"):
            case (Constant(content=str(file)),), (Constant(content=np.ndarray() as offset),):
                return BlobReference(file, int(offset))
        raise self._fail("path and offset")

    def _string(self) -> str:
        if not self._peek().startswith('"'):
            raise self._fail("a string")
        return re.sub(r"\\(.)", r"\1", self._take()[1:-1])

    def _array(self, declared: TensorType) -> Array:
        shape = tuple(size or 0 for size in declared.shape)
        start = self._next
        values: Any = self._nested()
        try:
            return np.asarray(values).astype(DTYPES[declared.dtype].numpy).reshape(shape)
        except (ValueError, OverflowError) as error:
            self._next = start
            raise self._fail(f"a value of {declared}") from error

    def _nested(self) -> Any:
        if self._peek() == "[":
            return self._listed("[", self._nested)
        written = self._take()
        if written in _BOOLS:
            return _BOOLS[written]
        try:
            if "x" in written:
                return float.fromhex(written)
            return float(written) if re.search(r"[.en]", written) else int(written)
        except ValueError as error:
            self._next -= 1
            raise self._fail("a number") from error
