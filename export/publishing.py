"""All or nothing: artifacts are staged, verified, committed by one rename, and moved in place.

A run that dies before the commit leaves the published folder as it was; one that dies after it
is completed by the next run. Two runs on one folder take turns.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from ..runtime.errors import ArtifactError
from ..runtime.manifest import MANIFEST_NAME, ArtifactRow, Description, Manifest
from .errors import ExportError

Key = tuple[str, str, str]
REPORT_NAME = "REPORT.md"
_LOCK_NAME = ".lock"
_STAGING_NAME = ".staging"
# Staged files under this name are complete and verified: moving them is all that is left.
_COMMITTED_NAME = ".committed"


@contextmanager
def locked(folder: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Create ``folder`` and hold its lock; a publication cut off earlier is completed first.

    Raises:
        ExportError: the folder cannot be written to.
    """
    lock = FileLock(folder / _LOCK_NAME)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log(f"{folder}: waiting for another export to finish")
            lock.acquire()
        _complete(folder)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written: {error}") from error
    try:
        yield
    finally:
        lock.release()


def complete_interrupted(folder: Path, log: Callable[[str], None]) -> None:
    """Complete a publication that was cut off; a folder without one is not written to.

    Raises:
        ExportError: there is one to complete, but the folder cannot be written to.
    """
    if (folder / _COMMITTED_NAME).is_dir():
        with locked(folder, log):
            pass


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """An empty folder to make artifacts in, gone afterwards unless it was published.

    Call with ``folder`` locked.

    Raises:
        ExportError: the folder cannot be written to.
    """
    stage = folder / _STAGING_NAME
    try:
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written: {error}") from error
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def existing_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, empty if it has none.

    Raises:
        ExportError: it is damaged or of another schema, and how to start afresh.
    """
    path = folder / MANIFEST_NAME
    if not path.exists():
        return Manifest()
    try:
        return Manifest.read(path)
    except ArtifactError as error:
        raise ExportError(f"{error}. To start afresh, remove {path}") from error


def merged(old: Manifest, new: Sequence[ArtifactRow], omitted: Collection[Key]) -> Manifest:
    """``new`` rows and those old ones that still belong beside them.

    An old row goes if it was made again or left out this time, if it is of an artifact that was
    made again with other properties, or if it was made of another checkpoint of a network that
    the new rows are made of: a folder holds artifacts of one set of checkpoints.
    """
    made = {row.key for row in new} | set(omitted)
    properties = {row.name: _properties(row) for row in new}
    hashes = {network: sha256 for row in new for network, sha256 in _checkpoints(row)}
    kept = [
        row
        for row in old.artifacts
        if row.key not in made
        and properties.get(row.name, _properties(row)) == _properties(row)
        and all(hashes.get(network, sha256) == sha256 for network, sha256 in _checkpoints(row))
    ]
    return Manifest((*kept, *new))


def _properties(row: ArtifactRow) -> Description:
    """What the artifacts of a name have in common in every precision and format."""
    return replace(row.description, precision="", minimums={}, maximums={}, sizes={})


def _checkpoints(row: ArtifactRow) -> list[tuple[str, str]]:
    """(network, SHA-256) of the checkpoints that an artifact was made of."""
    return [(str(c.get("network")), str(c.get("sha256"))) for c in row.description.checkpoints]


def publish(folder: Path, stage: Path, *, manifest: Manifest, report: str) -> None:
    """Move what was staged into ``folder``, with its manifest and report: all or none.

    Call with the folder locked. Artifacts that the folder's manifest lists and ``manifest`` does
    not are removed, staged files that ``manifest`` does not list are dropped; other files are
    nobody's business here.

    Raises:
        ExportError: the folder cannot be written to. What it held is still there, unless some of
            the new artifacts are in place already: then the next run brings the others.
    """
    listed = {row.path for row in manifest.artifacts}
    try:
        for path in stage.iterdir():
            if path.name not in listed:
                _remove(path)
        (stage / REPORT_NAME).write_text(report, encoding="utf-8")
        (stage / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
        for path in stage.rglob("*"):
            flush(path)
        stage.rename(folder / _COMMITTED_NAME)
        _complete(folder)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written: {error}") from error


def flush(path: Path) -> None:
    """Onto the disk, so that a power cut after the commit leaves no empty files."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def _remove(path: Path) -> None:
    """A file, a folder, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _complete(folder: Path) -> None:
    """Move committed files and folders in place, the manifest last: it names what is there."""
    committed = folder / _COMMITTED_NAME
    if not committed.is_dir():
        return
    for path in sorted(committed.iterdir(), key=lambda p: p.name == MANIFEST_NAME):
        target = folder / path.name
        if target.is_dir():  # a folder cannot be replaced by a rename
            _remove(target)
        if path.name == MANIFEST_NAME:
            _remove_unlisted(target, path)
        path.replace(target)
    committed.rmdir()


def _remove_unlisted(old: Path, new: Path) -> None:
    """Remove artifacts that a manifest lists and the one that replaces it does not."""
    try:
        before, after = (Manifest.read(path).artifacts for path in (old, new))
    except ArtifactError:  # none yet, or one that tells nothing
        return
    for name in {row.path for row in before} - {row.path for row in after}:
        _remove(old.parent / name)
