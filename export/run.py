"""The two jobs of the export side, from networks to a published or verified folder."""

from __future__ import annotations

import math
from pathlib import Path

from ..runtime.errors import ArtifactError
from ..runtime.manifest import MANIFEST_NAME, Manifest
from .errors import ExportError
from .networks import Networks
from .pipeline import ExportResult, export_artifacts, log_to_stderr, selected
from .publishing import (
    REPORT_NAME,
    complete_interrupted,
    existing_manifest,
    locked,
    merged,
    publish,
)
from .report import report
from .specs import PRECISIONS, export_specs
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


def run_export(  # noqa: PLR0913 -- one keyword per command-line option
    networks: Networks,
    folder: Path,
    *,
    precisions: tuple[str, ...] = PRECISIONS,
    only: tuple[str, ...] = (),
    activity_threshold_frames: float = 10.0,
    min_duration_s: float = 1.0,
) -> ExportResult:
    """Make, verify and publish artifacts into ``folder``; what it already has is kept.

    Raises:
        GateError: an artifact failed verification; the folder is unchanged.
        ExportError: an unknown artifact or precision, or a folder that cannot be written.
    """
    wanted = tuple(p for p in PRECISIONS if p in precisions)
    if set(precisions) - set(PRECISIONS):
        raise ExportError(f"precisions must be of {PRECISIONS}, got {precisions}")
    specs = export_specs(
        networks,
        activity_threshold_frames=activity_threshold_frames,
        min_duration_s=min_duration_s,
    )
    chosen = selected(specs, only)
    if not any(set(spec.precisions) & set(wanted) for spec in chosen):
        names = ", ".join(spec.name for spec in chosen)
        raise ExportError(f"none of {names} comes in {', '.join(wanted)}: nothing to export")
    with locked(folder, log_to_stderr):
        old = existing_manifest(folder)
        result = export_artifacts(chosen, networks, verification_speech(), wanted, log_to_stderr)
        rows = [staged.row for staged in result.staged]
        omitted = {(o.name, "onnx", o.precision) for o in result.omissions}
        manifest = merged(old, rows, omitted)
        publish(folder, result.staged, old, manifest, report(manifest, result.omissions))
    kept = {row.key for row in manifest.artifacts}
    for row in old.artifacts:
        if row.key not in kept:
            log_to_stderr(f"removed {row.path}: it does not belong to this export")
    seconds = sum(result.seconds.values())
    log_to_stderr(
        f"{len(rows)} artifacts verified and published in {folder} ({seconds:.0f} s); "
        f"see {folder / REPORT_NAME}"
    )
    return result


def run_verify(networks: Networks, folder: Path) -> int:
    """Repeat the gates on ``folder``; returns 0 if all is well, 1 with findings on stderr.

    ``post_embedding`` is verified with the threshold and the duration that its manifest states.

    Raises:
        ArtifactError: no manifest, or a damaged one.
    """
    complete_interrupted(folder, log_to_stderr)
    options = _post_embedding_options(folder)
    for option, value in options.items():
        log_to_stderr(f"post_embedding: {option} {value:g}, as the manifest says")
    specs = export_specs(networks, **options)
    findings = verify_folder(folder, specs, networks, verification_speech(), log_to_stderr)
    for finding in findings:
        log_to_stderr(f"FAILED {finding}")
    verdict = f"{len(findings)} problems" if findings else "all artifacts pass"
    log_to_stderr(f"{folder}: {verdict}")
    return 1 if findings else 0
