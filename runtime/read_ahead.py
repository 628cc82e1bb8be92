"""Read ahead on a thread, no further than a few items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
# How often a full queue looks whether anybody still reads it.
_PATIENCE_S = 0.05


@dataclass(frozen=True)
class _End:
    """Nothing comes any more: ``error`` says why, if not because all has come."""

    error: BaseException | None = None


class ReadAhead(Generic[_Item]):
    """Items that a thread of their own takes from ``items``; at most ``depth`` wait to be read.

    The thread starts at once. Iterate once. Close it, or read it to its end: the thread ends then.
    """

    def __init__(self, items: Iterable[_Item], depth: int) -> None:
        self._items = items
        self._waiting: queue.Queue[_Item | _End] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="voxport-reader", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:
            end = _End(error)
        finally:
            # A generator's files are closed on the thread that read them.
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        self._put(end)

    def _put(self, item: _Item | _End) -> bool:
        """Whether it was taken up: nobody reads what is closed."""
        while not self._closed.is_set():
            try:
                self._waiting.put(item, timeout=_PATIENCE_S)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Generator[_Item]:
        """The items; an error comes where it was met."""
        try:
            while not isinstance(item := self._waiting.get(), _End):
                yield item
            if item.error is not None:
                raise item.error
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading; the thread is gone afterwards."""
        self._closed.set()
        self._thread.join()
