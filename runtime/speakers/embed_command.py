"""``voxport embed``: voice prints of recordings, or of the speakers in them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..commands import Command
from ..errors import AnnotationError, AudioError, OptionsError
from ..recordings.arguments import add_files, add_networks, add_results
from ..recordings.outcome import Answer, Work
from ..recordings.run import Outputs, checked_formats, run_recordings

if TYPE_CHECKING:
    from ..annotation.turns import Turns
    from ..audio_source import AudioSource
    from ..recordings.files import Recording
    from ..recordings.progress_bar import ProgressBar
    from .embeddings import Embeddings


def _configure(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    add_results(parser, "json, npz", "json", plot=False)
    add_networks(parser)
    group = parser.add_argument_group("method")
    group.add_argument(
        "--segments",
        type=Path,
        metavar="RTTM",
        help="who speaks when, by the names of the files (default: one person in each file)",
    )
    group.add_argument(
        "--per",
        choices=("speaker", "segment"),
        help="with --segments: an embedding per speaker or per turn (default: speaker)",
    )
    group.add_argument(
        "--min-speech",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="less speech gives no embedding (default: 0.5)",
    )


def _run(options: argparse.Namespace) -> int:
    from ..annotation.rttm import read_rttm  # noqa: PLC0415 -- loads scipy
    from .embeddings import FORMATS  # noqa: PLC0415 -- loads numpy

    formats = checked_formats(options.format, FORMATS)
    if options.per is not None and options.segments is None:
        raise OptionsError("--per says what to embed of --segments: give an RTTM file, too")
    known = None if options.segments is None else read_rttm(options.segments)
    outputs = Outputs(formats, binary=("npz",))
    return run_recordings(options, outputs, lambda: _embedding(options, formats, known))


@contextmanager
def _embedding(
    options: argparse.Namespace, formats: tuple[str, ...], known: Mapping[str, Turns] | None
) -> Iterator[Work]:
    from .embedder import SpeakerEmbedder  # noqa: PLC0415 -- loads numpy, scipy and more
    from .embeddings import FORMATS  # noqa: PLC0415 -- loads numpy

    with SpeakerEmbedder(
        models=options.models,
        device=options.device,
        precision=options.precision,
        embedding=options.embedding,
        fallback=options.fallback,
        threads=options.threads,
        min_speech_s=options.min_speech,
    ) as embedder:

        def work(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
            turns = None if known is None else _turns_of(recording, known, options.segments)
            embeddings = embedder.embed(
                audio, turns, per=options.per or "speaker", label=recording.file_id, progress=bar
            )
            note = _note(embeddings, options.min_speech)
            return Answer(
                {name: FORMATS[name](embeddings, recording.file_id) for name in formats}, note
            )

        yield work


def _turns_of(recording: Recording, known: Mapping[str, Turns], source: Path) -> Turns:
    turns = known.get(recording.file_id)
    if not turns:
        there = ", ".join(list(known)[:5]) or "nothing"
        raise AnnotationError(f"{source} has no turns of {recording.file_id}; it has: {there}")
    return turns


def _note(embeddings: Embeddings, min_speech_s: float) -> str:
    """What is missing, for people.

    Raises:
        AudioError: all of it.
    """
    missing = int(sum(vector[0] != vector[0] for vector in embeddings.vectors))
    total = len(embeddings.labels)
    if missing == total:
        raise AudioError(f"no voice has {min_speech_s:g} s of speech: there is no embedding")
    notes = [*embeddings.remarks]
    if missing:
        notes.append(f"{missing} of {total} have less than {min_speech_s:g} s of speech: null")
    return "; ".join(notes)


EMBED = Command("voice prints of audio files, or of the speakers in them", _configure, _run)
