"""Work on several threads whose results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Generator[_Result]:
    """``map(function, items)`` on ``workers`` threads; at most one item more than these is held.

    Close it (``contextlib.closing``) if it may not be read to its end: no item begins then any
    more, and no thread stays.
    """
    pending: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(workers, "voxport-block")
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def timed(
    items: Iterable[_Item], stage: Callable[[], AbstractContextManager[None]]
) -> Iterator[_Item]:
    """The same items; ``stage()`` is entered while the next one is waited for."""
    coming = iter(items)
    while True:
        with stage():
            item = next(coming, None)
        if item is None:
            return
        yield item
