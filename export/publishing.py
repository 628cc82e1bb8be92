"""All or nothing: verified artifacts are staged, committed by one rename, and moved in place.

A run that dies before the commit leaves the published folder as it was; one that dies after it
is completed by the next run. Two runs on one folder take turns.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from ..runtime.errors import ArtifactError
from ..runtime.manifest import MANIFEST_NAME, ArtifactRow, Manifest
from .errors import ExportError

Key = tuple[str, str, str]
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
    properties = {row.name: replace(row.description, precision="") for row in new}
    hashes = {network: sha256 for row in new for network, sha256 in _checkpoints(row)}
    kept = [
        row
        for row in old.artifacts
        if row.key not in made
        and properties.get(row.name, replace(row.description, precision=""))
        == replace(row.description, precision="")
        and all(hashes.get(network, sha256) == sha256 for network, sha256 in _checkpoints(row))
    ]
    return Manifest((*kept, *new))


def _checkpoints(row: ArtifactRow) -> list[tuple[str, str]]:
    """(network, SHA-256) of the checkpoints that an artifact was made of."""
    return [(str(c.get("network")), str(c.get("sha256"))) for c in row.description.checkpoints]


def publish(
    folder: Path, staged: list[Staged], old: Manifest, manifest: Manifest, report: str
) -> None:
    """Write the artifacts, the manifest and the report into ``folder``, all or none.

    Call with the folder locked. Artifacts that ``old`` lists and ``manifest`` does not are
    removed; other files are nobody's business here.

    Raises:
        ExportError: the folder cannot be written to; what it held is still there.
    """
    staging = folder / _STAGING_NAME
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        for item in staged:
            _write(staging / item.row.path, item.content)
        _write(staging / REPORT_NAME, report.encode())
        _write(staging / MANIFEST_NAME, manifest.to_json().encode())
        staging.rename(folder / _COMMITTED_NAME)
        _complete(folder)
        listed = {row.path for row in manifest.artifacts}
        for row in old.artifacts:
            if row.path not in listed:
                (folder / row.path).unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"{folder}: cannot be written: {error}") from error


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
