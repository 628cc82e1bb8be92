"""The two jobs of the export side, from networks to a published or verified folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import ArtifactError
from ..runtime.manifest import MANIFEST_NAME, Manifest
from .available import FORMATS
from .configuration import configured, recorded_configurations
from .coreml.artifacts import CoreMLFormat
from .coreml.shapes import Target
from .coreml.third_party import third_party
from .coreml.tools import import_coremltools
from .errors import ExportError
from .formats import ArtifactFormat
from .networks import Networks
from .onnx_format import OnnxFormat
from .pipeline import ExportResult, Plan, export_artifacts, log_to_stderr, selected
from .publishing import (
    REPORT_NAME,
    complete_interrupted,
    existing_manifest,
    locked,
    merged,
    publish,
    staging,
)
from .report import report
from .specs import PRECISIONS, ExportSpec, Precision, export_specs
from .speech import verification_speech
from .verify import verify_folder


def _post_embedding_options(folder: Path) -> dict[str, float]:
    """The options that ``post_embedding`` was exported with, as far as the manifest has them."""
    options: dict[str, float] = {}
    for row in Manifest.read(folder / MANIFEST_NAME).artifacts:
        if row.name == "post_embedding":
            for option in ("activity_threshold_frames", "min_duration_s"):
                value = row.description.recipe.get(option)
                if not isinstance(value, int | float) or not 0 <= value < math.inf:
                    raise ArtifactError(f"{folder}: post_embedding has {option} {value!r}")
                options[option] = float(value)
    return options


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and how.

    Attributes:
        formats: of ``onnx`` and ``coreml``.
        target: deployment target of Core ML packages, ``iOS17`` or ``iOS18``.
        precisions: those wanted; every graph comes in those of them that it is declared in.
        only: names of artifacts; all of them if empty.
        activity_threshold_frames: ``post_embedding``'s, in frames.
        min_duration_s: ``post_embedding``'s, in seconds.
        settings: of graphs that can be configured, each ``artifact.name=value``.
    """

    formats: tuple[str, ...] = FORMATS
    target: Target = "iOS17"
    precisions: tuple[str, ...] = PRECISIONS
    only: tuple[str, ...] = ()
    activity_threshold_frames: float = 10.0
    min_duration_s: float = 1.0
    settings: tuple[str, ...] = ()


def run_export(
    networks: Networks, folder: Path, options: ExportOptions | None = None
) -> ExportResult:
    """Make, verify and publish artifacts into ``folder``; what it already has is kept.

    Raises:
        GateError: an artifact failed verification; the folder is unchanged.
        ExportError: an unknown artifact, format, precision or setting, or a folder that cannot be
            written.
        MissingDependencyError: Core ML packages are wanted and coremltools is not installed.
    """
    options = options or ExportOptions()
    formats = _formats(options)
    specs = export_specs(
        networks,
        activity_threshold_frames=options.activity_threshold_frames,
        min_duration_s=options.min_duration_s,
        configurations=configured(options.settings),
    )
    if "vggish" in options.only:
        networks.required_vggish()
    chosen = selected(specs, options.only)
    precisions = _precisions(options, formats, chosen)
    log = log_to_stderr
    with locked(folder, log), staging(folder) as stage:
        old = existing_manifest(folder)
        plan = Plan(formats, precisions, stage, log)
        result = export_artifacts(chosen, networks, verification_speech(), plan)
        manifest = merged(old, result.rows, {omission.key for omission in result.omissions})
        text = report(manifest, result.omissions, third_party(manifest))
        publish(folder, stage, manifest=manifest, report=text)
    if networks.vggish is None and not options.only:
        log("vggish: not made, for want of a checkpoint (--vggish-checkpoint FILE)")
    kept = {row.key for row in manifest.artifacts}
    for row in old.artifacts:
        if row.key not in kept:
            log(f"removed {row.path}: it does not belong to this export")
    seconds = sum(result.seconds.values())
    log(
        f"{len(result.rows)} artifacts verified and published in {folder} ({seconds:.0f} s); "
        f"see {folder / REPORT_NAME}"
    )
    return result


def _formats(options: ExportOptions) -> list[ArtifactFormat]:
    """The formats wanted; what they need is installed."""
    unknown = set(options.formats) - set(FORMATS)
    if unknown or not options.formats:
        raise ExportError(f"formats must be of {FORMATS}, got {options.formats}")
    if CoreMLFormat.name in options.formats:
        import_coremltools()
    made = (OnnxFormat(), CoreMLFormat(options.target))
    return [each for each in made if each.name in options.formats]


def _precisions(
    options: ExportOptions, formats: list[ArtifactFormat], specs: list[ExportSpec]
) -> tuple[Precision, ...]:
    """The precisions wanted, of which there is at least one to make."""
    if set(options.precisions) - set(PRECISIONS):
        raise ExportError(f"precisions must be of {PRECISIONS}, got {options.precisions}")
    wanted = tuple(p for p in PRECISIONS if p in options.precisions)
    if not any(set(each.precisions(spec)) & set(wanted) for each in formats for spec in specs):
        names = ", ".join(spec.name for spec in specs)
        ways = " or ".join(each.name for each in formats)
        raise ExportError(f"none of {names} comes in {', '.join(wanted)} as {ways}")
    return wanted


def run_verify(networks: Networks, folder: Path) -> int:
    """Repeat the gates on ``folder``; returns 0 if all is well, 1 with findings on stderr.

    What can be chosen at export is verified as its manifest states it.

    Raises:
        ArtifactError: no manifest, or a damaged one.
    """
    complete_interrupted(folder, log_to_stderr)
    options = _post_embedding_options(folder)
    for option, value in options.items():
        log_to_stderr(f"post_embedding: {option} {value:g}, as the manifest says")
    configurations = recorded_configurations(Manifest.read(folder / MANIFEST_NAME).artifacts)
    specs = export_specs(networks, configurations=configurations, **options)
    findings = verify_folder(folder, specs, networks, verification_speech(), log_to_stderr)
    for finding in findings:
        log_to_stderr(f"FAILED {finding}")
    verdict = f"{len(findings)} problems" if findings else "all artifacts pass"
    log_to_stderr(f"{folder}: {verdict}")
    return 1 if findings else 0
