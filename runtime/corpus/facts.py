"""What a worker finds out about a recording besides its result: the content, and the score."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import AnnotationError, AudioError, VoxportError
from ..recordings.files import Recording
from ..recordings.outcome import Answer, Opened, Work
from ..recordings.progress_bar import ProgressBar
from .urls import is_url, open_url, url_version

if TYPE_CHECKING:
    from ..annotation.turns import Turns
    from ..audio_source import AudioSource

UNCHANGED = "unchanged"


@contextmanager
def with_facts(opened: Opened) -> Iterator[Work]:
    """The work, whose answers have what a record of a corpus needs.

    The content is hashed first. Where it is ``known_sha256``, nothing else is done, and the
    answer says ``unchanged``.
    """
    with opened() as work:

        def facts_too(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
            size_bytes, modified = _stamp_before(recording)
            begun_s = time.perf_counter()
            content = {
                "content_sha256": _sha256(recording, audio),
                "size_bytes": size_bytes,
                "modified": modified,
            }
            hashing_s = time.perf_counter() - begun_s
            if content["content_sha256"] == recording.known_sha256:
                return Answer({}, record={**content, UNCHANGED: True})
            answer = work(recording, audio, bar)
            seconds = {"hashing": hashing_s, **answer.record.get("seconds", {})}
            scored = score_facts(recording, answer.record.get("turns", ()))
            record = {**answer.record, **content, **scored, "seconds": seconds}
            return replace(answer, record=record)

        yield facts_too


def _stamp_before(recording: Recording) -> tuple[int | None, str]:
    """Of the content that is about to be hashed, or of one before it: never of a later one."""
    if recording.url is None:
        return stamp(recording)
    # By now it has been fetched: what the server says from here on may be of other content.
    return recording.stamp or (None, "")


def stamp(recording: Recording) -> tuple[int | None, str]:
    """Size in bytes and time of change, or a server's tag; None and "" where they are not known.

    Raises:
        AudioError: there is no such file.
        CorpusError: a URL that cannot be looked at.
    """
    if recording.url is not None:
        return url_version(recording.url)
    path = recording.path or Path()
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    return status.st_size, str(status.st_mtime_ns)


def _sha256(recording: Recording, audio: AudioSource) -> str:
    if not isinstance(audio, str | os.PathLike):
        return _digest(audio)
    path = Path(audio)
    if not path.is_file():
        # Never opened: a pipe would block until somebody writes.
        raise AudioError(f"{recording.label}: is not a regular file")
    with path.open("rb") as file:
        return _digest(file)


def _digest(file: Any) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def score_facts(recording: Recording, turns: Any) -> dict[str, Any]:
    """``score``, the seconds that are wrong, or ``reference_problem``; {} without a reference.

    ``turns`` are (start_s, end_s, speaker). Collar 0, overlap is scored.
    """
    if recording.reference is None:
        return {}
    from ..annotation.scoring import score  # noqa: PLC0415 -- loads scipy
    from ..annotation.turns import Turns  # noqa: PLC0415
    from ..stages.turns import Turn  # noqa: PLC0415

    try:
        truth = read_reference(recording.reference, recording.file_id)
        return {"score": asdict(score(truth, Turns(Turn(*each) for each in turns)))}
    except (VoxportError, OSError) as error:
        return {"reference_problem": str(error)}


def read_reference(place: str, file_id: str) -> Turns:
    """The turns of ``file_id`` in an RTTM file; a file of one recording may call it otherwise.

    Raises:
        AnnotationError: it cannot be read, is not RTTM, or has other recordings only.
        CorpusError: a URL that cannot be read.
    """
    from ..annotation.rttm import read_rttm  # noqa: PLC0415 -- loads numpy
    from ..annotation.turns import Turns  # noqa: PLC0415

    found = read_rttm(_text(place)) if is_url(place) else read_rttm(place)
    if file_id in found or not found:
        return found.get(file_id, Turns())
    if len(found) > 1:
        raise AnnotationError(f"{place}: has {len(found)} recordings, none of them {file_id}")
    return next(iter(found.values()))


def _text(url: str) -> TextIO:
    with open_url(url) as file:
        return io.StringIO(file.read().decode("utf-8", "surrogateescape"))
