"""All or nothing: verified artifacts are staged, committed by one rename, and moved in place.

A run that dies before the commit leaves the published folder as it was; one that dies after it
is completed by the next run. Two runs on one folder take turns.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from ..runtime.manifest import MANIFEST_NAME, ArtifactRow, Manifest
from .errors import ExportError

REPORT_NAME = "REPORT.md"
_LOCK_NAME = ".lock"
_STAGING_NAME = ".staging"
# Staged files under this name are complete and verified: moving them is all that is left.
_COMMITTED_NAME = ".committed"


def sha256_hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Staged:
    """A verified artifact that is not on disk yet."""

    row: ArtifactRow
    content: bytes


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create ``folder`` and hold its lock; a publication cut off earlier is completed first.

    Raises:
        ExportError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / _LOCK_NAME):
            _complete(folder)
            yield
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written: {error}") from error


def existing_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, empty if it has none."""
    path = folder / MANIFEST_NAME
    return Manifest.read(path) if path.exists() else Manifest()


def publish(folder: Path, staged: list[Staged], manifest: Manifest, report: str) -> None:
    """Write the artifacts, the manifest and the report into ``folder``, all or none.

    Call with the folder locked. Artifacts that the manifest no longer lists are removed.
    """
    staging = folder / _STAGING_NAME
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    for item in staged:
        _write(staging / item.row.path, item.content)
    _write(staging / REPORT_NAME, report.encode())
    _write(staging / MANIFEST_NAME, manifest.to_json().encode())
    staging.rename(folder / _COMMITTED_NAME)
    _complete(folder)
    listed = {row.path for row in manifest.artifacts}
    for path in folder.glob("*.onnx"):
        if path.name not in listed:
            path.unlink()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _complete(folder: Path) -> None:
    """Move committed files in place, the manifest last: it names what is there."""
    committed = folder / _COMMITTED_NAME
    if not committed.is_dir():
        return
    for path in sorted(committed.iterdir(), key=lambda p: p.name == MANIFEST_NAME):
        path.replace(folder / path.name)
    committed.rmdir()
