"""Export: trace, make every precision, verify each, and only then publish all of them."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import onnx
from torch import nn

from ..runtime.manifest import ArtifactRow, Description
from ..runtime.onnx_runtime import import_onnxruntime
from ..runtime.session import Session
from .errors import ExportError, GateError
from .half import to_half
from .networks import Networks, evaluation_mode
from .onnx_graph import OPSET, trace, with_description
from .publishing import Staged, sha256_hex
from .quantise import to_int8
from .specs import Arrays, ExportSpec, Precision
from .verification.cases import Speech
from .verification.gates import GateResult, Verifier
from .verification.structure import Structure, op_histogram

Log = Callable[[str], None]
# Mixed precision adds a cast per border, 8-bit weights a node per convolution.
_EXTRA_NODES = {"fp32": 0, "fp16": 40, "int8": 250}
_TOOLS = ("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxsim", "numpy")


@dataclass(frozen=True)
class Omission:
    """A precision that did not pass its gates and is therefore not shipped."""

    name: str
    precision: str
    reason: str


@dataclass
class ExportResult:
    """What an export made: staged artifacts, and what it left out on purpose."""

    staged: list[Staged] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def file_name(name: str, precision: str) -> str:
    """``segmentation.fp16.onnx``"""
    return f"{name}.{precision}.onnx"


def describe(spec: ExportSpec, precision: str, networks: Networks) -> Description:
    """The description that goes into the file and the manifest."""
    provenances = [(network, networks.provenance(network)) for network in spec.requires]
    return Description(
        name=spec.name,
        precision=precision,
        inputs=spec.inputs,
        outputs=spec.outputs,
        minimums=dict(spec.minimums),
        recipe=spec.recipe(networks),
        checkpoints=tuple(
            {
                "network": network,
                "name": provenance.name,
                "origin": provenance.origin,
                "licence": provenance.licence,
                "sha256": provenance.sha256,
            }
            for network, provenance in provenances
        ),
        voxport_version=version("voxport"),
    )


def structure_gate(spec: ExportSpec, description: Description, content: bytes) -> GateResult:
    """The structure gate of one file."""
    limit = spec.max_nodes + _EXTRA_NODES[description.precision]
    problems = Structure(description, OPSET, limit).problems(content)
    return GateResult("structure", "graph", {}, {"nodes": limit}, tuple(problems))


def artifact_gates(
    verifier: Verifier, description: Description, content: bytes
) -> list[GateResult]:
    """Structure, then numbers and decisions through the session that users run."""
    structure = structure_gate(verifier.spec, description, content)
    if not structure.passed:
        return [structure]
    session = Session(content, f"{description.name} ({description.precision})", threads=1)

    def run(inputs: Arrays) -> Arrays:
        return session.run(**inputs)

    return [structure, *verifier.artifact(description.precision, run)]


def verified_on() -> str:
    """Where the artifacts were run: engine, provider and platform."""
    ort = import_onnxruntime()
    return f"onnxruntime {ort.__version__} CPU, {platform.system()} {platform.machine()}"


def tool_versions() -> dict[str, str]:
    """Versions of what took part, for the manifest."""
    found = {"python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # the other ONNX Runtime wheel
            continue
    return found


def export_artifacts(
    specs: list[ExportSpec],
    networks: Networks,
    speech: Speech,
    precisions: tuple[Precision, ...],
    log: Log,
) -> ExportResult:
    """Make and verify the artifacts of ``specs``; nothing is written to disk.

    Raises:
        GateError: an artifact failed a gate; the message has all figures.
        ExportError: a graph could not be traced.
    """
    result = ExportResult()
    for spec in specs:
        started = time.perf_counter()
        log(f"{spec.name}: tracing")
        module = evaluation_mode(spec.build, networks)
        verifier = Verifier(spec, networks, module, spec.cases(networks, speech))
        _export_spec(verifier, precisions, result, log)
        result.seconds[spec.name] = time.perf_counter() - started
    return result


def _export_spec(
    verifier: Verifier, precisions: tuple[Precision, ...], result: ExportResult, log: Log
) -> None:
    spec = verifier.spec
    original = verifier.reauthored()
    _require(spec.name, original)
    for precision, model in variants(spec, verifier.module, precisions):
        description = describe(spec, precision, verifier.networks)
        content = with_description(model, description)
        gates = [*original, *artifact_gates(verifier, description, content)]
        failed = [gate for gate in gates if not gate.passed]
        if failed and precision == "int8":
            reason = "; ".join(map(str, failed))
            result.omissions.append(Omission(spec.name, precision, reason))
            log(f"  {precision}: not shipped: {reason}")
            continue
        _require(f"{spec.name} {precision}", gates)
        result.staged.append(_staged(description, content, gates))
        log(f"  {precision}: {len(content) / 1e6:.2f} MB, verified")


def variants(
    spec: ExportSpec, module: nn.Module, precisions: tuple[Precision, ...]
) -> Iterator[tuple[Precision, onnx.ModelProto]]:
    """The graph in every precision that is both wanted and declared."""
    fp32 = trace(spec, module)
    for precision in spec.precisions:
        if precision not in precisions:
            continue
        if precision == "fp32":
            yield precision, fp32
        elif precision == "fp16":
            yield precision, to_half(fp32, spec.stays_fp32)
        elif spec.int8 is not None:
            yield precision, to_int8(fp32, spec.int8)


def _require(what: str, gates: list[GateResult]) -> None:
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        lines = "\n  ".join(str(gate) for gate in gates)
        raise GateError(f"{what} failed verification, nothing was published:\n  {lines}")


def _staged(description: Description, content: bytes, gates: list[GateResult]) -> Staged:
    model = onnx.load_from_string(content)
    row = ArtifactRow(
        description=description,
        format="onnx",
        path=file_name(description.name, description.precision),
        sha256=sha256_hex(content),
        size_bytes=len(content),
        opset=OPSET,
        ops=op_histogram(model),
        tools=tool_versions(),
        gates=tuple(gate.to_json() for gate in gates),
        verified_on=verified_on(),
    )
    return Staged(row, content)


def selected(specs: list[ExportSpec], only: tuple[str, ...]) -> list[ExportSpec]:
    """The specs named in ``only``, or all.

    Raises:
        ExportError: a name that no spec has.
    """
    names = [spec.name for spec in specs]
    unknown = sorted(set(only) - set(names))
    if unknown:
        raise ExportError(f"no artifact {unknown}; there are: {', '.join(names)}")
    return [spec for spec in specs if not only or spec.name in only]


def log_to_stderr(message: str) -> None:
    """Progress for people; standard output stays clean."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
