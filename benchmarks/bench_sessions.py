"""One session on all processors against several that share them: windows per second.

All sessions are loaded and warmed up first. Then the devices take turns, round by round, in an
order that is turned around each time, so that what else the machine does hits all of them; figures
are medians. Windows are synthetic speech; ``--threads`` callers of ``run`` with one window each are
measured beside ``run_batched``, with and without ``Options(batch_across_calls=True)``.

Usage: python benchmarks/bench_sessions.py --models models [--devices cpu cpu*2]
       [--artifact segmentation_masks] [--windows 64] [--batch-size 8] [--rounds 5] [--threads 4]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from bench_audio import say
from voxport.runtime import Options, Session, load
from voxport.runtime.synthetic import example_inputs

Item = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Subject:
    """A way to run all items with a session."""

    name: str
    session: Session
    run: Callable[[Session, list[Item]], None]


def batched(batch_size: int) -> Callable[[Session, list[Item]], None]:
    def run(session: Session, items: list[Item]) -> None:
        for _ in session.run_batched(items, batch_size=batch_size):
            pass

    return run


def called(threads: int) -> Callable[[Session, list[Item]], None]:
    """A call for each item, from several threads."""

    def run(session: Session, items: list[Item]) -> None:
        specs = session.description.inputs
        with ThreadPoolExecutor(threads) as pool:
            calls = [
                pool.submit(
                    session.run,
                    **{
                        spec.name: np.expand_dims(item[spec.name], spec.axes.index("batch"))
                        for spec in specs
                    },
                )
                for item in items
            ]
            for call in calls:
                call.result()

    return run


def subjects(options: argparse.Namespace, stack: ExitStack) -> list[Subject]:
    found = []
    for device in options.devices:
        plain, shared = (
            stack.enter_context(
                load(
                    options.artifact,
                    device=device,
                    models=options.models,
                    options=Options(batch_across_calls=shares),
                )
            )
            for shares in (False, True)
        )
        for session in (plain, shared):
            session.warmup([1, options.batch_size])
        call = called(options.threads)
        found += [
            Subject(f"{device}, run_batched", plain, batched(options.batch_size)),
            Subject(f"{device}, run from {options.threads} threads", plain, call),
            Subject(f"{device}, run from {options.threads} threads, shared", shared, call),
        ]
    return found


def measured(found: list[Subject], items: list[Item], rounds: int) -> dict[str, list[float]]:
    """Windows per second by subject and round, after a round that is not counted."""
    rates: dict[str, list[float]] = {subject.name: [] for subject in found}
    for number in range(rounds + 1):
        for subject in found if number % 2 else reversed(found):
            started = time.perf_counter()
            subject.run(subject.session, items)
            rate = len(items) / (time.perf_counter() - started)
            if number:
                rates[subject.name].append(rate)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--models", default="models")
    parser.add_argument("--artifact", default="segmentation_masks")
    parser.add_argument("--devices", nargs="+", default=["cpu", "cpu*2"])
    parser.add_argument("--windows", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()
    with ExitStack() as stack:
        found = subjects(options, stack)
        example = example_inputs(found[0].session.description)
        axes = {s.name: s.axes.index("batch") for s in found[0].session.description.inputs}
        item = {name: np.take(array, 0, axes[name]) for name, array in example.items()}
        rates = measured(found, [item] * options.windows, options.rounds)
    say(f"{options.artifact}: windows per second, median of {options.rounds} (least to most)")
    for name, values in rates.items():
        median = statistics.median(values)
        say(f"  {name:40} {median:8.1f}  ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
