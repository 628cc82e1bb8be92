"""Export: make every artifact in every format and precision, and verify each.

Artifacts are written into a staging folder; nothing is published here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..runtime.manifest import ArtifactRow
from .errors import ExportError, GateError
from .formats import ArtifactFormat, Candidate
from .networks import Networks, evaluation_mode
from .specs import ExportSpec, Precision
from .verification.cases import Speech
from .verification.gates import GateResult, Verifier

Log = Callable[[str], None]


@dataclass(frozen=True)
class Omission:
    """A variant that did not pass its gates and is therefore not shipped."""

    name: str
    format: str
    precision: str
    reason: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.name, self.format, self.precision


@dataclass
class ExportResult:
    """What an export made: rows of verified artifacts, and what it left out on purpose."""

    rows: list[ArtifactRow] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What is exported where to."""

    formats: Sequence[ArtifactFormat]
    precisions: tuple[Precision, ...]
    folder: Path
    log: Log


def verifier_of(spec: ExportSpec, networks: Networks, speech: Speech) -> Verifier:
    """What judges the artifacts of a spec."""
    module = evaluation_mode(spec.build, networks)
    return Verifier(spec, networks, module, spec.cases(networks, speech))


def export_artifacts(
    specs: Sequence[ExportSpec], networks: Networks, speech: Speech, plan: Plan
) -> ExportResult:
    """Make and verify the artifacts of ``specs`` in the plan's folder.

    Raises:
        GateError: an artifact failed a gate; the message has all figures.
        ExportError: a graph could not be traced or converted.
    """
    result = ExportResult()
    for spec in specs:
        started = time.perf_counter()
        plan.log(f"{spec.name}: PyTorch against the original")
        verifier = verifier_of(spec, networks, speech)
        _require(spec.name, verifier.original)
        for chosen in plan.formats:
            _export_format(verifier, chosen, plan, result)
        result.seconds[spec.name] = time.perf_counter() - started
    return result


def _export_format(
    verifier: Verifier, chosen: ArtifactFormat, plan: Plan, result: ExportResult
) -> None:
    spec = verifier.spec
    if not set(chosen.precisions(spec)) & set(plan.precisions):
        return
    judge = chosen.judge(verifier)
    for candidate in chosen.candidates(
        spec, verifier.module, verifier.networks, plan.precisions, plan.folder
    ):
        precision = candidate.description.precision
        gates = [*verifier.original, *judge(candidate.description, candidate.path)]
        failed = [gate for gate in gates if not gate.passed]
        if failed and precision in chosen.optional:
            reason = "; ".join(map(str, failed))
            result.omissions.append(Omission(spec.name, chosen.name, precision, reason))
            plan.log(f"  {chosen.name} {precision}: not shipped: {reason}")
            continue
        _require(f"{spec.name} {chosen.name} {precision}", gates)
        row = _row(chosen, candidate, gates, verifier)
        result.rows.append(row)
        plan.log(f"  {chosen.name} {precision}: {row.size_bytes / 1e6:.2f} MB, verified")


def _require(what: str, gates: list[GateResult]) -> None:
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        lines = "\n  ".join(str(gate) for gate in gates)
        raise GateError(f"{what} failed verification, nothing was published:\n  {lines}")


def _row(
    chosen: ArtifactFormat, candidate: Candidate, gates: list[GateResult], verifier: Verifier
) -> ArtifactRow:
    path = candidate.path
    return ArtifactRow(
        description=candidate.description,
        format=chosen.name,
        path=path.name,
        sha256=chosen.sha256(path),
        size_bytes=chosen.size_bytes(path),
        target=chosen.target,
        ops=chosen.ops(path),
        tools=chosen.tools(),
        gates=tuple(gate.to_json() for gate in gates),
        probe=verifier.probe,
        verified_on=chosen.verified_on(),
    )


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
