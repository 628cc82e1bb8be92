"""``voxport diarize``: who spoke when, in any number of recordings."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..commands import Command
from ..recordings.arguments import add_files, add_networks, add_results, add_speakers
from ..recordings.run import Answer, Outputs, Work, checked_formats, run_recordings

if TYPE_CHECKING:
    from ..audio_source import AudioSource
    from ..recordings.files import Recording
    from ..recordings.progress_bar import ProgressBar
    from ..stages import SpeakerBounds
    from .settings import Settings

_RTTM = "rttm"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    results = add_results(parser, "rttm, json, srt, vtt, csv, txt", _RTTM)
    results.add_argument("--exclusive", action="store_true", help="one speaker at a time")
    add_networks(parser)
    method = add_speakers(parser)
    method.add_argument(
        "--mode",
        choices=("fast", "exact"),
        default="fast",
        help="embed each second once, or each window as pyannote.audio does (default: fast)",
    )
    method.add_argument(
        "--threshold", type=float, metavar="X", help="of the clustering: more joins more voices"
    )


def _run(options: argparse.Namespace) -> int:
    from ..annotation.formats import FORMATS  # noqa: PLC0415 -- loads scipy

    formats = checked_formats(options.format, FORMATS)
    outputs = Outputs(formats, shared=(_RTTM,))
    return run_recordings(options, outputs, lambda: _diarizing(options, formats))


@contextmanager
def _diarizing(options: argparse.Namespace, formats: tuple[str, ...]) -> Iterator[Work]:
    from ..recordings.turns_files import turns_contents  # noqa: PLC0415 -- loads scipy
    from .diarizer import Diarizer  # noqa: PLC0415 -- loads numpy, scipy and more

    settings, bounds = _settings(options), speaker_bounds(options)
    with Diarizer(
        models=options.models,
        device=options.device,
        precision=options.precision,
        embedding=options.embedding,
        settings=settings,
        fallback=options.fallback,
        threads=options.threads,
    ) as diarizer:

        def work(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
            result = diarizer(
                audio,
                num_speakers=bounds.num_speakers,
                min_speakers=bounds.min_speakers,
                max_speakers=bounds.max_speakers,
                progress=bar,
            )
            turns = result.exclusive_turns if options.exclusive else result.turns
            plot_s = result.duration_s if options.plot else None
            return Answer(turns_contents(turns, formats, recording, plot_s))

        yield work


def _settings(options: argparse.Namespace) -> Settings:
    from .settings import Settings  # noqa: PLC0415 -- loads numpy and scipy

    given = {"step_s": options.step, "threshold": options.threshold}
    return Settings(
        mode=options.mode, **{name: value for name, value in given.items() if value is not None}
    )


def speaker_bounds(options: argparse.Namespace) -> SpeakerBounds:
    """What ``add_speakers`` was told of their number.

    Raises:
        OptionsError: it contradicts itself.
    """
    from ..stages import SpeakerBounds  # noqa: PLC0415 -- loads numpy and scipy

    return SpeakerBounds(options.num_speakers, options.min_speakers, options.max_speakers)


DIARIZE = Command("who spoke when in audio files", _configure, _run)
