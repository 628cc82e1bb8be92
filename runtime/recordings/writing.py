"""Results that are written whole or not at all, and what becomes of standard output."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import VoxportError

# What the next file would meet as well. EFBIG: a limit of the process (`ulimit -f`), since no
# result is large. EDQUOT is not known everywhere.
_FOR_ALL = {errno.ENOSPC, errno.EROFS, errno.EIO, errno.EFBIG, getattr(errno, "EDQUOT", None)}


class PipeClosedError(Exception):
    """Whoever read standard output has read enough."""


class NoSpaceError(VoxportError):
    """No file can be written there any more, whatever it holds: the disk is full, or worse."""


class OutputError(VoxportError):
    """Standard output takes nothing any more: no file can succeed."""


def make_folder(folder: Path) -> None:
    """Make the folder for results.

    Raises:
        VoxportError: it is a file, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise VoxportError(f"{folder}: cannot be made a folder: {_why(error)}") from error


def write_whole(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files by name, each whole or not at all, whatever interrupts.

    All are written under other names first: a full disk leaves what was there before.

    Raises:
        NoSpaceError: the disk is full, over quota, read-only or failing.
        VoxportError: a file cannot be written for another reason.
    """
    with _explained(folder), ExitStack() as stack:
        drafts = {name: _draft(folder, each, stack) for name, each in contents.items()}
        for name, draft in drafts.items():
            draft.replace(folder / name)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Where to write a file that comes to its place when the block ends, and only then.

    Raises:
        NoSpaceError, VoxportError: as ``write_whole``.
    """
    with _explained(path.parent), ExitStack() as stack:
        draft = _draft(path.parent, b"", stack)
        yield draft
        draft.replace(path)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = NoSpaceError if error.errno in _FOR_ALL else VoxportError
        raise kind(f"{folder}: results cannot be written: {_why(error)}") from error


def _draft(folder: Path, content: str | bytes, stack: ExitStack) -> Path:
    """A hidden file with the content; ``stack`` removes what is left of it."""
    path = folder / f".voxport-{os.getpid()}-{secrets.token_hex(4)}.part"
    stack.callback(path.unlink, missing_ok=True)
    with path.open("xb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


def print_at_once(text: str) -> None:
    """Write to standard output: who reads the pipe need not wait for the last file.

    Raises:
        PipeClosedError: nobody reads it any more.
        OutputError: it cannot be written to.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _silence()
        if isinstance(error, BrokenPipeError):
            raise PipeClosedError from error
        raise OutputError(f"the result cannot be printed: {error.strerror or error}") from error


def _silence() -> None:
    """Let what is still buffered go nowhere: Python would complain of it at its end."""
    with contextlib.suppress(OSError):
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, sys.stdout.fileno())
        finally:
            os.close(sink)


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
