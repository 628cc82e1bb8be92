"""Results that are written whole or not at all, and what becomes of standard output."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from ..errors import VoxportError


class PipeClosedError(Exception):
    """Whoever read standard output has read enough."""


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
        VoxportError: a file cannot be written.
    """
    try:
        with ExitStack() as stack:
            drafts = {name: _draft(folder, each, stack) for name, each in contents.items()}
            for name, draft in drafts.items():
                draft.replace(folder / name)
    except OSError as error:
        raise VoxportError(f"{folder}: results cannot be written: {_why(error)}") from error


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
