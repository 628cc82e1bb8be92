"""The driver of a run on Ray, in a process of its own: what comes of it, as lines of JSON.

Usage: python ray_driver.py JOB, with JOB as JSON: address, opened ([name, arguments...]), files,
and more arguments of ``RayWorkers``. SIGTERM is told, and nothing more comes of it.
"""

from __future__ import annotations

import functools
import json
import signal
import sys
from pathlib import Path
from typing import Any

import ray_works
from voxport.runtime.corpus.dispatch import outcomes
from voxport.runtime.corpus.ray_workers import RayWorkers
from voxport.runtime.corpus.workers import Lost
from voxport.runtime.errors import VoxportError


def main(job: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: say(terminated=True))
    name, *arguments = job.pop("opened")
    opened = functools.partial(getattr(ray_works, name), *arguments)
    recordings = [ray_works.recording(Path(each)) for each in job.pop("files")]
    try:
        with RayWorkers(opened, **job) as workers:
            say(count=workers.count)
            for outcome in outcomes(workers, recordings, on_lost=_lost):
                text = outcome.answer.contents["txt"] if outcome.answer else None
                say(name=outcome.recording.stem, text=text, problem=outcome.problem)
    except VoxportError as error:
        say(error=type(error).__name__, message=str(error))
    say(end=True)


def _lost(lost: Lost) -> None:
    say(lost=lost.worker, reason=lost.reason)


def say(**what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
