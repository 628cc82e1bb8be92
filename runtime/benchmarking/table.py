"""Benchmarks as text: a row for each way to run an artifact."""

from __future__ import annotations

from collections.abc import Sequence

from ..profiling.table import NONE, as_text, columns, megabytes, milliseconds
from .result import Benchmark, Measured, NotRun

_HEADING = (
    *("device", "precision", "batch", "call ms", "p95 ms", "items/s", "RTFx", "ratio"),
    *("load ms", "first ms", "host", "card"),
)
_LEGEND = (
    "call: median, warm; RTFx: seconds of audio per second of calls; ratio: items/s over those of "
    "the first row, median of rounds; host, card: peak memory"
)


def benchmark_table(benchmarks: Sequence[Benchmark]) -> str:
    """Every artifact with what was measured, and what could not run."""
    blocks = [_lines(one) for one in benchmarks]
    if any(one.measured for one in benchmarks):
        blocks.append([_LEGEND])
    return as_text(blocks)


def _lines(benchmark: Benchmark) -> list[str]:
    lines = list(map(_not_run, benchmark.not_run))
    if not benchmark.measured:
        return lines
    inputs = "on the recording" if benchmark.on_audio else "on synthetic inputs"
    rounds = benchmark.measured[0].rounds
    heading = f"{benchmark.name} {inputs}, {rounds} rounds"
    rows = [_HEADING, *map(_cells, benchmark.measured)]
    return [heading, *columns(rows, text_columns=2), *lines]


def _cells(one: Measured) -> tuple[str, ...]:
    return (
        one.device,
        one.precision,
        str(one.batch_size),
        milliseconds(one.latency_s),
        milliseconds(one.latency_p95_s),
        f"{one.items_per_s:.1f}",
        NONE if one.rtfx is None else f"{one.rtfx:.1f}",
        f"{one.speedup:.2f}",
        milliseconds(one.load_s),
        milliseconds(one.first_call_s),
        megabytes(one.peak_host_bytes),
        megabytes(one.peak_device_bytes),
    )


def _not_run(entry: NotRun) -> str:
    size = "" if entry.batch_size is None else f", batches of {entry.batch_size}"
    return f"{entry.name} {entry.precision} on {entry.device}{size}: not run: {entry.reason}"
