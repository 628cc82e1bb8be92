"""``voxport mel``: mel matrices of many recordings, into files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ..commands import Command
from ..errors import OptionsError
from ..recordings.arguments import add_files, add_networks, add_results, count
from ..recordings.outcome import Answer, Work
from ..recordings.run import Outputs, checked_formats, run_recordings

if TYPE_CHECKING:
    from ..audio_source import AudioSource
    from ..recordings.files import Recording
    from ..recordings.progress_bar import ProgressBar
    from .matrix import MelMatrix, MelStream

_DEFAULT = "npz"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    group = add_results(parser, "npz, hdf5, zarr", _DEFAULT, plot=False)
    group.add_argument(
        "--compression",
        type=_level,
        default=1,
        metavar="LEVEL",
        help="0, none, to 9, the smallest and slowest (default: 1)",
    )
    group.add_argument(
        "--again", action="store_true", help="make results that are there already once more"
    )
    networks = add_networks(parser, embedding=False)
    networks.add_argument(
        "--decode-threads",
        type=count,
        default=2,
        metavar="N",
        help="recordings decoded at once, a few blocks of each ahead (default: 2)",
    )
    networks.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help="stretches per call; halved where memory is short (default: by the device)",
    )


def _level(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 9:
        raise argparse.ArgumentTypeError(f"must be 0 to 9, got {value}")
    return value


def _run(options: argparse.Namespace) -> int:
    from .stores import FORMATS, store_kind  # noqa: PLC0415 -- loads numpy

    formats = checked_formats(options.format, dict.fromkeys(FORMATS))
    if options.output is None:
        raise OptionsError("mel matrices cannot be printed: give a folder with -o")
    for name in formats:
        store_kind(name)  # whatever it needs, before hours of work
    outputs = Outputs(formats, binary=formats)
    return run_recordings(options, outputs, lambda: _opened(options, formats))


@contextmanager
def _opened(options: argparse.Namespace, formats: tuple[str, ...]) -> Iterator[Work]:
    from ..recordings.files import find_recordings  # noqa: PLC0415
    from .ahead import StreamsAhead  # noqa: PLC0415
    from .matrix import MelMatrix  # noqa: PLC0415 -- loads numpy and more

    with MelMatrix(
        models=options.models,
        device=options.device,
        precision=options.precision,
        fallback=options.fallback,
        threads=options.threads,
        batch_size=options.batch_size,
    ) as mel:

        def wanted(recording: Recording) -> bool:
            known = _identity(mel, recording)
            return options.again or not _is_done(options, recording, formats, known)

        recordings = find_recordings(options.files).recordings
        with StreamsAhead(mel, recordings, options.decode_threads, wanted) as ahead:

            def work(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
                if not wanted(recording):
                    return Answer({}, "done before")
                known = _identity(mel, recording)
                stream = ahead.take(recording, audio)
                stream.progress = bar
                with closing(stream):
                    return _made(mel, stream, recording, _Task(options, formats, known))

            yield work


@dataclass(frozen=True)
class _Task:
    """How the results of a recording are made."""

    options: argparse.Namespace
    formats: tuple[str, ...]
    identity: dict[str, Any]


def _identity(mel: MelMatrix, recording: Recording) -> dict[str, Any]:
    """What a result was made of, and with: the same again would give the same matrices."""
    source: dict[str, Any] = {"name": recording.label}
    if recording.path is not None and recording.path.is_file():
        status = recording.path.stat()
        source |= {
            "name": recording.path.name,
            "size_bytes": status.st_size,
            "modified_ns": status.st_mtime_ns,
        }
    artifact = {name: getattr(mel.artifact, name) for name in ("name", "precision", "sha256")}
    return {"source": source, "artifact": artifact}


def _is_done(
    options: argparse.Namespace,
    recording: Recording,
    formats: tuple[str, ...],
    identity: dict[str, Any],
) -> bool:
    """Whether all results are there, of this very file and artifact; never for a stream."""
    from .stores import read_metadata, result_path  # noqa: PLC0415

    if "size_bytes" not in identity["source"]:
        return False
    return all(
        found is not None and all(found.get(name) == value for name, value in identity.items())
        for each in formats
        for found in [read_metadata(result_path(options.output, recording.stem, each), each)]
    )


def _made(mel: MelMatrix, stream: MelStream, recording: Recording, task: _Task) -> Answer:
    from .stores import writing  # noqa: PLC0415

    options = task.options
    with writing(
        options.output, recording.stem, task.formats, mel.shape, options.compression
    ) as results:
        for matrix in stream:
            with stream.watch.stage("writing"):
                results.append(matrix)
        stats = stream.stats()
        results.finish(
            {
                **task.identity,
                "device": mel.artifact.device,
                "configuration": mel.configuration,
                "sample_rate_hz": mel.sample_rate_hz,
                "num_samples": stream.num_samples,
                "processing_stats": stats.to_dict(),
                "voxport_version": version("voxport"),
            }
        )
    shares = ", ".join(f"{name} {share:.0%}" for name, share in stats.shares.items())
    return Answer(
        {},
        f"{stats.num_segments} segments of {stats.audio_s:.1f} s, "
        f"{stats.segments_per_s:.0f} per second ({shares})",
    )


MEL = Command("mel spectrograms of short segments of audio files", _configure, _run)
