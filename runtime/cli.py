"""The ``voxport`` console script: finds subcommands by entry point and runs one.

Subcommands live beside what they command, in any room or in other packages; this module knows
none of them, and importing them loads nothing heavy.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version

from .commands import Command
from .errors import VoxportError

GROUP = "voxport.commands"
FAILURE = 1
INTERRUPTED = 130


def find_commands() -> dict[str, Command]:
    """Subcommands by name, sorted."""
    found = {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return dict(sorted(found.items()))


def parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    """The argument parser with one subparser per command."""
    root = argparse.ArgumentParser(
        prog="voxport",
        description="Speaker-diarization networks as verified, deployable artifacts.",
    )
    root.add_argument("--version", action="version", version=f"voxport {version('voxport')}")
    subparsers = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        sub = subparsers.add_parser(name, help=command.summary, description=command.summary)
        command.configure(sub)
        sub.set_defaults(run=command.run)
    return root


def _print_anything() -> None:
    """Print escapes for what a terminal cannot show: a file's name must not stop a command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``voxport``; returns the exit status. Expected errors are one message, no traceback."""
    _print_anything()
    options = parser(find_commands()).parse_args(arguments)
    try:
        status: int = options.run(options)
    except VoxportError as error:
        sys.stderr.write(f"voxport {options.command}: {error}\n")
        return FAILURE
    except KeyboardInterrupt:
        sys.stderr.write(f"voxport {options.command}: interrupted\n")
        return INTERRUPTED
    return status
