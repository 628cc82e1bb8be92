"""Repeat the gates on published artifacts: trust nothing that lies in the folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ..runtime.errors import ArtifactError, VoxportError
from ..runtime.manifest import MANIFEST_NAME, ArtifactRow, Description, Manifest
from ..runtime.probe import TOLERANCES, probe_error
from .available import FORMAT_SUFFIXES, format_of
from .formats import ArtifactFormat, Judge
from .networks import Networks
from .pipeline import Log, verifier_of
from .specs import PRECISIONS, ExportSpec
from .verification.cases import Speech
from .verification.gates import GateResult, Verifier

# Which option gives a network's checkpoint, where it is no embedding network of speakers.
_OPTIONS = {
    "segmentation": "--segmentation",
    "vggish": "--vggish-checkpoint",
    "vggish_pca": "--vggish-pca",
}
# Below this, figures are rounding of float32 alone.
_ROUNDING = 1e-5


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
        MissingDependencyError: a package that a format needs is not installed.
    """
    manifest = Manifest.read(folder / MANIFEST_NAME)
    findings = list(_stray_files(folder, manifest))
    if not manifest.artifacts:
        findings.append(Finding(MANIFEST_NAME, "lists no artifact"))
    by_name = {spec.name: spec for spec in specs}
    for name in sorted({row.name for row in manifest.artifacts}):
        rows = [row for row in manifest.artifacts if row.name == name]
        if name not in by_name:
            findings += [Finding(row.path, _unknown(row)) for row in rows]
            continue
        findings += _verify_spec(folder, rows, verifier_of(by_name[name], networks, speech), log)
    return findings


def _stray_files(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    listed = {row.path for row in manifest.artifacts}
    for path in sorted(folder.iterdir()):
        if path.suffix in FORMAT_SUFFIXES and path.name not in listed:
            yield Finding(path.name, "is not in the manifest: unverified")


def _unknown(row: ArtifactRow) -> str:
    made_of = (f"{each.get('network')} {each.get('name')}" for each in row.description.checkpoints)
    return (
        f"{row.name} is not an artifact that these checkpoints give; it was made of: "
        f"{', '.join(made_of) or 'none'}"
    )


def _verify_spec(
    folder: Path, rows: list[ArtifactRow], verifier: Verifier, log: Log
) -> Iterator[Finding]:
    variants = ", ".join(f"{row.format} {row.precision}" for row in rows)
    log(f"{verifier.spec.name}: verifying {variants}")
    for gate in verifier.original:
        if not gate.passed:
            yield Finding(verifier.spec.name, str(gate))
    for form, target in sorted({(row.format, row.target) for row in rows}):
        alike = [row for row in rows if (row.format, row.target) == (form, target)]
        try:
            chosen = format_of(form, target)
        except ArtifactError as error:
            yield from (Finding(row.path, str(error)) for row in alike)
            continue
        yield from _verify_rows(folder, alike, _Check(chosen, verifier), log)


@dataclass(frozen=True)
class _Check:
    """What the rows of one spec and format are held against."""

    chosen: ArtifactFormat
    verifier: Verifier


def _verify_rows(
    folder: Path, rows: list[ArtifactRow], check: _Check, log: Log
) -> Iterator[Finding]:
    judge = check.chosen.judge(check.verifier)
    same_tools = [row for row in rows if row.tools == check.chosen.tools()]
    rebuilt = _rebuilt(same_tools, check) if same_tools else {}
    for row in rows:
        yield from (Finding(row.path, p) for p in _row_problems(folder, row, check, judge))
        if row.sha256 == rebuilt.get(row.precision):
            continue
        if row in same_tools:
            problem = (
                f"the same tools make another file of these checkpoints (SHA-256 "
                f"{rebuilt.get(row.precision)}): other weights or another graph"
            )
            yield Finding(row.path, problem)
        else:
            log(f"  {row.path}: made with other tools, so judged by the gates and not by its bytes")


def _rebuilt(rows: list[ArtifactRow], check: _Check) -> Mapping[str, str]:
    """SHA-256 by precision of the artifacts as this machine makes them.

    Exports are reproducible, so that even a change that no gate can feel (a filter scaled before
    a normalisation, a weight's last bit) shows.
    """
    wanted = tuple(p for p in PRECISIONS if any(p == row.precision for row in rows))
    verifier = check.verifier
    with tempfile.TemporaryDirectory() as folder:
        candidates = check.chosen.candidates(
            verifier.spec, verifier.module, verifier.networks, wanted, Path(folder)
        )
        return {each.description.precision: check.chosen.sha256(each.path) for each in candidates}


def _row_problems(folder: Path, row: ArtifactRow, check: _Check, judge: Judge) -> Iterator[str]:
    chosen, path = check.chosen, folder / row.path
    declared = [p for p in chosen.precisions(check.verifier.spec) if p == row.precision]
    if not declared:
        yield f"{row.format} {row.precision} is not a variant of {row.name}"
        return
    if not path.exists():
        yield "unreadable: it is not there"
        return
    try:
        digest = chosen.sha256(path)
        if digest != row.sha256:
            yield f"SHA-256 is {digest}, but {row.sha256} was published: the file has changed"
        expected = chosen.describe(check.verifier.spec, declared[0], check.verifier.networks)
        yield from _description_problems(row, expected)
        gates = judge(expected, path)
        yield from (str(gate) for gate in gates if not gate.passed)
        yield from _manifest_problems(row, chosen, path)
    except VoxportError as error:  # a file that cannot be judged, or fails when it runs
        yield str(error)
        return
    except OSError as error:
        yield f"unreadable: {error}"
        return
    held = [*check.verifier.original, *gates]
    yield from _gate_problems(row, held)
    if row.tools == chosen.tools() and row.verified_on == chosen.verified_on():
        yield from _figure_problems(row, held)
    yield from _probe_problems(row, check.verifier)


def _description_problems(row: ArtifactRow, expected: Description) -> Iterator[str]:
    """What the manifest describes otherwise than an export of these checkpoints would."""
    given = {c["network"]: c for c in expected.checkpoints}
    for made_of in row.description.checkpoints:
        network = str(made_of.get("network"))
        if network in given and made_of.get("sha256") != given[network]["sha256"]:
            option = _OPTIONS.get(network, "--embedding-checkpoint")
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
    for gate in row.gates:
        if gate.get("passed") is not True:
            yield f"the manifest lists a gate that did not pass: {gate.get('gate')}"


def _figure_problems(row: ArtifactRow, gates: list[GateResult]) -> Iterator[str]:
    """Figures that are not those that the same tools measure on such a machine."""
    for stated, held in zip(row.gates, gates, strict=False):
        for name, value in held.figures.items():
            figure = stated["figures"].get(name)
            if not isinstance(figure, int | float) or _differs(float(figure), value):
                yield (
                    f"the manifest says {name} {figure} for {held.gate} / {held.output}, measured "
                    f"is {value:.4g}"
                )


def _differs(stated: float, measured: float) -> bool:
    """By more than a factor of two: kernels of other processors round in another order."""
    return not abs(stated - measured) <= _ROUNDING + 0.5 * max(abs(stated), abs(measured))


def _probe_problems(row: ArtifactRow, verifier: Verifier) -> Iterator[str]:
    """The stored probe must ask what this export asks, and know the answer."""
    if row.probe.get("inputs") != verifier.probe["inputs"]:
        yield f"its probe asks {row.probe.get('inputs')}, not {verifier.probe['inputs']}"
        return
    error = probe_error(row.probe, verifier.probe_outputs, row.path)
    if not error <= TOLERANCES["fp32"]:
        yield f"the answer of its probe is off by {error:.3g}"


def _manifest_problems(row: ArtifactRow, chosen: ArtifactFormat, path: Path) -> Iterator[str]:
    """Facts of the manifest that the artifact contradicts."""
    facts = {
        "size_bytes": chosen.size_bytes(path),
        "ops": chosen.ops(path),
        "target": chosen.target,
    }
    for name, value in facts.items():
        if getattr(row, name) != value:
            yield f"the manifest says {name} {getattr(row, name)}, but the file has {value}"
