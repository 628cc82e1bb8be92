"""Known speakers from a command line: saved ones, and recordings of new ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import OptionsError, SpeakerDatabaseError, VoxportError
from ..loading import load
from .database import SpeakerDatabase, checked_name
from .embedder import SpeakerEmbedder
from .identifier import POST_EMBEDDING, min_speech_s


def enrolments(pairs: list[tuple[str, Path]]) -> dict[str, list[Path]]:
    """The recordings of each name.

    Raises:
        SpeakerDatabaseError: a name that is none.
        OptionsError: a recording twice: of two people, or of one, who would count double.
    """
    found: dict[str, list[Path]] = {}
    owners: dict[Path, str] = {}
    for name, path in pairs:
        found.setdefault(checked_name(name), []).append(path)
        other = owners.setdefault(path.absolute(), name)
        if len(owners) < sum(map(len, found.values())):
            raise OptionsError(f"--enroll: {path} is given twice, for {other} and for {name}")
    return found


def known_speakers(options: argparse.Namespace) -> SpeakerDatabase:
    """Those of ``--database``, and those of ``--enroll``.

    Raises:
        SpeakerDatabaseError: a database that cannot be used, or a name that is in it already.
        VoxportError: a recording that cannot be used, or the networks.
    """
    new = enrolments(options.enroll)
    saved = None if options.database is None else SpeakerDatabase.load(options.database)
    if saved is not None:
        if options.embedding not in (None, saved.artifact.name):
            raise SpeakerDatabaseError(
                f"{options.database} is by {saved.artifact.name}, not {options.embedding}"
            )
        twice = [name for name in new if name in saved]
        if twice:
            raise SpeakerDatabaseError(
                f"{twice[0]} is in {options.database} already: give all recordings of a person "
                "at once, or choose another name"
            )
        if not new:
            return saved
    with _embedder(options, saved) as embedder:
        if saved is None:
            saved = SpeakerDatabase(embedder.artifact, embedder.same_speaker_distance)
        saved.check(embedder.artifact)
        for name, paths in new.items():
            _enrol(saved, embedder, name, paths)
    return saved


def _embedder(options: argparse.Namespace, saved: SpeakerDatabase | None) -> SpeakerEmbedder:
    with load(POST_EMBEDDING, device="cpu", models=options.models) as post:
        least_s = min_speech_s(post)
    return SpeakerEmbedder(
        models=options.models,
        device=options.device,
        precision=options.precision,
        embedding=options.embedding if saved is None else saved.artifact.name,
        fallback=options.fallback,
        threads=options.threads,
        min_speech_s=least_s,
    )


def _enrol(
    database: SpeakerDatabase, embedder: SpeakerEmbedder, name: str, paths: list[Path]
) -> None:
    found = []
    for path in paths:
        try:
            found.append(embedder.embed(path, label=name))
        except VoxportError as error:
            hint = " (a name cannot hold =)" if "=" in str(path) else ""
            raise type(error)(f"--enroll {name}={path}{hint}: {error}") from error
    database.enrol(name, *found)
