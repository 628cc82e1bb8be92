"""``voxport vggish``: embeddings of sound, one for every 0.96 s."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..commands import Command
from ..recordings.arguments import add_files, add_networks, add_results
from ..recordings.outcome import Answer, Work
from ..recordings.run import Outputs, checked_formats, run_recordings

if TYPE_CHECKING:
    from ..audio_source import AudioSource
    from ..recordings.files import Recording
    from ..recordings.progress_bar import ProgressBar


def _configure(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    add_results(parser, "json, csv, npz", "json", plot=False)
    add_networks(parser, embedding=False)


def _run(options: argparse.Namespace) -> int:
    from .embeddings import FORMATS  # noqa: PLC0415 -- loads numpy

    formats = checked_formats(options.format, FORMATS)
    outputs = Outputs(formats, binary=("npz",))
    return run_recordings(options, outputs, lambda: _embedding(options, formats))


@contextmanager
def _embedding(options: argparse.Namespace, formats: tuple[str, ...]) -> Iterator[Work]:
    from ..loading import load  # noqa: PLC0415 -- loads numpy and more
    from ..options import Options  # noqa: PLC0415
    from .embedder import VggishEmbedder  # noqa: PLC0415
    from .embeddings import FORMATS  # noqa: PLC0415
    from .model import ARTIFACT  # noqa: PLC0415

    session = load(
        ARTIFACT,
        device=options.device,
        precision=options.precision,
        models=options.models,
        fallback=options.fallback,
        options=Options(intra_op_threads=options.threads),
    )
    with VggishEmbedder(session) as embedder:

        def work(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
            found = embedder(audio, progress=bar)
            contents = {name: FORMATS[name](found, recording.file_id) for name in formats}
            note = f"{len(found.vectors)} embeddings of {found.duration_s:.1f} s"
            return Answer(contents, "; ".join([note, *found.remarks]))

        yield work


VGGISH = Command("embeddings of sound in audio files (VGGish)", _configure, _run)
