"""``voxport vad`` and ``voxport overlap``: where there is speech, and where several speak."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..commands import Command
from ..recordings.arguments import add_files, add_networks, add_results
from ..recordings.outcome import Answer, Work
from ..recordings.run import Outputs, checked_formats, run_recordings

if TYPE_CHECKING:
    from ..annotation.turns import Turns
    from ..audio_source import AudioSource
    from ..recordings.files import Recording
    from ..recordings.progress_bar import ProgressBar
    from .result import DetectionResult

_RTTM = "rttm"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    add_results(parser, "rttm, json, srt, vtt, csv, txt", _RTTM)
    add_networks(parser, embedding=False)
    group = parser.add_argument_group("method")
    group.add_argument(
        "--step", type=float, default=1.0, metavar="SECONDS", help="from window to window (1)"
    )
    group.add_argument(
        "--min-on", type=float, default=0.0, metavar="SECONDS", help="drop what is shorter (0)"
    )
    group.add_argument(
        "--min-off", type=float, default=0.0, metavar="SECONDS", help="fill shorter pauses (0)"
    )


def _run(options: argparse.Namespace, wanted: Callable[[DetectionResult], Turns]) -> int:
    from ..annotation.formats import FORMATS  # noqa: PLC0415 -- loads scipy

    formats = checked_formats(options.format, FORMATS)
    outputs = Outputs(formats, shared=(_RTTM,))
    return run_recordings(options, outputs, lambda: _detecting(options, formats, wanted))


@contextmanager
def _detecting(
    options: argparse.Namespace,
    formats: tuple[str, ...],
    wanted: Callable[[DetectionResult], Turns],
) -> Iterator[Work]:
    from ..recordings.turns_files import turns_contents  # noqa: PLC0415 -- loads scipy
    from .detector import SpeechDetector  # noqa: PLC0415 -- loads numpy, scipy and more

    with SpeechDetector(
        models=options.models,
        device=options.device,
        precision=options.precision,
        fallback=options.fallback,
        threads=options.threads,
        step_s=options.step,
        min_duration_on_s=options.min_on,
        min_duration_off_s=options.min_off,
    ) as detector:

        def work(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
            result = detector(audio, progress=bar)
            plot_s = result.duration_s if options.plot else None
            contents = turns_contents(wanted(result), formats, recording, plot_s)
            return Answer(contents, summary(result))

        yield work


def summary(result: DetectionResult) -> str:
    """Seconds and shares of speech and overlap."""
    parts = (("speech", result.speech_s), ("overlap", result.overlap_s))
    shares = (f"{name} {each_s:.1f} s ({each_s / result.duration_s:.1%})" for name, each_s in parts)
    return f"{', '.join(shares)} of {result.duration_s:.1f} s"


VAD = Command(
    "where there is speech in audio files",
    _configure,
    lambda options: _run(options, lambda result: result.speech),
)
OVERLAP = Command(
    "where several people speak at once in audio files",
    _configure,
    lambda options: _run(options, lambda result: result.overlap),
)
