"""ONNX files as artifacts: made, run through the session that users run, and described."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from pathlib import Path

import onnx
from torch import nn

from ..runtime.errors import ArtifactError
from ..runtime.manifest import Description
from ..runtime.onnx_runtime import import_onnxruntime
from ..runtime.onnx_session import OnnxSession
from ..runtime.options import Options
from .formats import ArtifactFormat, Candidate, Judge, described
from .half import to_half
from .networks import Networks
from .onnx_graph import OPSET, trace, with_description
from .quantise import to_int8
from .specs import Arrays, ExportSpec, Precision
from .verification.gates import GateResult, Verifier
from .verification.structure import Structure, op_histogram

# Figures must not depend on the number of cores.
_ONE_THREAD = Options(intra_op_threads=1)
# Mixed precision adds a cast per border, 8-bit weights a node per convolution.
_EXTRA_NODES = {"fp32": 0, "fp16": 40, "int8": 250}


class OnnxFormat(ArtifactFormat):
    """One ``.onnx`` file per artifact and precision."""

    name = "onnx"
    suffix = ".onnx"
    target = f"opset{OPSET}"
    optional = frozenset({"int8"})
    tool_names = ("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxsim", "numpy")

    def precisions(self, spec: ExportSpec) -> tuple[Precision, ...]:
        half: tuple[Precision, ...] = ("fp16",) if spec.half_scopes else ()
        quantised: tuple[Precision, ...] = ("int8",) if spec.int8 else ()
        return ("fp32", *half, *quantised)

    def describe(self, spec: ExportSpec, precision: Precision, networks: Networks) -> Description:
        return described(spec, precision, networks)

    def candidates(
        self,
        spec: ExportSpec,
        module: nn.Module,
        networks: Networks,
        wanted: tuple[Precision, ...],
        folder: Path,
    ) -> Iterator[Candidate]:
        for precision, model in self.variants(spec, module, wanted):
            description = self.describe(spec, precision, networks)
            path = self.path_of(folder, description)
            path.write_bytes(with_description(model, description))
            yield Candidate(description, path)

    def variants(
        self, spec: ExportSpec, module: nn.Module, wanted: tuple[Precision, ...]
    ) -> Iterator[tuple[Precision, onnx.ModelProto]]:
        """The graph in every precision that is both wanted and declared."""
        fp32 = trace(spec, module)
        for precision in self.precisions(spec):
            if precision not in wanted:
                continue
            if precision == "fp32":
                yield precision, fp32
            elif precision == "fp16":
                yield precision, to_half(fp32, spec.stays_fp32)
            elif spec.int8 is not None:
                yield precision, to_int8(fp32, spec.int8)

    def judge(self, verifier: Verifier) -> Judge:
        def gates(description: Description, path: Path) -> list[GateResult]:
            content = path.read_bytes()
            structure = _structure_gate(verifier.spec, description, content)
            if not structure.passed:
                return [structure]
            session = OnnxSession(content, path.name, options=_ONE_THREAD)

            def run(inputs: Arrays) -> Arrays:
                return session.run(**inputs)

            precision = description.precision
            return [structure, *verifier.artifact(precision, run), verifier.probes(precision, run)]

        return gates

    def sha256(self, path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def size_bytes(self, path: Path) -> int:
        return path.stat().st_size

    def ops(self, path: Path) -> dict[str, int]:
        try:
            return op_histogram(onnx.load_from_string(path.read_bytes()))
        except Exception as error:
            raise ArtifactError(f"{path.name}: not an ONNX file: {error}") from error

    def verified_on(self) -> str:
        """Engine, provider and platform."""
        ort = import_onnxruntime()
        return f"onnxruntime {ort.__version__} CPU, {platform.system()} {platform.machine()}"


def _structure_gate(spec: ExportSpec, description: Description, content: bytes) -> GateResult:
    limit = spec.max_nodes + _EXTRA_NODES[description.precision]
    problems = Structure(description, OPSET, limit).problems(content)
    return GateResult("structure", "graph", {}, {"nodes": limit}, tuple(problems))
