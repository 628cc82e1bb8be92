"""Repeat the gates on published files: trust nothing that lies in the folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ..runtime.errors import ArtifactError
from ..runtime.manifest import MANIFEST_NAME, ArtifactRow, Description, Manifest
from .networks import Networks, evaluation_mode
from .onnx_graph import OPSET, with_description
from .pipeline import Log, artifact_gates, describe, tool_versions, variants
from .publishing import sha256_hex
from .specs import PRECISIONS, ExportSpec
from .verification.cases import Speech
from .verification.gates import GateResult, Verifier
from .verification.structure import op_histogram


@dataclass(frozen=True)
class Finding:
    """Something wrong with a published artifact."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def verify_folder(
    folder: Path, specs: list[ExportSpec], networks: Networks, speech: Speech, log: Log
) -> list[Finding]:
    """Check every artifact of a folder: files, hashes, descriptions, then all gates.

    ``specs`` and ``networks`` are those of the checkpoints that the artifacts were made of.

    Raises:
        ArtifactNotFoundError: the folder has no manifest.
        ArtifactError: the manifest is damaged.
    """
    manifest = Manifest.read(folder / MANIFEST_NAME)
    findings = list(_stray_files(folder, manifest))
    if not manifest.artifacts:
        findings.append(Finding(MANIFEST_NAME, "lists no artifact"))
    by_name = {spec.name: spec for spec in specs}
    for name in sorted({row.name for row in manifest.artifacts}):
        rows = [row for row in manifest.artifacts if row.name == name]
        if name not in by_name:
            problem = f"{name} is not an artifact that these checkpoints give"
            findings += [Finding(row.path, problem) for row in rows]
            continue
        log(f"{name}: verifying {', '.join(row.precision for row in rows)}")
        verifier = _verifier(by_name[name], networks, speech)
        findings += _verify_rows(folder, rows, verifier, log)
    return findings


def _stray_files(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    listed = {row.path for row in manifest.artifacts}
    for path in sorted(folder.glob("*.onnx")):
        if path.name not in listed:
            yield Finding(path.name, "is not in the manifest: unverified")


def _verifier(spec: ExportSpec, networks: Networks, speech: Speech) -> Verifier:
    module = evaluation_mode(spec.build, networks)
    return Verifier(spec, networks, module, spec.cases(networks, speech))


def _verify_rows(
    folder: Path, rows: list[ArtifactRow], verifier: Verifier, log: Log
) -> Iterator[Finding]:
    original = verifier.reauthored()
    for gate in original:
        if not gate.passed:
            yield Finding(verifier.spec.name, str(gate))
    rebuilt = _rebuilt(rows, verifier)
    for row in rows:
        yield from (Finding(row.path, p) for p in _row_problems(folder, row, verifier, original))
        if row.sha256 == rebuilt.get(row.precision):
            continue
        if row.tools == tool_versions():
            problem = (
                f"the same tools make another file of these checkpoints (SHA-256 "
                f"{rebuilt.get(row.precision)}): other weights or another graph"
            )
            yield Finding(row.path, problem)
        else:
            log(f"  {row.path}: made with other tools, so judged by the gates and not by its bytes")


def _rebuilt(rows: list[ArtifactRow], verifier: Verifier) -> Mapping[str, str]:
    """SHA-256 by precision of the files as this machine makes them.

    Exports are reproducible, so that even a change that no gate can feel (a filter scaled before
    a normalisation, a weight's last bit) shows.
    """
    wanted = tuple(p for p in PRECISIONS if any(p == row.precision for row in rows))
    hashes: dict[str, str] = {}
    for precision, model in variants(verifier.spec, verifier.module, wanted):
        description = describe(verifier.spec, precision, verifier.networks)
        hashes[precision] = sha256_hex(with_description(model, description))
    return hashes


def _row_problems(
    folder: Path, row: ArtifactRow, verifier: Verifier, original: list[GateResult]
) -> Iterator[str]:
    if row.precision not in verifier.spec.precisions or row.format != "onnx":
        yield f"{row.format} {row.precision} is not a variant of {row.name}"
        return
    try:
        content = (folder / row.path).read_bytes()
    except OSError as error:
        yield f"unreadable: {error}"
        return
    digest = sha256_hex(content)
    if digest != row.sha256:
        yield f"SHA-256 is {digest}, but {row.sha256} was published: the file has changed"
    expected = describe(verifier.spec, row.precision, verifier.networks)
    yield from _description_problems(row, expected)
    try:
        gates = artifact_gates(verifier, expected, content)
    except ArtifactError as error:
        yield str(error)
        return
    yield from (str(gate) for gate in gates if not gate.passed)
    yield from _manifest_problems(row, content)
    yield from _gate_problems(row, [*original, *gates])


def _description_problems(row: ArtifactRow, expected: Description) -> Iterator[str]:
    """What the manifest describes otherwise than an export of these checkpoints would."""
    given = {c["network"]: c for c in expected.checkpoints}
    for made_of in row.description.checkpoints:
        network = str(made_of.get("network"))
        if network in given and made_of.get("sha256") != given[network]["sha256"]:
            option = "--segmentation" if network == "segmentation" else "--embedding-checkpoint"
            yield (
                f"made of {network} checkpoint {made_of.get('name')} (SHA-256 "
                f"{made_of.get('sha256')}), verified against {given[network]['name']}: "
                f"pass {option}"
            )
            return
    for item in fields(Description):
        stated, exported = getattr(row.description, item.name), getattr(expected, item.name)
        if stated != exported:
            yield f"the manifest describes {item.name} {stated}, but the export gives {exported}"


def _gate_problems(row: ArtifactRow, gates: list[GateResult]) -> Iterator[str]:
    """The manifest must list just the gates that there are, with their limits."""
    stated = [(gate.get("gate"), gate.get("output"), gate.get("limits")) for gate in row.gates]
    held = [(gate.gate, gate.output, gate.limits) for gate in gates]
    if stated != held:
        yield f"the manifest lists gates {stated}, but there are {held}"


def _manifest_problems(row: ArtifactRow, content: bytes) -> Iterator[str]:
    """Facts of the manifest that the file contradicts."""
    import onnx  # noqa: PLC0415 -- only to count the nodes of a file that the gates have accepted

    try:
        ops = op_histogram(onnx.load_from_string(content))
    except Exception as error:
        yield f"not an ONNX file: {error}"
        return
    facts = {"size_bytes": len(content), "ops": ops, "opset": OPSET}
    for name, value in facts.items():
        if getattr(row, name) != value:
            yield f"the manifest says {name} {getattr(row, name)}, but the file has {value}"
    for gate in row.gates:
        if gate.get("passed") is not True:
            yield f"the manifest lists a gate that did not pass: {gate.get('gate')}"
