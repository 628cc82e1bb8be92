"""Runs of peers: a process for each, its answers, and what many of them say together."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bench_environments import problem_of
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.stages import Turn

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Answer:
    """What a runner found in one file.

    ``peak_mib`` is the most memory that the process had held until then.
    """

    seconds: float
    peak_mib: float
    turns: Turns


@dataclass
class Run:
    """One process: seconds from its start to loaded networks and to the first file's turns."""

    load_s: float | None = None
    first_s: float | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    def read(self, message: Mapping[str, Any], elapsed_s: float) -> None:
        """Take in one of the runner's lines, which came that long after the start."""
        if message["event"] == "loaded":
            self.load_s, self.versions = elapsed_s, message["versions"]
            return
        if not self.answers:
            self.first_s = elapsed_s
        # Peers may begin a turn before the file, or give it no length.
        turns = Turns(
            Turn(max(start_s, 0.0), end_s, speaker)
            for start_s, end_s, speaker in message["turns"]
            if end_s > max(start_s, 0.0)
        )
        self.answers[message["file"]] = Answer(message["seconds"], message["peak_mib"], turns)


def run_job(command: Sequence[str], job: Mapping[str, Any], log: Path, *, limit_s: float) -> Run:
    """Start a runner on a job and read its answers as they come.

    A runner that fails or takes too long leaves what it had answered, and the problem.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    log.with_suffix(".json").write_text(json.dumps(job), "utf-8")
    run, started = Run(), time.perf_counter()
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [*command, str(log.with_suffix(".json"))],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        timer = threading.Timer(limit_s, process.kill)
        timer.start()
        with process:
            assert process.stdout is not None  # noqa: S101 -- it is a pipe
            for line in process.stdout:
                run.read(json.loads(line), time.perf_counter() - started)
        is_late = not timer.is_alive()
        timer.cancel()
    if process.returncode:
        said = problem_of(log.read_text("utf-8")) or f"code {process.returncode}"
        run.problem = f"took more than {limit_s / 60:.0f} min" if is_late else said
    return run


def rotated(rows: Sequence[_Item], rounds: int) -> Iterator[tuple[int, _Item]]:
    """Each row once a round, each round beginning with the next one: nobody is always first."""
    for number in range(rounds):
        first = number % len(rows) if rows else 0
        for row in (*rows[first:], *rows[:first]):
            yield number, row
