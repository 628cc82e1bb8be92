"""``voxport diarize``: who spoke when, in any number of recordings."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..commands import Command
from ..corpus.arguments import add_corpora, is_for_corpus, run_command
from ..recordings.arguments import add_files, add_networks, add_results, add_speakers
from ..recordings.run import Outputs, checked_formats, run_recordings

if TYPE_CHECKING:
    from ..stages import SpeakerBounds
    from .settings import Settings
    from .work import DiarizationWork

_RTTM = "rttm"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_files(parser, what="audio files, folders, globs, manifests or URLs of them, or - for stdin")
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
    add_corpora(parser)


def _run(options: argparse.Namespace) -> int:
    from ..annotation.formats import FORMATS  # noqa: PLC0415 -- loads scipy

    formats = checked_formats(options.format, FORMATS)
    work = _work(options, formats)
    if is_for_corpus(options):
        return run_command(options, work)
    return run_recordings(options, Outputs(formats, shared=(_RTTM,)), work.opened)


def _work(options: argparse.Namespace, formats: tuple[str, ...]) -> DiarizationWork:
    from .work import DiarizationWork  # noqa: PLC0415 -- loads numpy, scipy and more

    return DiarizationWork(
        formats=formats,
        exclusive=options.exclusive,
        plot=options.plot,
        bounds=speaker_bounds(options),
        models=options.models,
        device=options.device,
        precision=options.precision,
        embedding=options.embedding,
        settings=_settings(options),
        fallback=options.fallback,
        threads=options.threads,
    )


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
