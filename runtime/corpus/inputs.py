"""Where the recordings of a corpus are: files, folders, globs, manifests, and all of it by URL."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from ..errors import OptionsError
from ..recordings.files import STDIN, SUFFIXES, Found, Recording, find_recordings
from .manifests import is_manifest, read_manifest, url_recording
from .urls import check_systems, is_url, listed, url_path

_FILE = "file://"


def is_corpus(names: Iterable[str]) -> bool:
    """Whether one of these is more than a file or a folder: a manifest, a glob or a URL."""
    return any(is_url(name) or is_manifest(name) or _is_glob(name) for name in names)


def find_corpus(names: Iterable[str]) -> Found:
    """The recordings that files, folders, globs (``**`` too), manifests and URLs name, each once.

    A URL is of a file, a folder, a glob or a manifest, in any file system that fsspec knows.
    Folders and globs give files with the usual endings of audio; a glob also those that have the
    very ending that it names.

    Raises:
        OptionsError: standard input, which other processes do not have.
        CorpusError: a manifest that cannot be used, or a place that cannot be listed.
        MissingDependencyError: what a manifest, or a URL of a recording or a reference, needs is
            not installed.
    """
    found = Found()
    seen: set[tuple[str, str]] = set()
    for name in names:
        for recording in _found(name, found.problems):
            place = recording.url or os.path.abspath(recording.path or "")  # noqa: PTH100
            key = (place, recording.file_id)
            if key not in seen:
                seen.add(key)
                found.recordings.append(recording)
    places = (place for each in found.recordings for place in (each.url, each.reference))
    check_systems(place for place in places if place is not None and is_url(place))
    return found


def _found(name: str, problems: list[str]) -> Iterator[Recording]:
    if name == STDIN:
        raise OptionsError("a corpus cannot be read from standard input: name files")
    if is_manifest(name):
        yield from read_manifest(name)
    elif is_url(name):
        yield from _behind(name, problems)
    elif _is_glob(name):
        matches = glob.glob(name, recursive=True)  # noqa: PTH207 -- Path's wants a folder apart
        yield from _listed_recordings(name, sorted(matches), problems)
    else:
        found = find_recordings([name])
        problems += found.problems
        yield from found.recordings


def _is_glob(name: str) -> bool:
    """A file may have any name: one that is there is no pattern."""
    return not is_url(name) and glob.has_magic(name) and not os.path.lexists(name)


def _behind(url: str, problems: list[str]) -> Iterator[Recording]:
    path = url_path(url)
    has_ending = PurePosixPath(path).suffix.lower() in SUFFIXES
    # Brackets, and the mark of a query, stand in names of recordings too.
    is_pattern = "*" in path or (glob.has_magic(path) and not has_ending)
    if url.startswith(_FILE) and not is_pattern:
        yield from _found(url.removeprefix(_FILE), problems)
        return
    # A server of files would be asked for all of a recording, to see whether it lists others.
    urls = None if has_ending and not is_pattern else listed(url, is_pattern=is_pattern)
    if urls is None:
        yield url_recording(url)
    else:
        yield from _listed_recordings(url, urls, problems)


def _listed_recordings(name: str, found: list[str], problems: list[str]) -> Iterator[Recording]:
    own = PurePosixPath(name).suffix.lower()
    wanted = SUFFIXES if glob.has_magic(own) or not glob.has_magic(name) else {*SUFFIXES, own}
    kept = [
        each
        # Files of this machine are read as such, whatever they were named by.
        for each in (place.removeprefix(_FILE) for place in found)
        if PurePosixPath(each).suffix.lower() in wanted
        and not PurePosixPath(each).name.startswith(".")
        and (is_url(each) or Path(each).is_file())
    ]
    if not kept:
        problems.append(f"{name}: no audio file there")
    for each in kept:
        yield from (url_recording(each),) if is_url(each) else find_recordings([each]).recordings
