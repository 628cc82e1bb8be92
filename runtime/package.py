"""Core ML packages as folders: one hash and one size for all their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def package_sha256(package: Path) -> str:
    """One hash for a folder: over each file's relative name, size and bytes, in order.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for name, path in _files(package):
        content = path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def package_size(package: Path) -> int:
    """Bytes of all files of a package."""
    return sum(path.stat().st_size for _, path in _files(package))


def _files(package: Path) -> Iterable[tuple[str, Path]]:
    found = (path for path in package.rglob("*") if path.is_file())
    return sorted((path.relative_to(package).as_posix(), path) for path in found)
