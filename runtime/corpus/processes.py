"""Workers that are processes of this machine: a pipe each, and a thread per recording at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from ..closing import Closing
from ..errors import VoxportError
from ..recordings.files import Recording
from ..recordings.outcome import Opened, Outcome, failure
from .held import Held
from .workers import Event, Finished, Lost, Started

# What a worker that has nothing under way may take to give back its networks.
_PATIENCE_S = 5.0


class LocalProcesses(Closing):
    """``Workers`` as ``count`` processes, spawned, so that no lock of this one is copied.

    Args:
        opened: makes the work in each of them; it is pickled.
        count: processes.
        files_at_once: recordings that each takes at the same time.
    """

    def __init__(self, opened: Opened, count: int, files_at_once: int = 1) -> None:
        self.count = count
        self.files_at_once = files_at_once
        self._opened = opened
        self._events: deque[Event] = deque()
        self._children = [_Child(opened, files_at_once) for _ in range(count)]

    def submit(self, worker: int, ticket: int, recording: Recording) -> None:
        # A pipe whose other end died: what the child told before, and its end, are read first.
        with contextlib.suppress(OSError):
            self._children[worker].pipe.send((ticket, recording))

    def next_event(self) -> Event:
        while not self._events:
            alive = {child.pipe: n for n, child in enumerate(self._children) if child.is_running}
            for pipe in wait(list(alive)):
                self._events.append(self._heard(alive[pipe]))  # type: ignore[index]
        return self._events.popleft()

    def _heard(self, worker: int) -> Event:
        child = self._children[worker]
        try:
            kind, *content = child.pipe.recv()
        except (EOFError, OSError):
            return Lost(worker, child.ended())
        except Exception as error:
            # Half a message, or one of another version: nothing that follows can be trusted.
            return Lost(worker, f"{child.ended()}, after an answer that cannot be read: {error}")
        if kind == "started":
            child.has_started = True
            return Started(worker)
        if kind == "finished":
            return Finished(worker, *content)
        child.ended()
        return Lost(worker, *content)

    def restart(self, worker: int) -> None:
        self.stop(worker)
        self._children[worker].end()
        self._children[worker] = _Child(self._opened, self.files_at_once)

    def stop(self, worker: int) -> None:
        self._children[worker].kill()
        # What it has told already, its end too.
        self._events = deque(each for each in self._events if each.worker != worker)

    def close(self) -> None:
        """End all of them: politely those that have nothing under way."""
        children, self._children = self._children, []
        for child in children:
            child.ask_to_end()
        for child in children:
            child.end()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C waits until the end of it, and what starts within it does not hear any.

    A process that starts is told what to do through a pipe, and says how it takes Ctrl-C after
    that: until then it inherits that it is blocked.
    """
    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            heard: list[int] = []
            before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
            stack.callback(_repeat, heard)
            # None: somebody else's, which Python cannot put back.
            stack.callback(signal.signal, signal.SIGINT, before or signal.SIG_DFL)
        if hasattr(signal, "pthread_sigmask"):
            # It starts with the first process otherwise, and then unblocks interrupts.
            resource_tracker.ensure_running()
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, blocked)
        yield


def _repeat(heard: list[int]) -> None:
    if heard:
        signal.raise_signal(heard[0])


class _Child:
    """This side of a process."""

    def __init__(self, opened: Opened, files_at_once: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, opened, files_at_once), daemon=True
        )
        self.is_running, self.has_started = True, False
        with _without_interrupts():
            self.process.start()
        # Only the child holds it now: when it dies, this end reads the end of the file.
        theirs.close()

    def ended(self) -> str:
        """Let go of a process that is at its end; how it came to it."""
        self.is_running = False
        self.pipe.close()
        self.process.join(_PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        if code >= 0:
            return f"ended with status {code}"
        names = {each.value: each.name for each in signal.Signals}
        return f"killed by {names.get(-code, f'signal {-code}')}"

    def ask_to_end(self) -> None:
        if self.is_running and not self.has_started:
            # It would hear of it only when its networks are loaded.
            self.process.kill()
        elif self.is_running:
            with contextlib.suppress(OSError):
                self.pipe.send(None)

    def kill(self) -> None:
        if self.is_running:
            self.process.kill()
            self.ended()

    def end(self) -> None:
        if self.is_running:
            self.ended()
        self.process.close()


# In the child


def _serve(pipe: Connection[Any, Any], opened: Opened, files_at_once: int) -> None:
    """Take recordings until there is None, or nobody who sends any."""
    # Ctrl-C goes to all processes of a terminal; the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        held = Held(opened)
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(_not_opened(error))
        return
    with held, ThreadPoolExecutor(files_at_once, "voxport-file") as pool:
        answers = _Answers(pipe, held)
        try:
            answers.send("started")
            while (message := pipe.recv()) is not None:
                answers.begin()
                pool.submit(answers.answer, *message)
        except (EOFError, OSError):
            # The first process is gone, without a word.
            os._exit(1)
        if answers.num_missing:
            # Nobody waits for them.
            os._exit(0)


def _not_opened(error: Exception) -> tuple[Any, ...]:
    if isinstance(error, VoxportError):
        return "lost", str(error), error
    return "lost", "".join(traceback.format_exception_only(error)).strip()


class _Answers:
    """Sends what becomes of recordings, from several threads."""

    def __init__(self, pipe: Connection[Any, Any], held: Held) -> None:
        self._pipe = pipe
        self._held = held
        self._lock = threading.Lock()
        self.num_missing = 0

    def begin(self) -> None:
        with self._lock:
            self.num_missing += 1

    def answer(self, ticket: int, recording: Recording) -> None:
        try:
            outcome = self._held.attempt(recording)
            with self._lock:
                self.num_missing -= 1
            self._tell(ticket, outcome)
        except BaseException:
            # What is no error of a recording ends a process; a thread would end unheard.
            os._exit(1)

    def _tell(self, ticket: int, outcome: Outcome) -> None:
        try:
            self.send("finished", ticket, outcome)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            self.send("finished", ticket, failure(outcome.recording, error))

    def send(self, *message: Any) -> None:
        with self._lock:
            self._pipe.send(message)
