"""Lines of a text file that nobody vouches for, with their place for error messages."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..errors import AnnotationError

# A path or an open text file.
Source = str | os.PathLike[str] | TextIO

# Far beyond real files (a day of lively conversation is 2 MB), and what fits into memory.
MAX_LINE = 8192
MAX_CHARACTERS = 64 * 2**20


def records(source: Source) -> Iterator[tuple[str, list[str]]]:
    """The place (``file:line``) and the columns of each line.

    Blank lines and comments (``;;``) are left out, a byte order mark too; any line ends will do.
    Bytes that are not UTF-8 become lone surrogates: harmless in a comment, refused in a label.

    Raises:
        AnnotationError: a line or file beyond the limits (8192 characters, 64 Mi characters), or
            a file that cannot be read.
    """
    name = source_name(source)
    try:
        with _opened(source) as file:
            yield from _records(file, name)
    except UnicodeDecodeError as error:
        # Only of a stream that decodes by rules of its own.
        raise AnnotationError(f"{name}: not text: {error}") from error
    except OSError as error:
        raise AnnotationError(f"{name}: cannot be read: {error.strerror or error}") from error


def source_name(source: Source) -> str:
    """How errors call it."""
    if isinstance(source, (str, os.PathLike)):
        return str(os.fspath(source))
    return str(getattr(source, "name", "text"))


def _opened(source: Source) -> contextlib.AbstractContextManager[TextIO]:
    if not isinstance(source, (str, os.PathLike)):
        return contextlib.nullcontext(source)
    try:
        return Path(source).open(encoding="utf-8", errors="surrogateescape")
    except ValueError as error:
        raise AnnotationError(f"not a path: {str(source)!a:.80}") from error


def _records(file: TextIO, name: str) -> Iterator[tuple[str, list[str]]]:
    number, read = 0, 0
    while line := file.readline(MAX_LINE + 1):
        number, read = number + 1, read + len(line)
        place = f"{name}:{number}"
        if len(line) > MAX_LINE:
            raise AnnotationError(f"{place}: the line is longer than {MAX_LINE} characters")
        if read > MAX_CHARACTERS:
            raise AnnotationError(f"{place}: the file has more than {MAX_CHARACTERS} characters")
        columns = (line.removeprefix("\ufeff") if number == 1 else line).split()
        if columns and not columns[0].startswith(";;"):
            yield place, columns
