"""Corpora on a command line."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from ..errors import OptionsError
from ..recordings.arguments import count

if TYPE_CHECKING:
    from ..diarization.work import DiarizationWork
    from .engines import EngineName

_FAILED = 1


def add_corpora(parser: argparse.ArgumentParser) -> None:
    """Who works on many recordings, and where."""
    group = parser.add_argument_group(
        "corpora",
        "With one of these, or a manifest (.csv, .jsonl, .parquet), a glob or a URL, what is done "
        "is skipped by the next run, and turns.parquet and report.json are written besides.",
    )
    group.add_argument(
        "--engine", choices=("local", "ray"), help="this machine or Ray (default: local)"
    )
    group.add_argument("--jobs", type=count, metavar="N", help="processes here (default: 1)")
    group.add_argument("--redo", action="store_true", help="do again what is done")
    group.add_argument(
        "--files-at-once",
        type=count,
        metavar="K",
        help="recordings per worker at the same time (default: 1 on the CPU, else 4)",
    )
    group.add_argument("--address", help="of a Ray cluster, e.g. auto (default: one of its own)")
    group.add_argument(
        "--workers", type=count, metavar="N", help="of Ray (default: as many as there is room for)"
    )
    group.add_argument(
        "--cpus-per-worker", type=float, metavar="X", help="CPUs of a worker of Ray (default: 1)"
    )
    group.add_argument(
        "--gpus-per-worker", type=float, metavar="X", help="GPUs of a worker of Ray (default: 0)"
    )


_OF_RAY = ("address", "workers", "cpus_per_worker", "gpus_per_worker")
_OF_CORPORA = ("engine", "jobs", "files_at_once", *_OF_RAY)


def is_for_corpus(options: argparse.Namespace) -> bool:
    """Whether the corpus's way was asked for, by an argument or by what there is to do."""
    from .inputs import is_corpus  # noqa: PLC0415 -- loads numpy

    given = (getattr(options, name) for name in _OF_CORPORA)
    return options.redo or any(each is not None for each in given) or is_corpus(options.files)


def run_command(options: argparse.Namespace, work: DiarizationWork) -> int:
    """Diarize a corpus as it was asked for; the exit status. SIGTERM ends it as Ctrl-C does.

    Raises:
        OptionsError: no folder, or arguments of the other engine.
        VoxportError: as ``diarize_corpus``.
    """
    from .diarize import diarize_corpus  # noqa: PLC0415 -- loads numpy, scipy and more
    from .display import Display  # noqa: PLC0415
    from .engines import Engine  # noqa: PLC0415

    if options.output is None:
        raise OptionsError("a corpus needs a folder for its results: give it with -o")
    name: EngineName = options.engine or "local"
    _check_engine(options, name)
    own = {each: getattr(options, each) for each in ("jobs", "files_at_once", *_OF_RAY)}
    engine = Engine(name, **{each: value for each, value in own.items() if value is not None})
    display = Display(quiet=options.quiet)
    with _terminated_as_interrupted():
        report = diarize_corpus(
            options.files, options.output, work, engine=engine, redo=options.redo, watcher=display
        )
    return 0 if report.is_complete else _FAILED


def _check_engine(options: argparse.Namespace, name: str) -> None:
    others = ("jobs",) if name == "ray" else _OF_RAY
    for other in others:
        if getattr(options, other) is not None:
            argument = f"--{other.replace('_', '-')}"
            raise OptionsError(f"{argument} is not for the engine {name}")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt, in the main thread; only there can it be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
