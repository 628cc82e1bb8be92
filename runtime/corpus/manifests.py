"""Manifests: tables that name recordings, and what is known of them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ..annotation.rttm import file_id_of
from ..errors import CorpusError
from ..recordings.files import Recording
from .arrow import read_rows
from .urls import is_url, open_url, url_path

SUFFIXES = (".csv", ".jsonl", ".parquet")
_PLACES = ("path", "audio", "url")
_KNOWN = (*_PLACES, "id", "reference", "num_speakers")

_Row = dict[str, Any]


def is_manifest(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def read_manifest(name: str) -> list[Recording]:
    """The recordings of a CSV file with a header, of JSON lines, or of a Parquet table.

    Columns are ``path``, ``audio`` or ``url`` (one of them), and, if wanted, ``id`` (names the
    results; default: the file's name), ``reference`` (an RTTM file) and ``num_speakers``; others
    are not read. Relative places are relative to the manifest.

    Raises:
        CorpusError: it cannot be read, lacks its column, or a row that cannot be used.
        MissingDependencyError: Parquet without pyarrow, a URL without fsspec.
    """
    return [_recording(_Entry(place, row, name)) for place, row in list(_rows(name))]


def url_recording(url: str, file_id: str | None = None, **known: Any) -> Recording:
    """The recording behind a URL; it is called as the URL's last part."""
    path = PurePosixPath(url_path(url))
    return Recording(url, file_id or path.stem, file_id or file_id_of(path), url=url, **known)


def _rows(name: str) -> Iterator[tuple[str, _Row]]:
    """The place and the content of each row."""
    with _opened(name) as file:
        try:
            if name.lower().endswith(".parquet"):
                names, rows = read_rows(file, name, _KNOWN)
                _check_columns(name, names)
                yield from ((f"{name}: row {n}", row) for n, row in enumerate(rows, start=1))
            elif name.lower().endswith(".csv"):
                with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
                    yield from _csv_rows(name, text)
            else:
                yield from _json_rows(name, file)
        except (UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{name}: cannot be read: {error}") from error


def _opened(name: str) -> AbstractContextManager[BinaryIO]:
    if is_url(name):
        return open_url(name)
    try:
        return Path(name).open("rb")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CorpusError(f"{name}: cannot be read: {why}") from error


def _csv_rows(name: str, text: io.TextIOWrapper) -> Iterator[tuple[str, _Row]]:
    reader = csv.DictReader(text)
    _check_columns(name, list(reader.fieldnames or ()))
    for row in reader:
        yield f"{name}:{reader.line_num}", row


def _json_rows(name: str, file: BinaryIO) -> Iterator[tuple[str, _Row]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{name}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise CorpusError(f"{name}:{number}: expected an object, got {str(row)!a:.80}")
        yield f"{name}:{number}", row


def _check_columns(name: str, columns: list[str]) -> None:
    if not set(_PLACES) & set(columns):
        there = ", ".join(map(str, columns)) or "none at all"
        raise CorpusError(f"{name}: no column path, audio or url; there are: {there:.200}")


@dataclass(frozen=True)
class _Entry:
    """A row of a manifest, ``place`` being where it stands."""

    place: str
    row: _Row
    manifest: str

    def text(self, column: str) -> str | None:
        value = self.row.get(column)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.error(f"{column} must be text, got {value!r:.80}")
        return value

    def located(self, place: str) -> str:
        """A place, seen from here; a relative one is relative to the manifest."""
        if is_url(place) or Path(place).is_absolute():
            return place
        if is_url(self.manifest):
            return f"{self.manifest.rsplit('/', maxsplit=1)[0]}/{place}"
        return os.fspath(Path(self.manifest).parent / place)

    def num_speakers(self) -> int | None:
        value = self.row.get("num_speakers")
        # What lacks in a column of numbers is a NaN to some writers of Parquet.
        if value is None or value == "" or value != value:  # noqa: PLR0124
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = 0.0
        if isinstance(value, bool) or not number.is_integer() or not 1 <= number < 1e6:
            raise self.error(f"num_speakers must be a whole number from 1, got {value!r:.80}")
        return int(number)

    def error(self, what: str) -> CorpusError:
        return CorpusError(f"{self.place}: {what}")


def _recording(entry: _Entry) -> Recording:
    place = next(filter(None, map(entry.text, _PLACES)), None)
    if place is None:
        raise entry.error("no path, audio or url")
    file_id, reference = entry.text("id"), entry.text("reference")
    if file_id is not None:
        _check_id(entry, file_id)
    known: dict[str, Any] = {
        "reference": None if reference is None else entry.located(reference),
        "num_speakers": entry.num_speakers(),
    }
    located = entry.located(place)
    if is_url(located):
        return url_recording(located, file_id, **known)
    path = Path(located)
    stem = file_id or path.stem
    return Recording(located, stem, file_id or file_id_of(path), path, **known)


def _check_id(entry: _Entry, file_id: str) -> None:
    """It names files, and stands in RTTM."""
    usable = file_id == file_id_of(f"{file_id}.wav") and not set(file_id) & set("/\\:")
    if not usable or file_id.startswith("."):
        raise entry.error(
            f"id {file_id!a:.80} cannot name a file: no blanks, control characters, '/', '\\' or "
            "':', and no '.' at its start"
        )
