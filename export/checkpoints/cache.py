"""The folder of fetched files: digests, records, atomic publication and a lock."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from ...runtime.cache import cache_dir
from ..errors import HashMismatchError
from .progress import notify
from .registry import RegistryEntry, lookup
from .sources import Delivery

_CHUNK_BYTES = 1 << 20
_STAGE_PREFIX = ".fetch-"


@dataclass(frozen=True)
class Record:
    """What is remembered beside a cached file."""

    sha256: str
    origin: str


def checkpoints_dir() -> Path:
    """The folder of fetched files, which need not exist yet."""
    return cache_dir() / "checkpoints"


def cached_path(entry: RegistryEntry) -> Path:
    """Where the entry's file lies once fetched."""
    return checkpoints_dir() / entry.file_name


def sha256_of(*streams: IO[bytes]) -> str:
    """Hexadecimal SHA-256 of the rest of the streams, one after another."""
    digest = hashlib.sha256()
    for stream in streams:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def copy_hashing(source: IO[bytes], target: Path, limit_bytes: int | None) -> str:
    """Copy to ``target`` in pieces and return the SHA-256 of what was written.

    Stops just past ``limit_bytes``: a source that sends more than was published cannot fill the
    disk, and its digest differs anyway. Raises OSError where the disk does.
    """
    digest, written = hashlib.sha256(), 0
    with target.open("wb") as out:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            out.write(chunk)
            written += len(chunk)
            if limit_bytes is not None and written > limit_bytes:
                break
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _record_path(entry: RegistryEntry) -> Path:
    path = cached_path(entry)
    return path.with_name(path.name + ".json")


def read_record(entry: RegistryEntry) -> Record | None:
    """The record beside the cached file; None where there is none or it is damaged."""
    try:
        fields = json.loads(_record_path(entry).read_text(encoding="utf-8"))
        return Record(sha256=str(fields["sha256"]), origin=str(fields["origin"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_record(entry: RegistryEntry, record: Record) -> None:
    """Write the record atomically; raises OSError."""
    path = _record_path(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{_STAGE_PREFIX}{os.getpid()}-{path.name}")
    text = json.dumps({"sha256": record.sha256, "origin": record.origin}, indent=2)
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(path)


def staged_path(entry: RegistryEntry, stage: Path) -> Path:
    """Where a file is put within a staging folder, which has no folders of its own."""
    return stage / entry.file_name.replace("/", "--")


def trusted_digest(entry: RegistryEntry) -> str | None:
    """The SHA-256 that the file must have: published, or remembered from its first use."""
    if entry.sha256 is not None:
        return entry.sha256
    record = read_record(entry)
    return None if record is None else record.sha256


def damage(entry: RegistryEntry) -> HashMismatchError | None:
    """What is wrong with the cached file; None where it is sound. Raises FileNotFoundError."""
    path = cached_path(entry)
    with path.open("rb") as stream:
        actual = sha256_of(stream)
    expected = trusted_digest(entry)
    if expected is None or actual == expected:
        return None
    return HashMismatchError(
        f"{path}: the SHA-256 is {actual}, expected {expected} ({path.stat().st_size} bytes, "
        f"expected {entry.size_bytes or 'unknown'}); the cached file is damaged"
    )


def publish(delivery: Delivery) -> Path:
    """Move a staged file to its place if its digest is the trusted one.

    Raises HashMismatchError, and then the cache is as before. The record goes first: a crash
    in between leaves no file that looks trusted without a digest to check it by.
    """
    entry = lookup(delivery.name)
    expected = trusted_digest(entry)
    if expected is not None and delivery.sha256 != expected:
        raise HashMismatchError(_mismatch(entry, delivery, expected))
    target = cached_path(entry)
    write_record(entry, Record(delivery.sha256, delivery.origin))
    delivery.staged.replace(target)
    return target


def _mismatch(entry: RegistryEntry, delivery: Delivery, expected: str) -> str:
    text = (
        f"{entry.name}: the SHA-256 of {delivery.origin} is {delivery.sha256}, "
        f"expected {expected}; the file was not kept"
    )
    if entry.sha256 is None:
        text += f"; if the publisher replaced it, delete {_record_path(entry)} to trust the new one"
    return text


@contextmanager
def exclusive() -> Iterator[Path]:
    """Hold the cache's lock among processes; yields an empty staging folder inside the cache.

    One lock for all files, since one wheel carries several. Raises OSError where the cache
    cannot be written.
    """
    folder = checkpoints_dir()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        notify("another process is fetching; waiting for it")
        lock.acquire()
    try:
        _remove_leftovers(folder)
        stage = folder / f"{_STAGE_PREFIX}{os.getpid()}"
        stage.mkdir()
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    finally:
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    """Drop what a killed process staged; nobody else stages while the lock is held."""
    for path in folder.glob(f"{_STAGE_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
