"""Who gets which recording, and what becomes of those whose worker died or is broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..errors import WorkersError
from ..recordings.files import Recording
from ..recordings.outcome import Outcome
from .workers import Finished, Lost, Started, Workers

# Lives of workers that a recording has ended, until it is held to be the cause.
MAX_DEATHS = 3
# Starts in a row of a worker that came to nothing: it will not live, whatever it is given.
_MAX_FRUITLESS = 3
# Lives in a row that ended with a recording which another worker has done, and with none done.
_MAX_BROKEN = 3

OnLost = Callable[[Lost], None]


def outcomes(
    workers: Workers, recordings: Iterable[Recording], on_lost: OnLost | None = None
) -> Iterator[Outcome]:
    """Exactly one outcome for each recording, in the order in which they end.

    Recordings are asked for one by one, when a worker has room for them: never more than
    ``count * files_at_once`` are under way. One whose worker died is next in line, and then has a
    worker for itself, if there is one another worker than before, so that it is known who is to
    blame. A worker that answers with an error that may be its own counts as dead: it is started
    again when what it has besides is done. The third death under a recording is its end.

    A worker is given up that does not live three times in a row, or breaks three times in a row
    on what others can do. ``on_lost`` is told of every death, and which was the last.

    Raises:
        VoxportError: what ``opened()`` raised in a worker before anything was finished, or in
            the last one that was left.
        WorkersError: no worker lives long enough to be given anything, or the engine is gone.
    """
    yield from _Dispatch(workers, iter(recordings), on_lost).run()


@dataclass
class _Task:
    """``lives``: the workers that it was the end of, and the how many-eth start of each."""

    ticket: int
    recording: Recording
    lives: list[tuple[int, int]] = field(default_factory=list)

    def has_ended(self, number: int) -> bool:
        return any(worker == number for worker, _ in self.lives)


@dataclass
class _Worker:
    """``doubt`` is why it is to be started again, as soon as its tasks are done."""

    number: int
    is_ready: bool = False
    is_given_up: bool = False
    tasks: dict[int, _Task] = field(default_factory=dict)
    doubt: str = ""
    fruitless: int = 0
    life: int = 0
    last_good: int = -1
    broken: set[int] = field(default_factory=set)

    @property
    def is_alone(self) -> bool:
        """Whether what it has under way is a suspect, which bears nothing beside it."""
        return any(task.lives for task in self.tasks.values())

    @property
    def is_proven(self) -> bool:
        """Whether it has done something since it was started."""
        return self.last_good == self.life

    def succeeded(self) -> None:
        self.last_good = self.life
        self.fruitless = 0
        self.broken.clear()

    def blame(self, life: int) -> None:
        """It was not the recording that ended this life."""
        if life > self.last_good:
            self.broken.add(life)


class _Dispatch:
    def __init__(
        self, workers: Workers, recordings: Iterator[Recording], on_lost: OnLost | None
    ) -> None:
        self._workers = workers
        self._recordings = recordings
        self._on_lost = on_lost
        self._all_taken = False
        self._any_finished = False
        self._suspects: deque[_Task] = deque()
        self._next_ticket = 0
        self._pool = [_Worker(number) for number in range(workers.count)]

    def run(self) -> Iterator[Outcome]:
        while self._hand_out():
            event = self._workers.next_event()
            worker = self._pool[event.worker]
            if worker.is_given_up:
                continue
            if isinstance(event, Started):
                worker.is_ready = True
            elif isinstance(event, Lost):
                yield from self._bury(worker, event)
            elif (task := worker.tasks.pop(event.ticket, None)) is not None:
                yield from self._finish(worker, task, event)

    # Handing out

    def _hand_out(self) -> bool:
        """Give every worker what it has room for; False if nothing is left to wait for."""
        for worker in self._pool:
            if worker.is_ready:
                self._fill(worker)
        under_way = any(worker.tasks for worker in self._pool)
        return under_way or bool(self._suspects) or not self._all_taken

    def _fill(self, worker: _Worker) -> None:
        if not worker.tasks:
            task = next((each for each in self._suspects if self._suits(worker, each)), None)
            if task is not None:
                self._suspects.remove(task)
                self._submit(worker, task)
        if worker.is_alone or self._is_kept_free(worker):
            return
        while len(worker.tasks) < self._workers.files_at_once and (task := self._fresh()):
            self._submit(worker, task)

    def _suits(self, worker: _Worker, suspect: _Task) -> bool:
        """Whether it has not ended this worker yet, or all that there are."""
        ready = (each.number for each in self._pool if each.is_ready)
        return not suspect.has_ended(worker.number) or all(map(suspect.has_ended, ready))

    def _is_kept_free(self, worker: _Worker) -> bool:
        """Whether it is to have nothing fresh, because suspects wait."""
        if not self._suspects:
            return False
        # Broken, it would make suspects faster than others can deal with them.
        if not worker.is_proven and any(each.has_ended(worker.number) for each in self._suspects):
            return True
        first = self._suspects[0]
        able = [each for each in self._pool if each.is_ready and self._suits(each, first)]
        # Among many recordings at once there would never be a moment for one alone.
        return worker is min(able, key=lambda each: (not each.is_alone, len(each.tasks)))

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

    # What comes back

    def _finish(self, worker: _Worker, task: _Task, event: Finished) -> Iterator[Outcome]:
        outcome = event.outcome
        is_end = True
        if outcome.may_be_workers:
            worker.is_ready = False
            worker.doubt = outcome.problem.removeprefix(f"{task.recording.label}: ")
            is_end = not self._suspect(worker, task)
        else:
            self._any_finished = True
            worker.succeeded()
            for number, life in task.lives:
                self._pool[number].blame(life)
        if worker.doubt and not worker.tasks:
            self._replace(worker, Lost(worker.number, worker.doubt))
        # Before the outcome is dealt with: the worker need not wait for that.
        self._hand_out()
        if is_end:
            yield outcome

    def _suspect(self, worker: _Worker, task: _Task) -> bool:
        """Whether a recording that was the end of a worker may be tried again."""
        task.lives.append((worker.number, worker.life))
        if len(task.lives) >= MAX_DEATHS:
            return False
        self._suspects.appendleft(task)
        return True

    def _bury(self, worker: _Worker, lost: Lost) -> Iterator[Outcome]:
        """What a worker had under way is next in line, or has killed often enough."""
        if lost.error is not None and not self._any_finished:
            raise lost.error
        tasks = list(worker.tasks.values())
        worker.tasks = {}
        worker.fruitless += not tasks
        ended = [task for task in reversed(tasks) if not self._suspect(worker, task)]
        self._replace(worker, lost)
        for task in reversed(ended):
            why = f"its worker died {len(task.lives)} times: {lost.reason}"
            yield Outcome(task.recording, None, task.recording.problem(why))

    def _replace(self, worker: _Worker, lost: Lost) -> None:
        """Start a worker again, unless that has been in vain too often."""
        worker.is_ready, worker.doubt = False, ""
        worker.life += 1
        is_hopeless = worker.fruitless >= _MAX_FRUITLESS or len(worker.broken) >= _MAX_BROKEN
        worker.is_given_up = is_hopeless
        if self._on_lost is not None:
            self._on_lost(replace(lost, is_given_up=is_hopeless))
        if all(each.is_given_up for each in self._pool):
            raise lost.error or WorkersError(f"no worker stays alive: {lost.reason}")
        if is_hopeless:
            self._workers.stop(worker.number)
        else:
            self._workers.restart(worker.number)
