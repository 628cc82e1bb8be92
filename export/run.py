"""The two jobs of the export side, from networks to a published or verified folder."""

from __future__ import annotations

from pathlib import Path

from ..runtime.manifest import MANIFEST_NAME, Manifest
from .errors import ExportError
from .networks import Networks
from .pipeline import ExportResult, export_artifacts, log_to_stderr, selected
from .publishing import REPORT_NAME, existing_manifest, locked, publish
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
                if isinstance(value, int | float):
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
    with locked(folder):
        result = export_artifacts(chosen, networks, verification_speech(), wanted, log_to_stderr)
        rows = tuple(staged.row for staged in result.staged)
        manifest = existing_manifest(folder).merged(rows)
        publish(folder, result.staged, manifest, report(manifest, result.omissions))
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
    specs = export_specs(networks, **_post_embedding_options(folder))
    findings = verify_folder(folder, specs, networks, verification_speech(), log_to_stderr)
    for finding in findings:
        log_to_stderr(f"FAILED {finding}")
    verdict = f"{len(findings)} problems" if findings else "all artifacts pass"
    log_to_stderr(f"{folder}: {verdict}")
    return 1 if findings else 0
