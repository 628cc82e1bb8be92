"""Who gets which recording, and what becomes of those whose worker died."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import WorkersError
from ..recordings.files import Recording
from ..recordings.outcome import Outcome
from .workers import Finished, Lost, Workers

# Deaths of workers that a recording had under way, until it is held to be the cause.
MAX_DEATHS = 3
# Deaths in a row of a worker that had nothing under way: it will not live, whatever it is given.
_MAX_FRUITLESS = 3

OnLost = Callable[[Lost], None]


def outcomes(
    workers: Workers, recordings: Iterable[Recording], on_lost: OnLost | None = None
) -> Iterator[Outcome]:
    """Exactly one outcome for each recording, in the order in which they end.

    Recordings are asked for one by one, when a worker has room for them: never more than
    ``count * files_at_once`` are under way. One whose worker died is next in line, and then has a
    worker for itself, so that it is known who kills. The third death under it is its end.
    ``on_lost`` is told of every worker that dies.

    Raises:
        VoxportError: what ``opened()`` raised in a worker.
        WorkersError: no worker lives long enough to be given anything, or the engine is gone.
    """
    yield from _Dispatch(workers, iter(recordings), on_lost).run()


@dataclass
class _Task:
    ticket: int
    recording: Recording
    deaths: int = 0


@dataclass
class _Worker:
    number: int
    is_ready: bool = False
    tasks: dict[int, _Task] = field(default_factory=dict)
    fruitless: int = 0

    @property
    def is_idle(self) -> bool:
        return self.is_ready and not self.tasks

    def has_room(self, files_at_once: int) -> bool:
        """Whether a recording that nothing is held against may come beside the others."""
        alone = any(task.deaths for task in self.tasks.values())
        return self.is_ready and not alone and len(self.tasks) < files_at_once


class _Dispatch:
    def __init__(
        self, workers: Workers, recordings: Iterator[Recording], on_lost: OnLost | None
    ) -> None:
        self._workers = workers
        self._recordings = recordings
        self._on_lost = on_lost
        self._all_taken = False
        self._suspects: deque[_Task] = deque()
        self._next_ticket = 0
        self._pool = [_Worker(number) for number in range(workers.count)]

    def run(self) -> Iterator[Outcome]:
        while self._hand_out():
            event = self._workers.next_event()
            worker = self._pool[event.worker]
            if isinstance(event, Finished):
                task = worker.tasks.pop(event.ticket, None)
                if task is None:
                    continue
                worker.fruitless = 0
                # Before the outcome is dealt with: the worker need not wait for that.
                self._hand_out()
                yield event.outcome
            elif isinstance(event, Lost):
                yield from self._bury(worker, event)
            else:
                worker.is_ready = True

    def _hand_out(self) -> bool:
        """Give every worker what it has room for; False if nothing is left to wait for."""
        files_at_once = self._workers.files_at_once
        for worker in self._pool:
            if self._suspects and worker.is_idle:
                self._submit(worker, self._suspects.popleft())
            while worker.has_room(files_at_once) and (task := self._fresh()) is not None:
                self._submit(worker, task)
        under_way = any(worker.tasks for worker in self._pool)
        return under_way or bool(self._suspects) or not self._all_taken

    def _fresh(self) -> _Task | None:
        if self._all_taken:
            return None
        recording = next(self._recordings, None)
        if recording is None:
            self._all_taken = True
            return None
        self._next_ticket += 1
        return _Task(self._next_ticket, recording)

    def _submit(self, worker: _Worker, task: _Task) -> None:
        worker.tasks[task.ticket] = task
        self._workers.submit(worker.number, task.ticket, task.recording)

    def _bury(self, worker: _Worker, lost: Lost) -> Iterator[Outcome]:
        """What a worker had under way is next in line, or has killed often enough."""
        if lost.error is not None:
            raise lost.error
        tasks = list(worker.tasks.values())
        worker.is_ready, worker.tasks = False, {}
        self._restart(worker, lost, is_fruitless=not tasks)
        for task in reversed(tasks):
            task.deaths += 1
            if task.deaths < MAX_DEATHS:
                self._suspects.appendleft(task)
        for task in tasks:
            if task.deaths >= MAX_DEATHS:
                why = f"its worker died {task.deaths} times: {lost.reason}"
                yield Outcome(task.recording, None, task.recording.problem(why))

    def _restart(self, worker: _Worker, lost: Lost, *, is_fruitless: bool) -> None:
        worker.fruitless += is_fruitless
        if all(each.fruitless >= _MAX_FRUITLESS for each in self._pool):
            raise WorkersError(f"no worker stays alive: {lost.reason}")
        if self._on_lost is not None:
            self._on_lost(lost)
        if worker.fruitless < _MAX_FRUITLESS:
            self._workers.restart(worker.number)
