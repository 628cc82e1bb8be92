"""Recordings named on a command line."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ..errors import OptionsError

if TYPE_CHECKING:
    from ..audio_source import AudioSource

STDIN = "-"
# What a folder is searched for: the usual endings of libsndfile's formats, and what ffmpeg reads
# (the extra ``media``). A file that is named itself may have any ending.
SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".rf64", ".w64", ".bwf", ".aif", ".aiff", ".aifc", ".au", ".snd"),
        *(".caf", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".sph", ".nist", ".voc"),
        *(".m4a", ".mp4", ".mkv", ".webm"),
    )
)
# As much of a stream as is held in memory; the rest goes into a temporary file.
_SPOOLED_BYTES = 1 << 26


@dataclass(frozen=True)
class Recording:
    """One recording: what errors call it, the name of its outputs, its id in RTTM.

    Attributes:
        path: None for standard input and for what lies behind ``url``.
        url: of any file system that fsspec knows.
        reference: path or URL of an RTTM file with its true turns, if there is one.
        num_speakers: how many it has, where that is known of this recording.
        known_sha256: of the content that a corpus holds results of; see ``corpus``.
        stamp: size and version of what lies behind ``url``, seen before anybody fetched it.
    """

    label: str
    stem: str
    file_id: str
    path: Path | None = None
    url: str | None = None
    reference: str | None = None
    num_speakers: int | None = None
    known_sha256: str | None = None
    stamp: tuple[int | None, str] | None = None

    @contextmanager
    def opened(self) -> Iterator[AudioSource]:
        """What ``read_audio`` takes; anything but a path as a seekable file.

        Raises:
            CorpusError, MissingDependencyError: a URL that cannot be read.
        """
        if self.path is not None:
            yield self.path
            return
        # A header is read more than once: a pipe cannot be rewound, and a network is slow.
        with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as file:
            with self._bytes() as source:
                shutil.copyfileobj(source, file)
            yield cast(BinaryIO, file)

    def _bytes(self) -> AbstractContextManager[BinaryIO]:
        if self.url is None:
            return nullcontext(sys.stdin.buffer)
        from ..corpus.urls import open_url  # noqa: PLC0415 -- only corpora have URLs

        return open_url(self.url)

    def problem(self, error: object) -> str:
        """What to say of an error: the name, which most errors begin with already, and why."""
        name = "<SpooledTemporaryFile>" if self.path is None else self.label
        text = str(error).removeprefix(f"{self.label}: ")
        return f"{self.label}: {text.removeprefix(f'{name}: ')}"


@dataclass
class Found:
    """Recordings, each once and in the order they were named, and places that have none."""

    recordings: list[Recording] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_recordings(names: Iterable[str]) -> Found:
    """The recordings that files, folders (searched recursively) and ``-`` name.

    Hidden files and folders within a folder are left out, and so are links to folders, which may
    lead back. A file that does not exist is taken: reading it says so.
    """
    found = Found()
    seen: set[str] = set()
    for name in names:
        # Two ways to write a path are the same recording, two links to a file are not.
        for path in _paths(name, found.problems):
            key = STDIN if path is None else os.path.abspath(path)  # noqa: PTH100 -- Path keeps ..
            if key not in seen:
                seen.add(key)
                found.recordings.append(_recording(path))
    return found


def _paths(name: str, problems: list[str]) -> Iterator[Path | None]:
    if name == STDIN:
        yield None
    elif os.path.isdir(name):  # noqa: PTH112 -- False for what cannot be a path, where Path raises
        yield from _search(Path(name), problems)
    else:
        yield Path(name)


def _search(folder: Path, problems: list[str]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be read: {error.strerror}")

    before, count = len(problems), 0
    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for file in sorted(files):
            path = Path(root, file)
            if not file.startswith(".") and path.suffix.lower() in SUFFIXES:
                count += 1
                yield path
    if not count and len(problems) == before:
        problems.append(f"{folder}: no audio file in this folder")


def _recording(path: Path | None) -> Recording:
    from ..annotation.rttm import file_id_of  # noqa: PLC0415 -- loads numpy

    if path is None:
        return Recording("stdin", "stdin", "stdin")
    return Recording(str(path), path.stem, file_id_of(path), path)


def check_names(recordings: Iterable[Recording]) -> None:
    """Raise if the results of two recordings could not be told apart.

    Letters that differ in case only are the same: on some systems they name the same file.

    Raises:
        OptionsError: two recordings with the same id.
    """
    owners: dict[str, Recording] = {}
    for recording in recordings:
        other = owners.setdefault(recording.file_id.casefold(), recording)
        if other is not recording:
            raise OptionsError(
                f"{other.label} and {recording.label} would both be called {recording.file_id}: "
                "rename one of them, or write them into different folders"
            )
