"""Arguments that all commands over recordings have."""

from __future__ import annotations

import argparse
from pathlib import Path

_FILES = "audio files, folders that are searched for them, or - for standard input"


def add_files(parser: argparse.ArgumentParser, nargs: str = "+", what: str = _FILES) -> None:
    """The recordings; ``what`` they may be."""
    parser.add_argument("files", nargs=nargs, metavar="FILE", help=what)


def add_results(
    parser: argparse.ArgumentParser, formats: str, default: str, *, plot: bool = True
) -> argparse._ArgumentGroup:
    """Where results go, and how; ``formats`` as they are listed in the help."""
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
        default=default,
        metavar="FORMATS",
        help=f"by commas: {formats} (default: {default})",
    )
    if plot:
        group.add_argument(
            "--plot", action="store_true", help="draw a timeline too: FOLDER/NAME.svg (needs -o)"
        )
    group.add_argument("--quiet", action="store_true", help="print results and errors only")
    return group


def add_networks(
    parser: argparse.ArgumentParser, *, embedding: bool = True
) -> argparse._ArgumentGroup:
    """The artifacts, and what runs them."""
    group = parser.add_argument_group("networks")
    group.add_argument("--models", type=Path, metavar="FOLDER", help="folder with the artifacts")
    if embedding:
        group.add_argument(
            "--embedding", metavar="NAME", help="embedding network (default: the first)"
        )
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, ... (default: auto)")
    group.add_argument(
        "--fallback",
        action="store_true",
        help="take another device if the named one cannot be used",
    )
    group.add_argument("--precision", default="auto", help="fp32, fp16, int8 (default: auto)")
    group.add_argument(
        "--threads", type=count, metavar="N", help="blocks at a time on the CPU (default: cores)"
    )
    return group


def add_speakers(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """How a diarization is made, and what is known of its speakers."""
    group = parser.add_argument_group("method")
    group.add_argument("--num-speakers", type=count, metavar="N", help="how many there are")
    group.add_argument("--min-speakers", type=count, metavar="N", help="the fewest there may be")
    group.add_argument("--max-speakers", type=count, metavar="N", help="the most there may be")
    group.add_argument("--step", type=float, metavar="SECONDS", help="from window to window")
    return group


def count(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {value}")
    return value
