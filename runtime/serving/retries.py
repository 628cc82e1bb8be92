"""When to try again, and what to say in the end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import ServerError, SessionClosedError
from ..options import Options
from ..session import memory_error
from .failures import Kind, RequestError

_Answer = TypeVar("_Answer")
FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
# Clients that failed together do not come back together.
_JITTER = (0.75, 1.25)
_TIMEOUTS = 2


class Retries:
    """Asks a server until it answers or is given up.

    Inference has no state, so that a request whose answer was lost may be made again.
    """

    def __init__(self, server: str, options: Options) -> None:
        self._server, self._options = server, options
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Let whoever waits for another try give up."""
        self._closed.set()

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            SessionClosedError: the session was closed meanwhile.
        """
        if self._closed.wait(seconds):
            raise SessionClosedError("the session was closed")

    def __call__(self, model: str, ask: Callable[[], _Answer]) -> _Answer:
        """What ``ask`` returns; transient failures are tried again, and one that took too long
        once.

        Raises:
            OutOfMemoryError: the server says that its memory does not suffice.
            ServerError: it failed for good, or too often.
            SessionClosedError: the session was closed meanwhile.
        """
        begun, tries, timeouts = time.monotonic(), 0, 0
        while True:
            try:
                return ask()
            except RequestError as failure:
                if self.closed:
                    raise SessionClosedError("the session was closed") from failure
                tries, timeouts = tries + 1, timeouts + (failure.kind is Kind.TIMEOUT)
                memory = memory_error(str(failure))
                if memory is not None:
                    raise memory from failure
                given_up = tries > self._options.request_retries or timeouts >= _TIMEOUTS
                if given_up or failure.kind is Kind.REFUSED:
                    seconds = time.monotonic() - begun
                    raise self._error(model, failure, tries, seconds) from failure
            self.pause(delay_s(tries))

    def _error(self, model: str, failure: RequestError, tries: int, seconds: float) -> ServerError:
        options = self._options
        often = f" ({tries} tries in {seconds:.1f} s)" if tries > 1 else ""
        advice = {
            Kind.TRANSIENT: "Is the server up, and reachable from here? A higher "
            f"request_retries, now {options.request_retries}, waits for longer.",
            Kind.AWAY: "Does the server still have that model? A higher request_retries, now "
            f"{options.request_retries}, waits for longer.",
            Kind.TIMEOUT: "The server is stuck or has too much to do. A higher "
            f"request_timeout_s, now {options.request_timeout_s:g}, waits for longer.",
            Kind.REFUSED: "The server's log may tell more.",
        }[failure.kind]
        return ServerError(f"{self._server}, model {model}: {failure}{often}. {advice}")


def delay_s(tries: int) -> float:
    """How long to wait after so many tries, from 1: doubling, with jitter."""
    longest = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(tries - 1, 10))
    return longest * random.uniform(*_JITTER)  # noqa: S311 -- no secret
