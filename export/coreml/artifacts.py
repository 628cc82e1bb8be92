"""Core ML packages as artifacts: made on any machine, and run wherever they are judged.

On a Mac the numbers and decisions are those of Apple's runtime. Elsewhere, and for the structure
everywhere, the stored program is executed by voxport's own evaluator.
"""

from __future__ import annotations

import copy
import platform
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ...runtime.coreml_session import CoreMLSession
from ...runtime.manifest import Description
from ...runtime.package import package_sha256, package_size
from ..evaluator import Mode, Program, load_program
from ..formats import ArtifactFormat, Candidate, Judge, described
from ..networks import Networks
from ..specs import Arrays, ExportSpec, Precision
from ..verification.fitting import fitted_cases
from ..verification.gates import GateResult, Runner, Verifier
from .convert import convert, precisions, to_precision, write_package
from .shapes import FunctionShapes, Target, function_shapes
from .structure import limits, problems, read_structure


class CoreMLFormat(ArtifactFormat):
    """One ``.mlpackage`` folder per artifact and precision, for a deployment target."""

    name = "coreml"
    suffix = ".mlpackage"
    optional = frozenset({"w8"})
    tool_names = ("torch", "coremltools", "numpy")

    def __init__(self, target: Target = "iOS17") -> None:
        self.target: Target = target

    def precisions(self, spec: ExportSpec) -> tuple[Precision, ...]:
        return precisions(spec)

    def describe(self, spec: ExportSpec, precision: Precision, networks: Networks) -> Description:
        """As for any format, with the sizes that the package's functions take."""
        functions = function_shapes(spec, self.target)
        ranges = functions[0].ranges
        named = {
            axis for tensor in spec.inputs for axis in tensor.axes if isinstance(axis, str)
        } - set(ranges)
        return replace(
            described(spec, precision, networks),
            minimums={axis: limits.low for axis, limits in ranges.items()},
            maximums={axis: limits.high for axis, limits in ranges.items()},
            sizes={axis: tuple(dict.fromkeys(f.sizes[axis] for f in functions)) for axis in named},
        )

    def candidates(
        self,
        spec: ExportSpec,
        module: nn.Module,
        networks: Networks,
        wanted: tuple[Precision, ...],
        folder: Path,
    ) -> Iterator[Candidate]:
        chosen = [precision for precision in precisions(spec) if precision in wanted]
        if not chosen:
            return
        reference = convert(spec, module, self.target)
        for precision in chosen:
            description = self.describe(spec, precision, networks)
            path = self.path_of(folder, description)
            write_package(to_precision(reference, precision), description, path)
            yield Candidate(description, path)

    def judge(self, verifier: Verifier) -> Judge:
        return _PackageJudge(verifier, self.target)

    def sha256(self, path: Path) -> str:
        return package_sha256(path)

    def size_bytes(self, path: Path) -> int:
        return package_size(path)

    def ops(self, path: Path) -> dict[str, int]:
        return read_structure(path).ops

    def verified_on(self) -> str:
        """``linux-evaluator``, or ``coreml 14.5 Apple M2`` on a Mac."""
        if platform.system() != "Darwin":
            return f"{platform.system().lower()}-evaluator"
        chip = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True
        )
        return f"coreml {platform.mac_ver()[0]} {chip.stdout.strip()}"


class _PackageJudge:
    """The gates of one spec's packages.

    ``exact``: float64 against float64 shows that the program is the network, to 1e-4, whatever
    rounding would hide. ``pytorch``: as stored, or on Apple's runtime, to the precision's limits.
    """

    def __init__(self, verifier: Verifier, target: Target) -> None:
        self._target = target
        self._functions = function_shapes(verifier.spec, target)
        self._fitted = {shapes.function: self._fit(verifier, shapes) for shapes in self._functions}
        self._default = self._fitted[self._functions[0].function]
        module = copy.deepcopy(verifier.module).double()
        self._exact = replace(self._default, module=module, dtype=np.float64, outputs_by_case={})

    def _fit(self, verifier: Verifier, shapes: FunctionShapes) -> Verifier:
        cases = fitted_cases(verifier.cases, verifier.spec.inputs, shapes.sizes, shapes.bounds)
        return replace(verifier, cases=cases, outputs_by_case={})

    def __call__(self, description: Description, path: Path) -> list[GateResult]:
        spec, precision = self._default.spec, description.precision
        found = tuple(problems(spec, description, self._target, path))
        structure = GateResult("structure", "graph", {}, limits(spec, precision), found)
        if found:
            return [structure]
        program = load_program(path)
        gates = [structure]
        if precision == "fp32":
            gates += self._exact.exact(_evaluated(program, "exact"))
        run = _runner(program, path)
        for name, verifier in self._fitted.items():
            gate = "pytorch" if len(self._fitted) == 1 else f"pytorch {name}"
            gates += verifier.artifact(precision, run(name), gate)
        return [*gates, self._default.probes(precision, run(self._functions[0].function))]


def _runner(program: Program, path: Path) -> Callable[[str], Runner]:
    """What runs a function of a package here."""
    if platform.system() != "Darwin":
        return lambda function: _evaluated(program, "stored", function)
    session = CoreMLSession(path)

    def run(inputs: Arrays) -> Arrays:
        return session.run(**inputs)

    return lambda _: run  # a session chooses the function by the inputs' batch


def _evaluated(program: Program, mode: Mode, function: str | None = None) -> Runner:
    def run(inputs: Arrays) -> Arrays:
        outputs: dict[str, Any] = program.run(inputs, mode, function)
        # Exact results are float64; to compare them to 1e-4 float32 does.
        return {name: np.asarray(value, np.float32) for name, value in outputs.items()}

    return run
