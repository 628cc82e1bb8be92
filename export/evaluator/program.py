"""Programs that are loaded once and run many times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...runtime.errors import InputError
from .arithmetic import ARITHMETICS, Arithmetic, Mode
from .errors import ProgramFormatError
from .executor import Executor
from .kernels.registry import Cell
from .mil_text import read_compiled
from .package import read_package
from .types import DTYPES, Array, Arrays, Function, NamedType, StoredProgram
from .weights import WeightStore

_READERS = {".mlpackage": read_package, ".mlmodelc": read_compiled}


class Program:
    """A stored ML Program. Constants are expanded once per function and mode, and kept."""

    def __init__(self, stored: StoredProgram) -> None:
        self._stored = stored
        self._weights = WeightStore(stored.model_folder)
        self._executors: dict[tuple[str, Mode], Executor] = {}

    @property
    def path(self) -> Path:
        return self._stored.path

    @property
    def functions(self) -> tuple[str, ...]:
        """Names of the functions, the default one first."""
        default = self._stored.default_function
        return (default, *(name for name in self._stored.functions if name != default))

    @property
    def ops(self) -> dict[str, int]:
        """How often each op occurs in the default function, constants not counted."""
        return self.function().ops

    def function(self, name: str | None = None) -> Function:
        """A function as it was read: inputs, operations, outputs.

        Raises:
            InputError: there is none of that name.
        """
        chosen = self._stored.default_function if name is None else name
        if chosen not in self._stored.functions:
            raise InputError(f"{self.path}: no function {chosen!r}, only {self.functions}")
        return self._stored.functions[chosen]

    def run(
        self, inputs: Mapping[str, Array], mode: Mode = "exact", function: str | None = None
    ) -> Arrays:
        """Outputs by name; see ``evaluate``."""
        if mode not in ARITHMETICS:
            raise InputError(f"mode must be one of {tuple(ARITHMETICS)}, got {mode!r}")
        chosen, arithmetic = self.function(function), ARITHMETICS[mode]
        cells = _checked_inputs(chosen, inputs, arithmetic)
        key = (chosen.name, mode)
        if key not in self._executors:
            self._executors[key] = Executor(chosen, self._weights, arithmetic)
        results = self._executors[key].run(cells)
        return {
            name: arithmetic.released(cell.content, cell.dtype)
            for name, cell in results.items()
            if not isinstance(cell.content, str)
        }


def load_program(path: str | Path) -> Program:
    """Read an ``.mlpackage`` or ``.mlmodelc``; weights are read when they are used.

    Raises:
        ProgramFormatError: there is none, or it is damaged.
        MissingDependencyError: an ``.mlpackage`` needs coremltools, which is not installed.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix)
    if reader is None or not path.is_dir():
        raise ProgramFormatError(f"{path}: expected a folder named {' or '.join(_READERS)}")
    return Program(reader(path))


def evaluate(
    path: str | Path,
    inputs: Mapping[str, Array],
    mode: Mode = "exact",
    function: str | None = None,
) -> Arrays:
    """Execute a stored program.

    Args:
        path: an ``.mlpackage`` or ``.mlmodelc`` folder.
        inputs: arrays by name, of the declared shapes.
        mode: ``exact`` computes in float64 and rounds nothing: it shows whether the program has
            the right structure. ``stored`` rounds every result to its declared type: it shows
            what FP16 costs.
        function: of a package with several; by default its default function.

    Returns:
        Outputs by name; floats are float64 in exact mode, else of their declared type.

    Raises:
        EvaluatorError: the program is damaged, has an op without a kernel, or contradicts itself.
        InputError: the inputs do not fit.
    """
    return load_program(path).run(inputs, mode, function)


def _checked_inputs(
    function: Function, inputs: Mapping[str, Array], arithmetic: Arithmetic
) -> dict[str, Cell]:
    expected = {each.name for each in function.inputs}
    if set(inputs) != expected:
        raise InputError(f"expected inputs {sorted(expected)}, got {sorted(inputs)}")
    return {each.name: _input_cell(each, inputs[each.name], arithmetic) for each in function.inputs}


_ACCEPTED_KINDS = {"float": "f", "int": "iu", "bool": "b", "string": ""}


def _input_cell(declared: NamedType, value: Array, arithmetic: Arithmetic) -> Cell:
    array, dtype = np.asarray(value), declared.type.dtype
    is_kind = array.dtype.kind in _ACCEPTED_KINDS[DTYPES[dtype].kind]
    if not is_kind or not declared.type.accepts(array.shape):
        found = f"{array.dtype}{list(array.shape)}"
        raise InputError(f"input {declared.name!r}: expected {declared.type}, got {found}")
    return Cell(arithmetic.hold(array, dtype), dtype)
