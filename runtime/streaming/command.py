"""``voxport stream``: who speaks, while they speak, from raw PCM on standard input."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..commands import Command
from ..errors import AudioError, OptionsError
from ..recordings.arguments import count
from ..recordings.writing import PipeClosedError, print_at_once, write_whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..stages import Turn
    from .diarizer import StreamingDiarizer
    from .interrupt import Interrupt
    from .settings import StreamingSettings
    from .update import StreamingUpdate

# As a shell reports a process that SIGPIPE ended, which Python ignores.
_PIPE_CLOSED = 141
_ENCODINGS = ("s16le", "f32le")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Reads raw PCM from standard input, e.g. from `ffmpeg -i SOURCE -f s16le -ac 1 -ar 16000 "
        "-` or `arecord -q -t raw -f S16_LE -c 1 -r 16000`, and prints each turn when it is over "
        "and final. Ctrl-C ends the stream; the last turns are printed then."
    )
    audio = parser.add_argument_group("audio")
    audio.add_argument(
        "--rate", type=count, default=16000, metavar="HZ", help="of the input (default: 16000)"
    )
    audio.add_argument(
        "--encoding", choices=_ENCODINGS, default="s16le", help="of the input (default: s16le)"
    )
    audio.add_argument(
        "--channels", type=count, default=1, metavar="N", help="of the input (default: 1)"
    )
    results = parser.add_argument_group("results")
    results.add_argument("--json", action="store_true", help="print JSON, an object on each line")
    results.add_argument(
        "--provisional", action="store_true", help="print too what may still change, after ~"
    )
    results.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write RTTM too, whole, in the end"
    )
    _configure_method(parser)


def _configure_method(parser: argparse.ArgumentParser) -> None:
    networks = parser.add_argument_group("networks")
    networks.add_argument("--models", type=Path, metavar="FOLDER", help="folder with the artifacts")
    networks.add_argument("--embedding", metavar="NAME", help="embedding network")
    networks.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, ... (default: auto)")
    networks.add_argument(
        "--fallback",
        action="store_true",
        help="take another device if the named one cannot be used",
    )
    networks.add_argument("--precision", default="auto", help="fp32, fp16, int8 (default: auto)")
    method = parser.add_argument_group("method")
    method.add_argument(
        "--latency", type=float, metavar="SECONDS", help="until a moment is final (default: 5)"
    )
    method.add_argument(
        "--step", type=float, metavar="SECONDS", help="from window to window (default: 1)"
    )
    method.add_argument("--max-speakers", type=count, metavar="N", help="the most there may be")
    method.add_argument(
        "--threshold", type=float, metavar="X", help="of the clustering: more joins more voices"
    )


def _run(options: argparse.Namespace) -> int:
    from .diarizer import StreamingDiarizer  # noqa: PLC0415 -- loads numpy, scipy and more
    from .interrupt import Interrupt, on_interrupt  # noqa: PLC0415 -- with the others

    settings = _settings(options)
    _check(options)
    with StreamingDiarizer(
        models=options.models,
        device=options.device,
        precision=options.precision,
        embedding=options.embedding,
        settings=settings,
        source_rate_hz=options.rate,
        num_channels=options.channels,
        fallback=options.fallback,
    ) as diarizer:
        interrupt = Interrupt()
        with on_interrupt(interrupt):
            try:
                turns = _stream(options, diarizer, interrupt)
            except PipeClosedError:
                return _PIPE_CLOSED
            # A Ctrl-C ends what is left to do no more.
            _write(options, turns)
    return 0


def _settings(options: argparse.Namespace) -> StreamingSettings:
    from .settings import StreamingSettings  # noqa: PLC0415

    given = {
        "step_s": options.step,
        "latency_s": options.latency,
        "max_speakers": options.max_speakers,
        "threshold": options.threshold,
    }
    return StreamingSettings(**{name: value for name, value in given.items() if value is not None})


def _check(options: argparse.Namespace) -> None:
    """Raise what would be found out only when the stream is over.

    Raises:
        OptionsError: nobody writes to standard input, or nothing can be written in the end.
    """
    if sys.stdin.isatty():
        raise OptionsError(
            "raw PCM is read from standard input, which is a terminal: pipe it in, e.g. "
            "arecord -q -t raw -f S16_LE -c 1 -r 16000 | voxport stream"
        )
    output: Path | None = options.output
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        reason = "is a folder" if output.is_dir() else f"there is no folder {output.parent}"
        raise OptionsError(f"-o {output}: {reason}")


def _stream(
    options: argparse.Namespace, diarizer: StreamingDiarizer, interrupt: Interrupt
) -> list[Turn]:
    """Print turns until the end of the input, or Ctrl-C; all of them, if they will be written.

    Raises:
        AudioError: what is read is no audio; what was heard before is printed.
        PipeClosedError: nobody reads the turns any more.
    """
    printer = _Printer(options)
    problem = None
    try:
        for samples in _pieces(options, interrupt):
            printer(diarizer.push(samples))
    except AudioError as error:
        problem = error
    printer(diarizer.finish())
    if problem is not None:
        # What was heard until then may have taken hours.
        if printer.kept:
            _write(options, printer.kept)
        raise problem
    return printer.kept


def _pieces(options: argparse.Namespace, interrupt: Interrupt) -> Iterator[npt.NDArray[np.generic]]:
    """Samples, until a Ctrl-C while waiting for them."""
    from .pcm import read_pcm  # noqa: PLC0415 -- loads numpy

    pieces = read_pcm(sys.stdin.buffer, options.encoding, options.channels, _warn)
    while True:
        try:
            with interrupt.waiting():
                samples = next(pieces, None)
        except KeyboardInterrupt:
            return
        if samples is None:
            return
        yield samples


def _warn(text: str) -> None:
    sys.stderr.write(f"voxport stream: {text}\n")


class _Printer:
    """Prints updates; keeps the turns only if a file will be written."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.kept: list[Turn] = []
        self._options = options
        self._provisional: tuple[Turn, ...] = ()

    def __call__(self, update: StreamingUpdate) -> None:
        write = _json_lines if self._options.json else _lines
        text = write(update, provisional=self._is_news(update))
        if text:
            print_at_once(text)
        if self._options.output is not None:
            self.kept += update.final

    def _is_news(self, update: StreamingUpdate) -> bool:
        before, self._provisional = self._provisional, update.provisional
        return bool(self._options.provisional) and before != update.provisional


def _lines(update: StreamingUpdate, *, provisional: bool) -> str:
    from ..annotation.formats import format_turns  # noqa: PLC0415 -- loads scipy
    from ..annotation.turns import Turns  # noqa: PLC0415 -- loads scipy

    # One by one: they are printed in the order in which they end.
    final = "".join(format_turns(Turns([turn]), "txt", "") for turn in update.final)
    changing = format_turns(Turns(update.provisional), "txt", "") if provisional else ""
    return final + "".join(f"~ {line}\n" for line in changing.splitlines())


def _json_lines(update: StreamingUpdate, *, provisional: bool) -> str:
    lines: list[dict[str, object]] = [{"type": "final", **vars(turn)} for turn in update.final]
    if provisional:
        lines.append(
            {
                "type": "provisional",
                "now_s": update.now_s,
                "final_until_s": update.final_until_s,
                "turns": [vars(turn) for turn in update.provisional],
            }
        )
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def _write(options: argparse.Namespace, turns: list[Turn]) -> None:
    from ..annotation.formats import format_turns  # noqa: PLC0415 -- loads scipy
    from ..annotation.rttm import file_id_of  # noqa: PLC0415 -- loads numpy
    from ..annotation.turns import Turns  # noqa: PLC0415 -- loads scipy

    if options.output is not None:
        text = format_turns(Turns(turns), "rttm", file_id_of(options.output))
        write_whole(options.output.parent, {options.output.name: text})


STREAM = Command("who speaks, while they speak, from raw PCM", _configure, _run)
