"""``voxport identify``: who spoke when, by the names of known speakers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..commands import Command
from ..diarization.command import speaker_bounds
from ..errors import OptionsError
from ..recordings.arguments import add_files, add_networks, add_results, add_speakers
from ..recordings.outcome import Answer, Work
from ..recordings.run import Outputs, check_outputs, checked_formats, run_recordings

if TYPE_CHECKING:
    from ..audio_source import AudioSource
    from ..diarization.settings import Settings
    from ..recordings.files import Recording
    from ..recordings.progress_bar import ProgressBar
    from .database import SpeakerDatabase

_RTTM = "rttm"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_files(parser, nargs="*")
    results = add_results(parser, "rttm, json, srt, vtt, csv, txt", _RTTM)
    results.add_argument("--exclusive", action="store_true", help="one speaker at a time")
    group = parser.add_argument_group("known speakers")
    group.add_argument(
        "--enroll",
        action="append",
        default=[],
        type=_enrolment,
        metavar="NAME=AUDIO",
        help="a recording of NAME alone, 1 s of speech at least; again for more recordings",
    )
    group.add_argument(
        "--database", type=Path, metavar="NPZ", help="speakers that were saved before"
    )
    group.add_argument("--save-database", type=Path, metavar="NPZ", help="save all known speakers")
    group.add_argument(
        "--threshold",
        type=float,
        metavar="X",
        help="cosine distance from which on a speaker is unknown (default: the network's own)",
    )
    add_networks(parser)
    add_speakers(parser)


def _enrolment(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not (separator and name.strip() and path):
        raise argparse.ArgumentTypeError(f"expected NAME=AUDIO, got {text!a:.80}")
    return name.strip(), Path(path)


def _run(options: argparse.Namespace) -> int:
    from ..annotation.formats import FORMATS  # noqa: PLC0415 -- loads scipy
    from .enrolment import known_speakers  # noqa: PLC0415 -- loads numpy, scipy and more

    formats = checked_formats(options.format, FORMATS)
    outputs = Outputs(formats, shared=(_RTTM,))
    _check(options)
    check_outputs(options, outputs)
    _check_names([name for name, _ in options.enroll], formats)
    database = known_speakers(options)
    _check_names(database.names, formats)
    if options.save_database is not None:
        database.save(options.save_database)
    if not options.files:
        return 0
    return run_recordings(options, outputs, lambda: _identifying(options, formats, database))


def _check(options: argparse.Namespace) -> None:
    """Raise what would be found out only after everybody was enrolled."""
    if not options.enroll and options.database is None:
        raise OptionsError("nobody is known: give --enroll NAME=AUDIO, or --database")
    if not options.files and options.save_database is None:
        raise OptionsError("nothing to do: give recordings, or --save-database")
    if options.threshold is not None and not 0 < options.threshold <= 2:
        raise OptionsError(
            f"--threshold is a cosine distance, above 0 and up to 2, got {options.threshold}"
        )
    speaker_bounds(options)
    if options.save_database is not None:
        _check_target(options.save_database, options.database)


def _check_target(target: Path, source: Path | None) -> None:
    """A database is written beside what is there, or over what it was made of."""
    if not target.absolute().parent.is_dir():
        raise OptionsError(f"--save-database {target}: there is no folder {target.parent}")
    if target.exists() and (source is None or not source.exists() or not target.samefile(source)):
        raise OptionsError(
            f"--save-database {target}: there is one already, which would be lost: add to it with "
            f"--database {target}, or take another name"
        )


def _check_names(names: Sequence[str], formats: Sequence[str]) -> None:
    blank = [name for name in names if name.split() != [name]]
    if blank and _RTTM in formats:
        raise OptionsError(
            f"RTTM cannot hold a name with blanks: {blank[0]!a:.80}; take another --format, or "
            "another name"
        )


@contextmanager
def _identifying(
    options: argparse.Namespace, formats: tuple[str, ...], database: SpeakerDatabase
) -> Iterator[Work]:
    from .identifier import SpeakerIdentifier  # noqa: PLC0415 -- loads numpy, scipy and more
    from .names import identified_contents, summary  # noqa: PLC0415 -- loads scipy

    bounds = speaker_bounds(options)
    with SpeakerIdentifier(
        database,
        models=options.models,
        device=options.device,
        precision=options.precision,
        settings=_settings(options),
        fallback=options.fallback,
        threads=options.threads,
        threshold=options.threshold,
    ) as identifier:

        def work(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
            found = identifier(
                audio,
                num_speakers=bounds.num_speakers,
                min_speakers=bounds.min_speakers,
                max_speakers=bounds.max_speakers,
                progress=bar,
            )
            contents = identified_contents(
                found, formats, recording, exclusive=options.exclusive, plot=options.plot
            )
            return Answer(contents, summary(found))

        yield work


def _settings(options: argparse.Namespace) -> Settings:
    from ..diarization.settings import Settings  # noqa: PLC0415 -- loads numpy and scipy

    return Settings() if options.step is None else Settings(step_s=options.step)


IDENTIFY = Command("who spoke when in audio files, by name", _configure, _run)
