"""voxport against pyannote.audio, senko and sherpa-onnx: error, speed, memory, first result.

Each has an environment of its own under ``build/bench``. Every run is a process of its own that is
pinned to the same cores, loads, diarizes a clip of 30 s, and then a file that is joined of all
clips and timed. Runs are interleaved: each round runs every row once. Peers that do not install
or fail are named with the reason; the others go on.

WeSpeaker's ResNet34 has random weights (its checkpoint is on no package index): its rows are
about speed only, on a shorter file.

Usage: python benchmarks/bench_diarize.py [--rounds N] [--minutes M] [--hour] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_crosscheck import cross_checked
from bench_environments import FOLDER, Environment, environment, peers
from bench_machine import cores, load_average
from bench_networks import sherpa_campplus, sherpa_segmentation, wespeaker_models
from bench_recordings import Recording, joined, recordings
from bench_report import Setup, flatness, introduction, section, shown, write
from bench_rows import Material, Results, Row
from bench_runs import rotated, run_job
from voxport.export.checkpoints import fetch
from voxport.runtime.locate import find_models

RESULTS = Path(__file__).resolve().parent / "results" / "diarize.md"
_AUDIO = FOLDER / "audio"


@dataclass(frozen=True)
class Bench:
    """Where everything runs."""

    environments: dict[str, Environment]
    cores: list[int]
    limit_s: float

    def run(self, results: Results, files: Sequence[Recording], label: str) -> None:
        """One run of a row, added to its results; none after a problem."""
        peer = peers()[results.row.peer]
        found = self.environments[peer.name]
        if found.python is None:
            results.problem = f"not installed: {found.problem}"
        if found.python is None or results.problems:
            return
        job = {
            "cores": self.cores,
            "files": [str(each.path) for each in files],
            "options": dict(results.row.options),
        }
        log = FOLDER / "logs" / f"{label}.log"
        command = [str(found.python), str(peer.runner)]
        sys.stderr.write(f"{label}: {results.row.title} (load {load_average()})\n")
        results.runs.append(run_job(command, job, log, limit_s=self.limit_s))


def campplus_rows(models: Path, precisions: Sequence[str]) -> list[Row]:
    """Everybody on the same segmentation and CAM++; senko with its own choice."""
    segmentation = str(fetch("segmentation-3.0"))
    campplus = str(fetch("campplus-zh-en-advanced"))
    sherpa = {
        "segmentation": str(sherpa_segmentation(models, FOLDER / "sherpa" / "segmentation.onnx")),
        "embedding": str(sherpa_campplus(FOLDER / "sherpa" / "campplus.onnx")),
        "threshold": 0.5,
    }
    pyannote = {"segmentation": segmentation, "campplus": campplus}
    return [
        *(
            Row(f"voxport {mode}, {precision}", "voxport", _voxport(models, mode, precision))
            for precision in precisions
            for mode in ("fast", "exact")
        ),
        Row("pyannote.audio, 3.1 recipe with CAM++", "pyannote", pyannote),
        Row("sherpa-onnx, same networks", "sherpa", sherpa),
        Row("senko, as shipped", "senko", {}),
    ]


def wespeaker_rows() -> list[Row]:
    """voxport and pyannote.audio with WeSpeaker's ResNet34."""
    models = wespeaker_models(FOLDER / "models-wespeaker")
    suffix = "WeSpeaker ResNet34 (random weights)"
    own = {mode: _voxport(models, mode, family="wespeaker") for mode in ("fast", "exact")}
    rows = [
        Row(f"voxport {mode}, fp32, {suffix}", "voxport", each, speed_only=True)
        for mode, each in own.items()
    ]
    options = {"segmentation": str(fetch("segmentation-3.0"))}
    pyannote = Row(f"pyannote.audio, {suffix}", "pyannote", options, speed_only=True)
    return [*rows, pyannote]


def _voxport(
    models: Path, mode: str, precision: str = "fp32", family: str = "campplus"
) -> dict[str, Any]:
    return {
        "models": str(models.resolve()),
        "mode": mode,
        "precision": precision,
        "embedding": f"embedding_{family}",
    }


def compared(bench: Bench, rows: Sequence[Row], material: Material, rounds: int) -> list[Results]:
    """All rows, interleaved."""
    results = {row.title: Results(row) for row in rows}
    for number, row in rotated(rows, rounds):
        label = f"{rows.index(row)}-{row.peer}-round{number}-{material.long.name}"
        bench.run(results[row.title], material.files(row, number), label)
    return list(results.values())


def peaks_by_length(
    bench: Bench, rows: Sequence[Row], material: Material, lengths_min: Sequence[float]
) -> str:
    """Peak memory at each length, a process for each."""
    human, first = material.human, material.first
    files = [joined(human, each, _AUDIO / f"{each:g}min.wav") for each in lengths_min]
    lines = []
    for row in rows:
        cells = [row.title]
        for file in files:
            one = Results(row)
            bench.run(one, [first, file], f"hour-{rows.index(row)}-{row.peer}-{file.name}")
            peaks = one.peaks_mib(file)
            cells.append(f"{peaks[0]:.0f}" if peaks else one.problems)
        lines.append(cells)
    return flatness([each.duration_s for each in files], lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=Path, help="folder with the artifacts of CAM++")
    parser.add_argument("--cores", type=int, default=2, help="cores and threads of every run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=12.0, help="of the timed file")
    parser.add_argument(
        "--wespeaker-minutes", type=float, default=3.0, help="of its timed file; 0: without"
    )
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"], metavar="P")
    parser.add_argument("--hour", action="store_true", help="also peak RSS by length of the file")
    parser.add_argument(
        "--lengths", nargs="+", type=float, default=[3.0, 15.0, 60.0], metavar="MINUTES"
    )
    parser.add_argument("--only", nargs="+", choices=list(peers()), help="these peers")
    parser.add_argument("--clips", nargs="+", metavar="NAME", help="these recordings")
    parser.add_argument(
        "--peer-python", action="append", default=[], metavar="PEER=PATH", help="use as it is"
    )
    parser.add_argument("--limit-minutes", type=float, default=60.0, help="of a single run")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE")
    return parser.parse_args()


def environments_of(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Environment]:
    """The environments of the peers that take part; those given are used as they are."""
    given = dict(each.split("=", 1) for each in options.peer_python)
    unknown = set(given) - set(peers())
    if unknown:
        raise SystemExit(f"--peer-python: no such peers: {', '.join(sorted(unknown))}")
    return {
        name: Environment(Path(given[name])) if name in given else environment(peers()[name])
        for name in names
    }


def taking_part(options: argparse.Namespace, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if options.only is None or row.peer in options.only]


def material_of(options: argparse.Namespace) -> Material:
    """The clips, the one to warm up with, and the file to time."""
    clips = [each for each in recordings() if options.clips is None or each.name in options.clips]
    human = [each for each in clips if each.is_human]
    if not human:
        raise SystemExit("no recording that people labelled is among these clips")
    # A whole clip with speech: the one that everybody has, if it is there.
    first = next((each for each in human if each.name == "sample"), human[0])
    return Material(first, clips, joined(human, options.minutes, _AUDIO / "timed.wav"))


def main() -> None:
    options = arguments()
    models = find_models(options.models)
    names = options.only or list(peers())
    limit_s = options.limit_minutes * 60
    bench = Bench(environments_of(options, names), cores(options.cores), limit_s)
    material = material_of(options)
    rows = taking_part(options, campplus_rows(models, options.precisions))
    # All that may fail before hours of measuring.
    slow_rows = taking_part(options, wespeaker_rows()) if options.wespeaker_minutes else []
    command = f"python benchmarks/bench_diarize.py {shown(sys.argv[1:])}".strip()
    parts = introduction(Setup(command, options.cores, options.rounds), material)
    results = compared(bench, rows, material, options.rounds)
    parts.append(section("Segmentation-3.0 and CAM++", results, material))
    parts.append(cross_checked(bench.environments.get("pyannote"), results, material))
    write(options.output, parts)
    if slow_rows:
        short = joined(material.human, options.wespeaker_minutes, _AUDIO / "timed-wespeaker.wav")
        slow = Material(material.first, (), short)
        wespeaker = compared(bench, slow_rows, slow, options.rounds)
        parts.append(section("With WeSpeaker's ResNet34: speed only", wespeaker, slow))
        write(options.output, parts)
    if options.hour:
        parts.append(peaks_by_length(bench, rows, material, options.lengths))
        write(options.output, parts)
    sys.stdout.write(options.output.read_text("utf-8"))


if __name__ == "__main__":
    main()
