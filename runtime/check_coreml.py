"""``voxport check-coreml``: do the packages give the right answers on this Mac, and where?"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .commands import Command
from .coreml_session import COMPUTE_UNITS, CoreMLSession, placement, require_macos
from .errors import ArtifactNotFoundError, DeviceError, MissingDependencyError, VoxportError
from .loading import open_package
from .locate import find_models
from .manifest import MANIFEST_NAME, ArtifactRow, Manifest
from .options import ComputeUnits
from .probe import (
    measure_probe,
    probe_answers,
    probe_error,
    probe_shapes,
    probe_step,
    tolerance,
)
from .synthetic import probe_inputs

PROBE_NAME = "probe.json"
_CALLS = 5
_HEADINGS = (
    *("artifact", "precision", "compute units", "probe error", "allowed"),
    *("operations", "load s", "call ms", "verdict"),
)


@dataclass(frozen=True)
class Checked:
    """A package on one choice of compute units.

    ``error`` is the probe's, None where it did not answer; ``operations`` is Core ML's plan by
    function and device, empty where it does not tell; ``load_s`` and ``call_s`` (the median of
    some calls on the probe's inputs, after it) are in seconds; ``problem`` is empty if it passed.
    """

    artifact: str
    precision: str
    compute_units: ComputeUnits
    error: float | None = None
    allowed: float | None = None
    operations: dict[str, dict[str, int]] = field(default_factory=dict)
    load_s: float | None = None
    call_s: float | None = None
    problem: str = ""


def check_package(folder: Path, row: ArtifactRow, compute_units: ComputeUnits) -> Checked:
    """Load a package, ask it its probe, and time it. What fails is told, not raised.

    Raises:
        MissingDependencyError: coremltools is not installed.
    """
    known: dict[str, Any] = {}
    try:
        known["allowed"] = tolerance(row)
        start = time.perf_counter()
        session = open_package(folder, row, compute_units)
        known["load_s"] = time.perf_counter() - start
        error = max(measure_probe(session, row), _batches_error(session, row))
        known["error"] = error if math.isfinite(error) else None
        known["problem"] = "" if error <= known["allowed"] else "wrong answers"
        known["call_s"] = _call_s(session, row)
        known["operations"] = _operations(session)
    except MissingDependencyError:
        raise
    except VoxportError as failure:
        known["problem"] = str(failure)
    return Checked(row.name, row.precision, compute_units, **known)


def coreml_rows(manifest: Manifest, folder: Path) -> list[ArtifactRow]:
    """The rows of packages, by name and precision.

    Raises:
        ArtifactNotFoundError: there are none.
    """
    rows = [row for row in manifest.artifacts if row.format == "coreml"]
    if not rows:
        raise ArtifactNotFoundError(
            f"{folder} has no Core ML packages: run `voxport export --formats onnx,coreml`"
        )
    return sorted(rows, key=lambda row: row.key)


def table(results: Iterable[Checked]) -> list[str]:
    """Lines of text, with a heading."""
    cells = [_HEADINGS, *map(_cells, results)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def write_probe(row: ArtifactRow, folder: Path) -> Path:
    """Write a row's question and its known answer for programs that are not Python.

    The folder ``<artifact>.<precision>`` gets an ``.npy`` file for each input (float32, C order)
    and ``probe.json``: which those are, and for each output its shape and every ``step``-th value
    in C order.

    Raises:
        ArtifactError: the row has no probe, or a damaged one.
    """
    shapes, answers = probe_shapes(row.probe, row.path), probe_answers(row.probe, row.path)
    place = folder / f"{row.name}.{row.precision}"
    place.mkdir(parents=True, exist_ok=True)
    for name, array in probe_inputs(shapes).items():
        np.save(place / f"{name}.npy", array)
    record = {
        "artifact": row.name,
        "precision": row.precision,
        "package": row.path,
        "allowed": tolerance(row),
        "inputs": {name: {"file": f"{name}.npy", "shape": shape} for name, shape in shapes.items()},
        "outputs": {
            name: {
                "shape": answer.shape,
                "step": probe_step(math.prod(answer.shape)),
                "values": answer.values.tolist(),
            }
            for name, answer in answers.items()
        },
    }
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    (place / PROBE_NAME).write_text(text, encoding="utf-8")
    return place


def _batches_error(session: CoreMLSession, row: ArtifactRow) -> float:
    """The probe error of the functions for other batches, the probe's question asked repeatedly.

    The first and the last answer count; 0 if there are no such functions.
    """
    inputs = probe_inputs(probe_shapes(row.probe, row.path))
    batch = next(iter(inputs.values())).shape[0]
    errors = [0.0]
    for size in session.description.sizes.get("batch", ()):
        # All inputs and outputs of a graph with batches begin with that axis.
        if size > batch and size % batch == 0:
            repeated = {name: np.concatenate([x] * (size // batch)) for name, x in inputs.items()}
            outputs = session.run(**repeated)
            for part in (slice(batch), slice(size - batch, size)):
                answers = {name: output[part] for name, output in outputs.items()}
                errors.append(probe_error(row.probe, answers, row.path))
    return max(errors)


def _call_s(session: CoreMLSession, row: ArtifactRow) -> float:
    inputs = probe_inputs(probe_shapes(row.probe, row.path))
    seconds = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        session.run(**inputs)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _operations(session: CoreMLSession) -> dict[str, dict[str, int]]:
    """Where operations run, as far as Core ML tells: not knowing it is no failure."""
    try:
        return placement(session)
    except DeviceError:
        return {}


def _cells(result: Checked) -> tuple[str, ...]:
    functions = (
        ", ".join(f"{count} {device}" for device, count in counts.items()) or "none"
        for counts in result.operations.values()
    )
    return (
        result.artifact,
        result.precision,
        result.compute_units,
        _number(result.error, "{:.1e}"),
        _number(result.allowed, "{:g}"),
        " | ".join(functions) or "-",
        _number(result.load_s, "{:.2f}"),
        _number(None if result.call_s is None else result.call_s * 1000, "{:.1f}"),
        f"FAILED: {result.problem}" if result.problem else "passed",
    )


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, help="folder with the artifacts")
    parser.add_argument(
        "--compute-units",
        nargs="+",
        choices=COMPUTE_UNITS,
        default=COMPUTE_UNITS,
        metavar="UNITS",
        help=f"some of {', '.join(COMPUTE_UNITS)}; each of them by default",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--write-probe",
        type=Path,
        metavar="DIR",
        help="write the probes' inputs and answers there, for an app; runs nothing, on any system",
    )


def _run(options: argparse.Namespace) -> int:
    if options.write_probe is None:
        require_macos()
    folder = find_models(options.folder)
    rows = coreml_rows(Manifest.read(folder / MANIFEST_NAME), folder)
    if options.write_probe is not None:
        for row in rows:
            sys.stdout.write(f"{write_probe(row, options.write_probe)}\n")
        return 0
    results = [check_package(folder, row, units) for row in rows for units in options.compute_units]
    if options.json:
        lines = [json.dumps([asdict(result) for result in results], indent=1, allow_nan=False)]
    else:
        lines = table(results)
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(result.problem for result in results))


CHECK_COREML = Command(
    "check Core ML packages on this Mac: answers, places, times", _configure, _run
)
