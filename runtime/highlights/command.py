"""``voxport highlights``: where recordings stand out by loudness, and by their chat."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..commands import Command
from ..errors import OptionsError
from ..recordings.arguments import add_files, add_results, count
from ..recordings.outcome import Answer, Work
from ..recordings.run import Outputs, checked_formats, run_recordings

if TYPE_CHECKING:
    from ..audio_source import AudioSource
    from ..recordings.files import Recording
    from ..recordings.progress_bar import ProgressBar
    from .result import HighlightResult
    from .selection import Selection


def _configure(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    add_results(parser, "json, csv", "json")
    group = parser.add_argument_group("graphs")
    group.add_argument("--models", type=Path, metavar="FOLDER", help="folder with the artifacts")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, ... (default: auto)")
    group.add_argument(
        "--fallback",
        action="store_true",
        help="take another device if the named one cannot be used",
    )
    group.add_argument("--threads", type=count, metavar="N", help="on the CPU (default: cores)")
    group = parser.add_argument_group("method")
    group.add_argument(
        "--chat", type=Path, metavar="CSV", help="rows time_s,count of one recording's chat"
    )
    group.add_argument("--top", type=count, metavar="N", help="the N best only (default: all)")
    group.add_argument(
        "--min-gap", type=float, default=1.0, metavar="SECONDS", help="join what is nearer (1)"
    )
    group.add_argument(
        "--min-duration", type=float, default=0.5, metavar="SECONDS", help="drop what is shorter"
    )


def _run(options: argparse.Namespace) -> int:
    from .result import FORMATS  # noqa: PLC0415 -- loads numpy
    from .selection import Selection  # noqa: PLC0415

    _check_chat(options)
    formats = checked_formats(options.format, FORMATS)
    selection = Selection(options.min_gap, options.min_duration, options.top)
    return run_recordings(options, Outputs(formats), lambda: _finding(options, formats, selection))


def _check_chat(options: argparse.Namespace) -> None:
    single = len(options.files) == 1 and not Path(options.files[0]).is_dir()
    if options.chat is not None and not single:
        raise OptionsError("--chat is of one recording: name one file")


@contextmanager
def _finding(
    options: argparse.Namespace, formats: tuple[str, ...], selection: Selection
) -> Iterator[Work]:
    from ..options import Options  # noqa: PLC0415
    from .chat import NO_CHAT, read_chat  # noqa: PLC0415
    from .highlighter import Highlighter  # noqa: PLC0415 -- loads numpy, soxr and more
    from .plot import score_svg  # noqa: PLC0415
    from .result import FORMATS  # noqa: PLC0415

    chat = read_chat(options.chat) if options.chat is not None else NO_CHAT
    with Highlighter(
        models=options.models,
        device=options.device,
        fallback=options.fallback,
        options=Options(intra_op_threads=options.threads),
    ) as highlighter:

        def work(recording: Recording, audio: AudioSource, bar: ProgressBar) -> Answer:
            result = highlighter(audio, chat, selection=selection, progress=bar)
            contents = {name: FORMATS[name](result, recording.file_id) for name in formats}
            if options.plot:
                contents["svg"] = score_svg(result, recording.stem)
            return Answer(contents, summary(result))

        yield work


def summary(result: HighlightResult) -> str:
    """How many moments there are, and how much of the recording they are."""
    total = len(result.moments)
    seconds = sum(moment.duration_s for moment in result.moments)
    noun = "highlight" if total == 1 else "highlights"
    return f"{total} {noun}, {seconds:.1f} s of {result.duration_s:.1f} s"


HIGHLIGHTS = Command("where audio files stand out by loudness and chat", _configure, _run)
