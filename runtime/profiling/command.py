"""``voxport profile``: where the time of a network goes, on one device or side by side."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..commands import Command
from ..errors import InputError
from ..options import Options
from .arguments import STDOUT, listed, listed_devices, write_text
from .plot import check_plot, write_plot
from .profiler import Profiler, network_names
from .summary import Profile
from .table import side_by_side, table

_ALL = "all"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", help="artifacts, by commas; or all: the networks")
    parser.add_argument(
        "audio", nargs="?", type=Path, metavar="AUDIO", help="a file (default: synthetic inputs)"
    )
    parser.add_argument("--models", type=Path, help="folder with the artifacts")
    parser.add_argument("--precision", default="auto", help="fp32, fp16, int8 (default: auto)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, ... (default: auto)")
    where.add_argument(
        "--compare",
        metavar="DEVICES",
        help="devices side by side, by commas; those that cannot be used are told, and the exit "
        "status is 0 if any could",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="windows per call")
    parser.add_argument("--step", type=float, metavar="SECONDS", help="from window to window")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="warm rounds (3)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of an operator")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="operators shown (10)")
    parser.add_argument("--json", metavar="FILE", help="write JSON; - prints it, and no table")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="stacked bars, .svg or .png")


def _run(options: argparse.Namespace) -> int:
    devices = listed_devices(options.compare, "--compare") if options.compare is not None else None
    if options.top < 0:
        raise InputError(f"--top must be at least 0, got {options.top}")
    if options.plot is not None:
        check_plot(options.plot)
    profile = _profile(options, devices)
    if options.plot is not None:
        write_plot(profile, options.plot)
    if options.json not in (None, STDOUT):
        write_text(Path(options.json), profile.to_json())
    if options.json == STDOUT:
        sys.stdout.write(profile.to_json())
    else:
        show = table if devices is None else side_by_side
        sys.stdout.write(show(profile, options.top))
    return 0 if profile.stages else 1


def _profile(options: argparse.Namespace, devices: list[str] | None) -> Profile:
    profiler = Profiler(
        options.models,
        options.device,
        precision=options.precision,
        options=Options(intra_op_threads=options.threads),
        batch_size=options.batch_size,
        rounds=options.rounds,
    )
    names = listed(options.names, "NAME")
    for name in network_names(options.models) if names == [_ALL] else names:
        if devices is None:
            profiler.profile(name, options.audio, step_s=options.step)
        else:
            profiler.compare(name, options.audio, devices=devices, step_s=options.step)
    return profiler.report()


PROFILE = Command("show where the time of a network goes", _configure, _run)
