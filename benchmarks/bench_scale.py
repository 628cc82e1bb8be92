"""What spreading a corpus costs: against the plain loop, with several workers, with very many.

First, 100 clips of equal length through `voxport diarize`, a process for each run, runs of all
rows in turn: the plain loop, and the engines with one worker and with two, one thread in each
worker. Seconds per file are from the first result to the last; what comes before the first result
is start-up: Python, the networks, and for Ray a Ray of its own, which a cluster has already. Whole
runs are compared too: start-up, the first file, the table, the report and the end of all processes.

Then a simulation with a stage that only sleeps, 1 to 64 workers on this machine: files per second
against ideal, and where the driver, which hands out files and writes results, is what limits.

Usage: python benchmarks/bench_scale.py [--models models] [--rounds 3] [--files 100]
       [--seconds 10] [--workers 1 2 4 8 16 32 64] [--costs 0.01 0.1 1]

A round takes 4 * files * seconds / RTFx (of one thread) and five starts, a simulation 5 s and the
start of its workers for each engine, number of workers and cost. For some minutes in all:
--rounds 2 --files 50 --workers 1 4 16 --costs 0.01 0.1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from bench_machine import load_average, machine
from bench_recordings import RATE_HZ, recordings
from bench_report import shown
from bench_standin import Rate, rate
from bench_tables import markdown, spread
from voxport.runtime.corpus.engines import Engine
from voxport.runtime.locate import find_models

RESULTS = Path(__file__).resolve().parent / "results" / "scale.md"
PLAIN = "plain loop"
_VOXPORT = "import sys; from voxport.runtime.cli import main; sys.exit(main(sys.argv[1:]))"
_CLIPS = (
    "{files} clips of {seconds:g} s, {rounds} rounds, fast, fp32, one thread in each worker. "
    "*Beside the plain loop*: time per file against that of the same round. *Whole run beside it*: "
    "*s in all*, likewise. `--jobs 1` is the same process as the plain loop, with records, table "
    "and report."
)
_SIMULATION = (
    "A stage that sleeps; everything else is as in earnest. Driver and all workers share this "
    "machine's cores."
)
# Seconds that a simulation is to take when nothing limits it, and the fewest files of a worker.
_SIMULATED_S = 5.0
_MIN_FILES = 3
_MIN_CLIPS = 2


@dataclass(frozen=True)
class Row:
    """One way to work on the clips; ``arguments`` beside those that all have."""

    title: str
    workers: int
    arguments: tuple[str, ...] = ()


ROWS = (
    Row(PLAIN, 1),
    Row("--jobs 1", 1, ("--jobs", "1")),
    Row("--engine ray --workers 1", 1, ("--engine", "ray", "--workers", "1")),
    Row("--jobs 2", 2, ("--jobs", "2")),
    Row("--engine ray --workers 2", 2, ("--engine", "ray", "--workers", "2")),
)


@dataclass
class Timed:
    """Runs of a row: wall seconds, seconds until the first result, seconds per file after it."""

    row: Row
    wall_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    per_file_s: list[float] = field(default_factory=list)

    def add(self, begun_s: float, ended_s: float, written_s: Sequence[float]) -> None:
        """A run, by the times at which its results were written."""
        self.wall_s.append(ended_s - begun_s)
        self.start_s.append(min(written_s) - begun_s)
        self.per_file_s.append((max(written_s) - min(written_s)) / (len(written_s) - 1))


def clips(folder: Path, count: int, seconds: float) -> None:
    """Clips of equal length, cut here and there out of the recordings at hand."""
    rng = np.random.default_rng(11)
    length = round(seconds * RATE_HZ)
    known = [each.path for each in recordings() if each.duration_s * RATE_HZ >= length]
    if not known:
        raise SystemExit(f"--seconds {seconds:g}: no recording is as long")
    folder.mkdir()
    for number in range(count):
        samples, _ = soundfile.read(str(known[number % len(known)]), dtype="float32")
        start = rng.integers(len(samples) - length + 1)
        clip = samples[start : start + length] * rng.uniform(0.5, 1.0)
        soundfile.write(folder / f"clip{number:04}.wav", clip, RATE_HZ)


def run_row(timed: Timed, corpus: Path, models: Path, output: Path) -> None:
    """One run, in a process of its own. Raises SystemExit if it fails."""
    command = [sys.executable, "-c", _VOXPORT, "diarize", str(corpus), "-o", str(output)]
    command += ["--models", str(models), "--device", "cpu", "--threads", "1", "--quiet"]
    begun_s = time.time()
    run = subprocess.run(
        [*command, *timed.row.arguments], capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise SystemExit(f"{timed.row.title}: {run.stderr[-2000:]}")
    timed.add(begun_s, time.time(), [each.stat().st_mtime for each in output.glob("*.rttm")])


def overhead(options: argparse.Namespace, models: Path) -> list[Timed]:
    """All rows, in turn, each round beginning with another one."""
    results = [Timed(row) for row in ROWS]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        corpus = Path(folder, "corpus")
        clips(corpus, options.files, options.seconds)
        for number in range(options.rounds):
            for place in range(len(ROWS)):
                timed = results[(place + number) % len(ROWS)]
                sys.stderr.write(f"round {number}: {timed.row.title} (load {load_average()})\n")
                output = Path(folder, f"out-{number}-{results.index(timed)}")
                run_row(timed, corpus, models, output)
    return results


def overhead_table(results: Sequence[Timed], clip_s: float) -> str:
    """Beside the plain loop, round by round, time per file and whole runs: above 1 is slower."""
    plain = next(each for each in results if each.row.title == PLAIN)
    lines = []
    for each in results:
        speed = clip_s / statistics.median(each.per_file_s)
        lines.append(
            (
                f"`{each.row.title}`" if each is not plain else each.row.title,
                str(each.row.workers),
                spread([1000 * value for value in each.per_file_s], 0),
                _beside(each.per_file_s, plain.per_file_s),
                f"{speed:.1f}",
                spread(each.start_s),
                spread(each.wall_s),
                _beside(each.wall_s, plain.wall_s),
            )
        )
    header = ("", "workers", "ms per file", "beside the plain loop", "RTFx")
    header += ("s until the first result", "s in all", "whole run beside it")
    return markdown(header, lines)


def _beside(values: Sequence[float], plain: Sequence[float]) -> str:
    return spread([a / b for a, b in zip(values, plain, strict=True)], 3)


def num_files(workers: int, cost_s: float) -> int:
    """Enough for some seconds, and a few for each worker."""
    return workers * max(_MIN_FILES, round(_SIMULATED_S / cost_s))


def simulated(options: argparse.Namespace, name: str) -> list[tuple[int, float, Rate]]:
    """(workers, cost in seconds, what came of it), of the engine ``local`` or ``ray``."""
    found = []
    for workers in options.workers:
        for cost_s in options.costs:
            sys.stderr.write(f"{name}: {workers} workers, {cost_s:g} s (load {load_average()})\n")
            count = min(num_files(workers, cost_s), options.most_files)
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                one = rate(Path(folder), engine(name, workers), workers, cost_s, count)
            found.append((workers, cost_s, one))
    return found


def engine(name: str, workers: int) -> Engine:
    """So many workers on this machine, whatever it has: they only sleep."""
    if name == "local":
        return Engine(jobs=workers)
    # Ray counts in 1/10000; rounded down, all of them fit.
    share = int(10_000 * (os.cpu_count() or 1) / workers) / 10_000
    return Engine("ray", workers=workers, cpus_per_worker=min(1.0, share))


def simulation_table(found: Sequence[tuple[int, float, Rate]]) -> str:
    lines = []
    for workers, cost_s, one in found:
        ideal = workers / cost_s
        lines.append(
            (
                f"{1000 * cost_s:g} ms",
                str(workers),
                f"{ideal:.0f}",
                f"{one.files_per_s:.1f}",
                f"{one.files_per_s / ideal:.0%}",
                f"{one.driver_ms:.2f}",
                f"{one.start_s:.1f}",
            )
        )
    lines.sort(key=lambda line: float(line[0].removesuffix(" ms")))
    header = ("stage", "workers", "ideal, files/s", "files/s", "of ideal")
    return markdown((*header, "driver, CPU ms per file", "s until all workers are there"), lines)


def report(options: argparse.Namespace) -> str:
    parts = [
        "# What spreading a corpus costs",
        (
            f"`python benchmarks/{shown(['bench_scale.py', *sys.argv[1:]])}`. {machine()}; load "
            f"average at the start {load_average()}. After a median in brackets: least to most."
        ),
    ]
    if options.rounds:
        results = overhead(options, find_models(options.models))
        parts += [
            "## Against the plain loop, and with two workers",
            _CLIPS.format(**vars(options)),
            overhead_table(results, options.seconds),
        ]
    for name, title in (("ray", "Ray"), ("local", "`--jobs`")):
        if options.workers:
            table = simulation_table(simulated(options, name))
            parts += [f"## Simulation: {title}", _SIMULATION, table]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, help="folder with the artifacts")
    parser.add_argument("--rounds", type=int, default=3, help="0: only the simulation")
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each clip")
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--costs", nargs="+", type=float, default=[0.01, 0.1, 1.0], metavar="S")
    parser.add_argument("--most-files", type=int, default=5000, help="of a simulation")
    parser.add_argument("--folder", type=Path, help="where files are made (temporary)")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE")
    options = parser.parse_args()
    if options.files < _MIN_CLIPS:
        parser.error(f"--files {options.files}: a time per file takes {_MIN_CLIPS} or more")
    text = report(options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(f"{text}\n", "utf-8")
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
