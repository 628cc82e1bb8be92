"""Calls of several threads, put together while the device is busy."""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..batching import BATCH, BatchPlan, Run
from ..errors import OutOfMemoryError, SessionClosedError
from ..inputs import Arrays
from ..manifest import Description

_LOG = logging.getLogger("voxport")
# What must be equal for two calls to be one: the sizes of all inputs but their batch.
_Key = tuple[tuple[int, ...], ...]


@dataclass(eq=False)
class _Call:
    """What a thread asked for, and the answer.

    Whoever is to run a group, and whoever has an answer, is told so.
    """

    inputs: Arrays
    rows: int
    key: _Key
    told: threading.Event = field(default_factory=threading.Event)
    group: list[_Call] = field(default_factory=list)
    answer: Future[Arrays] = field(default_factory=Future)

    def settle(self, outcome: Arrays | Exception) -> None:
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)
        self.told.set()


class SharedCalls:
    """Runs a call at once while the device is idle; those that come meanwhile run together.

    Nobody waits for a call that has not come: there is no timer. Whenever a call ends, the oldest
    one that waits is run by its own thread, with all others of its sizes that fit into a batch,
    in the order in which they came. A group that fails is run again one by one, so that each caller
    has the error of its own rows only; one that does not fit into memory in halves, and later
    groups are no larger.

    Args:
        description: everything in it has a batch axis.
        run: one call.
        plan: tells how many rows a call may have, and what they are padded to.
        concurrency: tells how many calls may be under way at once.
    """

    def __init__(
        self,
        description: Description,
        run: Run,
        plan: Callable[[], BatchPlan],
        concurrency: Callable[[], int],
    ) -> None:
        self._run, self._plan, self._concurrency = run, plan, concurrency
        self._inputs, self._outputs = (
            {spec.name: spec.axes.index(BATCH) for spec in specs}
            for specs in (description.inputs, description.outputs)
        )
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._running = 0
        self._fits = sys.maxsize

    def __call__(self, inputs: Arrays) -> Arrays:
        """The outputs for checked inputs; raises what ``run`` raises for them."""
        call = self._call(inputs)
        with self._lock:
            if self._running < self._concurrency():
                self._running += 1
                call.group = [call]
            else:
                self._waiting.append(call)
        try:
            if not call.group:
                call.told.wait()
            self._settle(call.group)
        except BaseException:  # an interrupt: others must not wait for this thread
            self._give_back(call)
            raise
        finally:
            if call.group:
                self._hand_over()
        return call.answer.result()

    def _call(self, inputs: Arrays) -> _Call:
        key = tuple(
            (*inputs[name].shape[:axis], *inputs[name].shape[axis + 1 :])
            for name, axis in self._inputs.items()
        )
        name, axis = next(iter(self._inputs.items()))
        return _Call(inputs, inputs[name].shape[axis], key)

    def _give_back(self, call: _Call) -> None:
        """Nobody waits for this call any more; those that it was to run are the next ones."""
        with self._lock:
            if call in self._waiting:
                self._waiting.remove(call)
            others = [each for each in call.group if each is not call and not each.answer.done()]
            self._waiting.extendleft(reversed(others))

    def _hand_over(self) -> None:
        """The next group to the thread of its first call."""
        with self._lock:
            if not self._waiting:
                self._running -= 1
                return
            group = self._next_group()
            group[0].group = group
            group[0].told.set()

    def _next_group(self) -> list[_Call]:
        first = self._waiting.popleft()
        group, room = [first], min(self._plan().size, self._fits) - first.rows
        for call in tuple(self._waiting):
            if call.key == first.key and call.rows <= room:
                self._waiting.remove(call)
                group.append(call)
                room -= call.rows
        return group

    def _settle(self, group: Sequence[_Call]) -> None:
        """Every call of a group has its outputs or its own error."""
        if not group:
            return
        try:
            if len(group) == 1:
                outcomes: Sequence[Arrays | Exception] = [self._run(group[0].inputs)]
            else:
                outcomes = self._parted(self._run(self._joined(group)), group)
        except SessionClosedError as error:
            outcomes = [SessionClosedError(str(error)) for _ in group]
        except Exception as error:
            if len(group) > 1:
                self._redo(group, error)
                return
            outcomes = [error]
        for call, outcome in zip(group, outcomes, strict=True):
            call.settle(outcome)

    def _redo(self, group: Sequence[_Call], error: Exception) -> None:
        if not isinstance(error, OutOfMemoryError):
            for call in group:
                self._settle([call])
            return
        rows = sum(call.rows for call in group)
        with self._lock:
            self._fits = min(self._fits, max(1, rows // 2))
        _LOG.warning("%s; calls share batches of %d at most from now on", error, self._fits)
        half = len(group) // 2
        self._settle(group[:half])
        self._settle(group[half:])

    def _joined(self, group: Sequence[_Call]) -> Arrays:
        """The rows of all calls, and zeros up to a size that the session uses in any case."""
        rows = sum(call.rows for call in group)
        missing = self._plan().padded(rows) - rows
        joined: Arrays = {}
        for name, axis in self._inputs.items():
            arrays: list[npt.NDArray[Any]] = [call.inputs[name] for call in group]
            if missing > 0:
                shape = list(arrays[0].shape)
                shape[axis] = missing
                arrays.append(np.zeros(shape, arrays[0].dtype))
            joined[name] = np.concatenate(arrays, axis)
        return joined

    def _parted(self, outputs: Arrays, group: Sequence[_Call]) -> list[Arrays]:
        """Each call's rows, copied: a view would keep those of all."""
        ends = np.cumsum([call.rows for call in group])
        parted = {
            name: np.split(array, ends, self._outputs[name]) for name, array in outputs.items()
        }
        return [
            {name: parts[place].copy() for name, parts in parted.items()}
            for place in range(len(group))
        ]
