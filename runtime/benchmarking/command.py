"""``voxport bench``: how fast artifacts are, by device, precision and batch size."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..commands import Command
from ..errors import InputError
from ..options import Options
from ..profiling.arguments import STDOUT, listed, listed_devices, write_text
from .bench import DEFAULT_ROUNDS, artifact_names, bench
from .result import to_json
from .table import benchmark_table

_ALL = "all"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", help="artifacts, by commas; or all")
    parser.add_argument(
        "audio",
        nargs="?",
        type=Path,
        metavar="AUDIO",
        help="a file, for artifacts that take windows of audio (default: synthetic inputs)",
    )
    parser.add_argument("--models", type=Path, help="folder with the artifacts")
    parser.add_argument(
        "--device",
        default="auto",
        metavar="DEVICES",
        help="by commas (default: auto); those that cannot be used are told, and the exit status "
        "is 0 if any could",
    )
    parser.add_argument(
        "--precision", default="auto", metavar="PRECISIONS", help="by commas (default: auto)"
    )
    parser.add_argument(
        "--batch-size", metavar="SIZES", help="items per call, by commas (default: the runtime's)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=DEFAULT_ROUNDS,
        metavar="N",
        help=f"warm rounds, each of all variants in turn ({DEFAULT_ROUNDS})",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of an operator")
    parser.add_argument("--json", metavar="FILE", help="write JSON; - prints it, and no table")


def _run(options: argparse.Namespace) -> int:
    names = listed(options.names, "NAME")
    sizes = options.batch_size
    benchmarks = [
        bench(
            name,
            options.audio,
            devices=listed_devices(options.device, "--device"),
            precisions=listed(options.precision, "--precision"),
            batch_sizes=_sizes(sizes) if sizes is not None else (),
            rounds=options.rounds,
            models=options.models,
            options=Options(intra_op_threads=options.threads),
        )
        for name in (artifact_names(options.models) if names == [_ALL] else names)
    ]
    if options.json not in (None, STDOUT):
        write_text(Path(options.json), to_json(benchmarks))
    show = to_json if options.json == STDOUT else benchmark_table
    sys.stdout.write(show(benchmarks))
    return 0 if any(one.measured for one in benchmarks) else 1


def _sizes(text: str) -> list[int]:
    try:
        return [int(entry) for entry in listed(text, "--batch-size")]
    except ValueError as error:
        raise InputError(f"--batch-size must be whole numbers by commas, got {text!r}") from error


BENCH = Command("compare devices, precisions and batch sizes", _configure, _run)
