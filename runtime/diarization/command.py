"""``voxport diarize``: who spoke when, in any number of recordings."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..commands import Command
from ..errors import OptionsError, VoxportError
from .files import Found, Recording, check_names, find_recordings, make_folder, write_whole
from .progress_bar import ProgressBar

if TYPE_CHECKING:
    from ..stages import SpeakerBounds
    from .diarizer import Diarizer
    from .result import DiarizationResult
    from .settings import Settings

_RTTM = "rttm"
_FAILED = 1
# As a shell reports a process that SIGPIPE ended, which Python ignores.
_PIPE_CLOSED = 141


class _PipeClosedError(Exception):
    """Whoever read standard output has read enough."""


class _OutputError(VoxportError):
    """Standard output takes nothing any more: no file can succeed."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="audio files, folders that are searched for them, or - for standard input",
    )
    _configure_results(parser)
    _configure_networks(parser)
    _configure_method(parser)


def _configure_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="write FOLDER/NAME.FORMAT for each file (default: print)",
    )
    group.add_argument(
        "--format",
        default=_RTTM,
        metavar="FORMATS",
        help="by commas: rttm, json, srt, vtt, csv, txt (default: rttm)",
    )
    group.add_argument("--exclusive", action="store_true", help="one speaker at a time")
    group.add_argument(
        "--plot", action="store_true", help="draw a timeline too: FOLDER/NAME.svg (needs -o)"
    )
    group.add_argument("--quiet", action="store_true", help="print results and errors only")


def _configure_networks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("networks")
    group.add_argument("--models", type=Path, metavar="FOLDER", help="folder with the artifacts")
    group.add_argument("--embedding", metavar="NAME", help="embedding network (default: the first)")
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, ... (default: auto)")
    group.add_argument(
        "--fallback",
        action="store_true",
        help="take another device if the named one cannot be used",
    )
    group.add_argument("--precision", default="auto", help="fp32, fp16, int8 (default: auto)")
    group.add_argument(
        "--threads", type=_count, metavar="N", help="blocks at a time on the CPU (default: cores)"
    )


def _configure_method(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("method")
    group.add_argument("--num-speakers", type=_count, metavar="N", help="how many there are")
    group.add_argument("--min-speakers", type=_count, metavar="N", help="the fewest there may be")
    group.add_argument("--max-speakers", type=_count, metavar="N", help="the most there may be")
    group.add_argument(
        "--mode",
        choices=("fast", "exact"),
        default="fast",
        help="embed each second once, or each window as pyannote.audio does (default: fast)",
    )
    group.add_argument("--step", type=float, metavar="SECONDS", help="from window to window")
    group.add_argument(
        "--threshold", type=float, metavar="X", help="of the clustering: more joins more voices"
    )


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value


@dataclass
class _Run:
    """What all files have in common, and how it went so far."""

    options: argparse.Namespace
    formats: tuple[str, ...]
    bar: ProgressBar
    num_done: int = 0
    problems: list[str] = field(default_factory=list)

    def fail(self, problem: str) -> None:
        """Tell what is wrong with a file at once: the others may take hours."""
        self.problems.append(problem)
        self.bar.clear()
        sys.stderr.write(f"voxport: {problem}\n")

    def summary(self, total: int) -> str:
        """How many files were done, and how many were not."""
        rest = total - self.num_done - len(self.problems)
        parts = [f"{self.num_done} {'file' if self.num_done == 1 else 'files'} done"]
        parts += [f"{len(self.problems)} failed"] if self.problems else []
        parts += [f"{rest} not done"] if rest else []
        return f"{', '.join(parts)}\n"


def _run(options: argparse.Namespace) -> int:
    found = find_recordings(options.files)
    run = _Run(options, _formats(options.format), _bar(options))
    _check(options, run.formats, found.recordings)
    for problem in found.problems:
        run.fail(problem)
    try:
        if found.recordings:
            _diarize_all(run, found.recordings)
    except _PipeClosedError:
        # Nobody wants to know the rest.
        run.bar.clear()
        return _PIPE_CLOSED
    except BaseException:
        # An interrupt, or nothing to print to: a clean line, and how far it came.
        _finish(run, found)
        raise
    _finish(run, found)
    return _FAILED if run.problems else 0


def _finish(run: _Run, found: Found) -> None:
    run.bar.clear()
    total = len(found.recordings) + len(found.problems)
    if total > 1 and not run.options.quiet and run.num_done + len(run.problems):
        sys.stderr.write(run.summary(total))


def _bar(options: argparse.Namespace) -> ProgressBar:
    return ProgressBar(sys.stderr if sys.stderr.isatty() and not options.quiet else None)


def _formats(text: str) -> tuple[str, ...]:
    from ..annotation.formats import FORMATS  # noqa: PLC0415 -- loads scipy

    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise OptionsError(f"--format: no format {name!a:.40}; there are {', '.join(FORMATS)}")
    return names


def _check(
    options: argparse.Namespace, formats: tuple[str, ...], recordings: list[Recording]
) -> None:
    """Raise what would be found out only after hours otherwise.

    Raises:
        OptionsError: options that contradict each other, or files that do.
        VoxportError: the folder for results cannot be made.
    """
    check_names(recordings)
    if options.output is not None:
        make_folder(options.output)
    elif options.plot:
        raise OptionsError("--plot writes a picture for each file: give a folder with -o")
    elif len(formats) > 1:
        raise OptionsError("one format can be printed: give a folder with -o for several")
    elif len(recordings) > 1 and formats != (_RTTM,):
        raise OptionsError(
            f"{formats[0]} does not say which file it is of: give a folder with -o, or one file"
        )


def _diarize_all(run: _Run, recordings: list[Recording]) -> None:
    from .diarizer import Diarizer  # noqa: PLC0415 -- loads numpy, scipy and more

    options, settings, bounds = run.options, _settings(run.options), _bounds(run.options)
    with Diarizer(
        models=options.models,
        device=options.device,
        precision=options.precision,
        embedding=options.embedding,
        settings=settings,
        fallback=options.fallback,
        threads=options.threads,
    ) as diarizer:
        for number, recording in enumerate(recordings, start=1):
            place = f"[{number}/{len(recordings)}] " if len(recordings) > 1 else ""
            run.bar.begin(f"{place}{recording.file_id}")
            _attempt(run, diarizer, recording, bounds)


def _settings(options: argparse.Namespace) -> Settings:
    from .settings import Settings  # noqa: PLC0415 -- loads numpy and scipy

    given = {"step_s": options.step, "threshold": options.threshold}
    return Settings(
        mode=options.mode, **{name: value for name, value in given.items() if value is not None}
    )


def _bounds(options: argparse.Namespace) -> SpeakerBounds:
    from ..stages import SpeakerBounds  # noqa: PLC0415 -- loads numpy and scipy

    return SpeakerBounds(options.num_speakers, options.min_speakers, options.max_speakers)


def _attempt(run: _Run, diarizer: Diarizer, recording: Recording, bounds: SpeakerBounds) -> None:
    """Diarize one file. Whatever is wrong with it, the others are done."""
    try:
        with recording.opened() as audio:
            result = diarizer(
                audio,
                num_speakers=bounds.num_speakers,
                min_speakers=bounds.min_speakers,
                max_speakers=bounds.max_speakers,
                progress=run.bar,
            )
        _give(run, recording, result)
    except (_PipeClosedError, _OutputError):
        raise
    except (VoxportError, OSError) as error:
        run.fail(recording.problem(error))
    except Exception as error:
        # A defect of voxport, which a file brought to light: it is shown in full.
        run.bar.clear()
        traceback.print_exc(file=sys.stderr)
        run.fail(recording.problem(f"unexpected {type(error).__name__}: {error}"))
    else:
        run.num_done += 1


def _give(run: _Run, recording: Recording, result: DiarizationResult) -> None:
    """Print or write what was asked for."""
    from ..annotation.formats import format_turns  # noqa: PLC0415 -- loads scipy
    from ..annotation.timeline import timeline_svg  # noqa: PLC0415 -- loads scipy

    turns = result.exclusive_turns if run.options.exclusive else result.turns
    texts = {name: format_turns(turns, name, recording.file_id) for name in run.formats}
    if run.options.plot:
        texts["svg"] = timeline_svg(turns, result.duration_s, recording.stem)
    run.bar.clear()
    if run.options.output is None:
        _print("".join(texts.values()))
    else:
        named = {f"{recording.stem}.{ending}": text for ending, text in texts.items()}
        write_whole(run.options.output, named)


def _print(text: str) -> None:
    """Write to standard output at once: who reads the pipe need not wait for the last file."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _silence()
        if isinstance(error, BrokenPipeError):
            raise _PipeClosedError from error
        raise _OutputError(f"the result cannot be printed: {error.strerror or error}") from error


def _silence() -> None:
    """Let what is still buffered go nowhere: Python would complain of it at its end."""
    with contextlib.suppress(OSError):
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(sink, sys.stdout.fileno())
        finally:
            os.close(sink)


DIARIZE = Command("who spoke when in audio files", _configure, _run)
