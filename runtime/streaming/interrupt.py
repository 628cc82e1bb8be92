"""Ctrl-C as the way to end an endless stream."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Asks for the end: while waiting it is a ``KeyboardInterrupt`` at once, else it is noted.

    A second one does not ask any more.
    """

    def __init__(self) -> None:
        self._wanted = self._waiting = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """The handler of the signal."""
        again, self._wanted = self._wanted, True
        if again or self._waiting:
            raise KeyboardInterrupt

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within this block an interrupt loses what was being read, at most.

        Raises:
            KeyboardInterrupt: in it, or before it.
        """
        self._waiting = True
        try:
            if self._wanted:
                raise KeyboardInterrupt
            yield
        finally:
            self._waiting = False


@contextmanager
def on_interrupt(handler: Interrupt) -> Iterator[None]:
    """Have Ctrl-C handled, in the main thread; only there can it be."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
