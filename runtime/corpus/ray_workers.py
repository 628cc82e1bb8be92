"""Workers that are actors of a Ray cluster."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..closing import Closing
from ..errors import OptionsError, VoxportError, WorkersError
from ..recordings.files import Recording
from ..recordings.outcome import Opened
from .ray_actor import RayWorker
from .ray_tools import connected, reason
from .workers import Event, Finished, Lost, Started

# How often the cluster is looked at while nothing happens.
_LOOK_S = 1.0
# Without a worker for so long, people are told what is waited for, and again after as long.
_TELL_S = 15.0


@dataclass(frozen=True)
class _Call:
    """A call of an actor that is under way; ``ticket`` where it is a recording."""

    worker: int
    kind: str
    ticket: int = 0


class RayWorkers(Closing):
    """``Workers`` as actors of a Ray cluster.

    Actors are never restarted by Ray: whoever hands out the recordings decides. One that is
    asked for where the cluster has no room starts when there is room, so that ``workers`` may be
    more than fit today: they come with the nodes.

    Args:
        opened: makes the work in each actor; it is pickled.
        address: ``host:port`` of a cluster's head, "auto" for the one that this machine is a node
            of, None to start a Ray of this machine alone, which ends with these workers.
        workers: how many; None for as many as the nodes of now can hold.
        cpus_per_worker: what each takes of a node's CPUs; a fraction is possible.
        gpus_per_worker: and of its GPUs.
        files_at_once: recordings that each takes at the same time.
        patience_s: how long no node may be able to hold a worker before that is an error.
        tell: is given a line for people while nothing can start; by default standard error.

    Raises:
        MissingDependencyError: Ray is not installed.
        OptionsError: figures that make no sense.
        WorkersError: there is no such cluster.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        opened: Opened,
        *,
        address: str | None = None,
        workers: int | None = None,
        cpus_per_worker: float = 1.0,
        gpus_per_worker: float = 0.0,
        files_at_once: int = 1,
        patience_s: float = 60.0,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        _check(workers, cpus_per_worker, gpus_per_worker, files_at_once)
        self.files_at_once = files_at_once
        self._needs = {"CPU": cpus_per_worker, "GPU": gpus_per_worker}
        self._patience_s = patience_s
        self._tell = tell or _tell
        self._events: deque[Event] = deque()
        self._calls: dict[Any, _Call] = {}
        self._started: set[int] = set()
        with ExitStack() as stack:
            self._ray = stack.enter_context(connected(address))
            self._own_node = self._ray.get_runtime_context().get_node_id()
            self.count = workers or max(1, self._room())
            pickled = self._ray.cloudpickle.dumps(opened)
            self._arguments = pickled, version("voxport"), gpus_per_worker > 0
            self._actor = self._ray.remote(
                num_cpus=cpus_per_worker,
                num_gpus=gpus_per_worker,
                max_restarts=0,
                max_task_retries=0,
                # One thread more, for the call that stays.
                max_concurrency=files_at_once + 1,
                scheduling_strategy="SPREAD",
            )(RayWorker)
            self._actors: list[Any] = [None] * self.count
            stack.callback(self._end_actors)
            for worker in range(self.count):
                self._start(worker)
            self._waiting_since_s = self._told_s = time.monotonic()
            self._stack = stack.pop_all()

    def submit(self, worker: int, ticket: int, recording: Recording) -> None:
        actor = self._actors[worker]
        # None: it was lost meanwhile, which is among the events to come.
        if actor is not None:
            self._calls[actor.attempt.remote(recording)] = _Call(worker, "attempt", ticket)

    def next_event(self) -> Event:
        while not self._events:
            if not self._calls:
                raise WorkersError("no worker is left")
            try:
                ready, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=_LOOK_S)
                if not ready and not self._started:
                    self._look_for_room()
            except self._ray.exceptions.RayError as error:
                raise WorkersError(f"the Ray cluster is gone: {reason(error)}") from error
            for each in ready:
                self._take(each)
        return self._events.popleft()

    def restart(self, worker: int) -> None:
        self.stop(worker)
        self._start(worker)

    def stop(self, worker: int) -> None:
        self._forget(worker)
        # What it has told already, its end too.
        self._events = deque(each for each in self._events if each.worker != worker)

    def close(self) -> None:
        self._stack.close()

    def _start(self, worker: int) -> None:
        actor = self._actor.remote(*self._arguments)
        self._actors[worker] = actor
        self._calls[actor.start.remote()] = _Call(worker, "start")

    def _take(self, ready: Any) -> None:
        """Make events of a call that has ended."""
        call = self._calls.pop(ready)
        try:
            value = self._ray.get(ready)
        except self._ray.exceptions.RayTaskError as error:
            # Only `opened` raises, and what it raises on purpose is a value.
            cause = error.cause
            self._lose(call.worker, f"unexpected {type(cause).__name__}: {cause}")
        except self._ray.exceptions.RayError as error:
            self._lose(call.worker, reason(error))
        else:
            if call.kind == "attempt":
                self._events.append(Finished(call.worker, call.ticket, value))
            elif value is not None:
                self._lose(call.worker, str(value), value)
            else:
                self._settle(call.worker)

    def _settle(self, worker: int) -> None:
        self._started.add(worker)
        self._calls[self._actors[worker].stay.remote()] = _Call(worker, "stay")
        self._events.append(Started(worker))

    def _lose(self, worker: int, why: str, error: VoxportError | None = None) -> None:
        """Tell first what the worker had finished when it died."""
        own = [each for each, call in self._calls.items() if call.worker == worker]
        done, _ = self._ray.wait(own, num_returns=len(own), timeout=0) if own else ([], [])
        for each in own:
            call = self._calls.pop(each)
            if each in done and call.kind == "attempt":
                with suppress(self._ray.exceptions.RayError):
                    outcome = self._ray.get(each)
                    self._events.append(Finished(worker, call.ticket, outcome))
        # It may only have become unreachable.
        self._forget(worker)
        self._events.append(Lost(worker, why, error))

    def _forget(self, worker: int) -> None:
        """End a worker, if it lives, and hear no more of it."""
        self._kill(worker)
        self._calls = {each: call for each, call in self._calls.items() if call.worker != worker}
        self._started.discard(worker)
        self._waiting_since_s = time.monotonic()

    def _look_for_room(self) -> None:
        """Nothing runs and nothing happens: say so, and end it if it cannot change.

        Raises:
            WorkersError: no node of the cluster could hold a worker for ``patience_s``, or Ray
                has ended on this machine.
        """
        if not any(node["NodeID"] == self._own_node for node in self._nodes()):
            raise WorkersError("Ray has ended on this machine: start it, and run this again")
        now_s = time.monotonic()
        waited_s = now_s - self._waiting_since_s
        room = self._room()
        what = f"a worker takes {_text(self._needs)}"
        if not room and waited_s >= self._patience_s:
            raise WorkersError(
                f"no node of the Ray cluster can hold a worker: {what}; nodes: "
                f"{self._nodes_text()}. Ask for less per worker, or add nodes"
            )
        if now_s - max(self._told_s, self._waiting_since_s) >= _TELL_S:
            self._told_s = now_s
            place = f"the nodes hold {room} if nothing else runs there" if room else "no node fits"
            self._tell(f"no worker has started on Ray for {waited_s:.0f} s: {what}; {place}")

    def _nodes(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _room(self) -> int:
        """Workers that the nodes of now could hold if nothing else ran there."""
        return sum(_fits(self._needs, node["Resources"]) for node in self._nodes())

    def _nodes_text(self) -> str:
        kinds = Counter(_text(node["Resources"]) for node in self._nodes())
        return ", ".join(f"{count} with {kind}" for kind, count in sorted(kinds.items())) or "none"

    def _end_actors(self) -> None:
        for worker in range(self.count):
            self._kill(worker)

    def _kill(self, worker: int) -> None:
        actor, self._actors[worker] = self._actors[worker], None
        if actor is not None:
            with suppress(Exception):
                self._ray.kill(actor, no_restart=True)


def _fits(needs: dict[str, float], node: dict[str, float]) -> int:
    # Halves and tenths of a GPU add up to one, whatever their rounding.
    return min(int(node.get(name, 0.0) / need + 1e-6) for name, need in needs.items() if need)


def _text(resources: dict[str, float]) -> str:
    return f"CPU {resources.get('CPU', 0):g}, GPU {resources.get('GPU', 0):g}"


def _check(
    workers: int | None, cpus_per_worker: float, gpus_per_worker: float, files_at_once: int
) -> None:
    if (workers is not None and workers < 1) or files_at_once < 1:
        raise OptionsError("workers and files at once must be 1 or more")
    if not 0 <= cpus_per_worker < math.inf:
        raise OptionsError(f"CPUs per worker must be 0 or more, got {cpus_per_worker:g}")
    # Ray has no worker with one GPU and a half.
    if not 0 <= gpus_per_worker <= 1 and not (
        gpus_per_worker > 1 and float(gpus_per_worker).is_integer()
    ):
        raise OptionsError(
            f"GPUs per worker must be 0 to 1 or a whole number, got {gpus_per_worker:g}"
        )
    if not cpus_per_worker + gpus_per_worker:
        raise OptionsError("a worker must take a part of a CPU or of a GPU")


def _tell(line: str) -> None:
    sys.stderr.write(f"voxport: {line}\n")
    sys.stderr.flush()
