"""``voxport export --triton``: verified artifacts as a model repository for NVIDIA Triton.

Source of the layout: Triton's ``docs/user_guide/model_repository.md``. Files at the root of a
repository, such as our manifest, are none of Triton's business: it looks at folders there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.devices import ONNX
from ...runtime.errors import ArtifactError, ArtifactNotFoundError
from ...runtime.manifest import MANIFEST_NAME, ArtifactRow, Manifest
from ...runtime.serving.names import model_name
from ..errors import ExportError
from ..publishing import complete_interrupted
from .check import check_model
from .config import Serving, model_config
from .ensemble import ENSEMBLE, FUSED, Ensemble, ensemble_config, ensemble_of
from .ensemble_check import check_ensemble
from .messages import import_messages, to_text
from .replacing import check_replaceable, replacing

__all__ = ["Choice", "Serving", "check_possible", "missing", "write_repository"]

CONFIG_NAME = "config.pbtxt"
MODEL_NAME = "model.onnx"
_VERSION = "1"
_NOTE = "An ensemble has no file; this one is here because object stores keep no empty folder.\n"


@dataclass(frozen=True)
class Choice:
    """Which artifacts become models.

    Attributes:
        names: of artifacts; all that there are if empty.
        precisions: those wanted.
    """

    names: Collection[str] = ()
    precisions: Collection[str] = ("fp32", "fp16", "int8")

    def rows(self, manifest: Manifest) -> tuple[ArtifactRow, ...]:
        """The ONNX artifacts of a manifest that were chosen."""
        return tuple(
            row
            for row in manifest.artifacts
            if row.format == ONNX
            and row.precision in self.precisions
            and (not self.names or row.name in self.names)
        )


def check_possible(target: Path, formats: Collection[str]) -> None:
    """Whether a repository can be written at all, told before minutes of exporting.

    Raises:
        ExportError: ``target`` is something else, or no ONNX files are wanted.
        MissingDependencyError: tritonclient is not installed.
    """
    import_messages()
    if ONNX not in formats:
        raise ExportError(f"Triton runs ONNX files, and --formats is {', '.join(formats)}")
    check_replaceable(target.resolve())


def missing(manifest: Manifest, choice: Choice) -> tuple[str, ...]:
    """Names that were chosen and that no ONNX artifact of a wanted precision has."""
    there = {row.name for row in choice.rows(manifest)}
    return tuple(name for name in choice.names if name not in there)


def write_repository(
    models: Path,
    target: Path,
    choice: Choice,
    serving: Serving,
    log: Callable[[str], None],
) -> tuple[str, ...]:
    """Write the chosen artifacts of ``models`` as a repository into ``target``.

    Every file is read back and checked, on the CPU, before ``target`` is created or replaced.

    Returns:
        The names of the models, ensembles last.

    Raises:
        ArtifactNotFoundError: there is no manifest, or an artifact is not there.
        ArtifactError: an artifact is not the one that was verified.
        ExportError: nothing was chosen, a check failed, ``target`` is something else than a
            repository, or cannot be written. What it held is still there.
        MissingDependencyError: tritonclient is not installed.
    """
    import_messages()
    complete_interrupted(models, log)
    manifest = Manifest.read(models / MANIFEST_NAME)
    rows = choice.rows(manifest)
    absent = missing(manifest, choice)
    if absent or not rows:
        wanted = ", ".join(absent) or "any artifact"
        raise ExportError(f"{models}: no ONNX file of {wanted} in {', '.join(choice.precisions)}")
    with replacing(target.resolve(), log) as stage:
        writer = _Writer(models, stage, serving)
        configs = {}
        for row in rows:
            name = model_name(row.name, row.precision)
            configs[name] = writer.model(name, row)
            log(f"{name}: checked")
        ensembles = _ensembles(rows, manifest)
        for ensemble in ensembles:
            writer.ensemble(ensemble, configs)
            log(f"{ensemble.name}: checked")
        text = Manifest(rows).to_json()
        (stage / MANIFEST_NAME).write_text(text, encoding="utf-8")
    names = (*configs, *(ensemble.name for ensemble in ensembles))
    _report(target, names, ensembles, log)
    return names


def _ensembles(rows: Sequence[ArtifactRow], manifest: Manifest) -> list[Ensemble]:
    made = (ensemble_of(rows, manifest, precision) for precision in ("fp32", "fp16", "int8"))
    return [ensemble for ensemble in made if ensemble is not None]


def _report(
    target: Path, names: Sequence[str], ensembles: Sequence[Ensemble], log: Callable[[str], None]
) -> None:
    if not ensembles:
        log(
            f"no {ENSEMBLE}: it takes {FUSED}, segmentation_masks, embedding_masks and an "
            "embedding network"
        )
    log(f"{len(names)} models checked and published in {target}")


@dataclass(frozen=True)
class _Writer:
    """Writes models into ``stage`` and reads them back."""

    models: Path
    stage: Path
    serving: Serving

    def model(self, name: str, row: ArtifactRow) -> Any:
        """The configuration of an artifact's model, as it was read back."""
        content = _verified(self.models / row.path, row)
        copy = self._version(name) / MODEL_NAME
        copy.write_bytes(content)
        text = self._configure(name, model_config(row, self.serving))
        return check_model(text, _verified(copy, row), row, f"{name}/{CONFIG_NAME}")

    def ensemble(self, ensemble: Ensemble, configs: dict[str, Any]) -> None:
        (self._version(ensemble.name) / "README").write_text(_NOTE, encoding="utf-8")
        text = self._configure(ensemble.name, ensemble_config(ensemble, self.serving))
        source = f"{ensemble.name}/{CONFIG_NAME}"
        check_ensemble(text, configs, ensemble, self._read, source)

    def _read(self, row: ArtifactRow) -> bytes:
        return _verified(self.models / row.path, row)

    def _version(self, name: str) -> Path:
        folder = self.stage / name / _VERSION
        folder.mkdir(parents=True)
        return folder

    def _configure(self, name: str, config: Any) -> str:
        path = self.stage / name / CONFIG_NAME
        path.write_text(to_text(config), encoding="utf-8")
        return path.read_text(encoding="utf-8")


def _verified(path: Path, row: ArtifactRow) -> bytes:
    """The bytes of an artifact, which are those that were verified."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(f"{path}: no such file; run `voxport export`") from error
    except OSError as error:
        raise ArtifactError(f"{path}: unreadable: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != row.sha256:
        raise ArtifactError(
            f"{path}: SHA-256 is {digest}, but {row.sha256} was verified: the file has changed "
            "since. Run `voxport export` again."
        )
    return content
