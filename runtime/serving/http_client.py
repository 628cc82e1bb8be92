"""KServe v2 over HTTP."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from ..inputs import Arrays
from .address import Address
from .client import Client, infer_inputs, outputs_of
from .failures import Kind, RequestError, broken, refusal
from .tools import import_http_client

_Answer = TypeVar("_Answer")
_Task = tuple[Callable[[Any], Any], Future[Any]]
# How long closing waits for a request under way, whose thread otherwise ends after it.
_GRACE_S = 1.0


class HttpClient(Client):
    """Threads with a connection each: "none of the methods are thread safe"
    (``tritonclient.http.InferenceServerClient``), and gevent, on which it is built, binds a socket
    to the thread that opened it."""

    def __init__(self, address: Address, timeout_s: float, at_once: int) -> None:
        """Raises MissingDependencyError where tritonclient is not installed."""
        self._triton, self._gevent = import_http_client()
        self._address, self._timeout_s = address, timeout_s
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock, self._closed = threading.Lock(), False
        self._threads = [
            threading.Thread(target=self._serve, name=f"voxport-http-{index}", daemon=True)
            for index in range(at_once)
        ]
        for thread in self._threads:
            thread.start()

    def server_metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self._asked(lambda client: client.get_server_metadata())
        return found

    def server_ready(self) -> bool:
        return bool(self._asked(lambda client: client.is_server_ready()))

    def model_ready(self, model: str) -> bool:
        return bool(self._asked(lambda client: client.is_model_ready(model)))

    def model_metadata(self, model: str) -> dict[str, Any]:
        found: dict[str, Any] = self._asked(lambda client: client.get_model_metadata(model))
        return found

    def model_config(self, model: str) -> dict[str, Any]:
        found: dict[str, Any] = self._asked(lambda client: client.get_model_config(model))
        return found

    def infer(self, model: str, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
        requested = self._triton.InferRequestedOutput
        wanted = [requested(name, binary_data=self.binary) for name in outputs]
        tensors = infer_inputs(self._triton, inputs, binary_data=self.binary)
        return self._asked(
            lambda client: outputs_of(client.infer(model, tensors, outputs=wanted), outputs)
        )

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in self._threads:
                self._tasks.put(None)
        for thread in self._threads:
            thread.join(_GRACE_S)

    def _asked(self, ask: Callable[[Any], _Answer]) -> _Answer:
        answer: Future[_Answer] = Future()
        with self._lock:
            if self._closed:
                raise RequestError(Kind.REFUSED, "the client was closed")
            self._tasks.put((ask, answer))
        return answer.result()

    def _serve(self) -> None:
        """What a thread does until it is told to end."""
        client = None
        while (task := self._tasks.get()) is not None:
            ask, answer = task
            try:
                client = self._connected(client)
                with self._gevent.Timeout(self._timeout_s):
                    found = ask(client)
            except BaseException as error:  # gevent's Timeout is no Exception
                answer.set_exception(self._failure(error))
                # A connection on which something failed may hold half an answer.
                _close(client)
                client = None
            else:
                answer.set_result(found)
        _close(client)
        self._gevent.get_hub().destroy(destroy_loop=True)

    def _connected(self, client: Any) -> Any:
        if self._closed:
            raise RequestError(Kind.REFUSED, "the client was closed")
        return client or self._triton.InferenceServerClient(
            self._address.place,
            ssl=self._address.encrypted,
            connection_timeout=self._timeout_s,
            network_timeout=self._timeout_s,
        )

    def _failure(self, error: BaseException) -> RequestError:
        if isinstance(error, RequestError):
            return error
        if isinstance(error, self._triton.InferenceServerException):
            return refusal(error.status(), error.message())
        if isinstance(error, self._gevent.Timeout):
            return RequestError(Kind.TIMEOUT, f"no answer within {self._timeout_s:g} s")
        return broken(error if isinstance(error, Exception) else RuntimeError(repr(error)))


def _close(client: Any) -> None:
    if client is not None:
        with suppress(Exception):  # the thread must go on
            client.close()
