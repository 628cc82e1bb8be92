"""A KServe v2 server in this process that does as it is told: y = 2 x over HTTP.

Unlike MLServer it takes and gives binary tensors, tells a model's configuration, and fails in the
order in which it is told to.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

_HEADER = "Inference-Header-Content-Length"


@dataclass
class FakeTriton:
    """What it says, and what it was asked.

    Attributes:
        extensions: that it claims to have.
        config: of its model.
        failures: (status, message) of the next inferences; a status of 0 hangs up in the middle
            of the answer, one of -1 answers with what is no JSON.
        absences: how often it denies that the model is ready, and that itself is.
        answer: changes an answer before it is sent.
        shape: of its tensors; gRPC tells numbers as strings.
        inferences: the bodies of the requests for inference.
        device: its address.
    """

    extensions: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    failures: deque[tuple[int, str]] = field(default_factory=deque)
    absences: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    shape: list[Any] = field(default_factory=lambda: ["-1", "3"])
    inferences: list[bytes] = field(default_factory=list)
    device: str = ""

    def told(self, path: str) -> dict[str, Any] | None:
        """The answer to a GET; None for none."""
        if path == "/v2":
            return {"name": "fake", "version": "1", "extensions": self.extensions}
        if path.endswith("/ready"):
            # Twice for each: the model first, then the server.
            self.absences -= 1
            return {} if self.absences < 0 else None
        if path.endswith("/config"):
            return self.config
        tensor = {"datatype": "FP32", "shape": self.shape}
        tensors = [[{"name": name, **tensor}] for name in "xy"]
        return {"name": "twice", "inputs": tensors[0], "outputs": tensors[1]}


@contextmanager
def fake_triton(**told: Any) -> Iterator[FakeTriton]:
    """A server that runs within the block."""
    fake = FakeTriton(**told)

    class Handler(_Handler):
        server_is = fake

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    fake.device = f"triton+http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_is: FakeTriton

    def do_GET(self) -> None:
        found = self.server_is.told(self.path)
        if found is None:
            self._send(HTTPStatus.BAD_REQUEST, b'{"error": "no"}')
        else:
            self._send(HTTPStatus.OK, json.dumps(found).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server_is.inferences.append(body)
        if self.server_is.failures:
            self._fail(*self.server_is.failures.popleft())
            return
        length = int(self.headers.get(_HEADER, len(body)))
        request = json.loads(body[:length])
        (given,) = request["inputs"]
        if length < len(body):
            x = np.frombuffer(body[length:], np.float32).reshape(given["shape"])
        else:
            x = np.array(given["data"], np.float32).reshape(given["shape"])
        self._answer(2 * x, binary=request["outputs"][0]["parameters"]["binary_data"])

    def _answer(self, y: np.ndarray, *, binary: bool) -> None:
        output = {"name": "y", "datatype": "FP32", "shape": list(y.shape)}
        raw = y.tobytes() if binary else b""
        told = {"parameters": {"binary_data_size": len(raw)}} if binary else {"data": y.tolist()}
        whole = {"model_name": "twice", "outputs": [{**output, **told, **self.server_is.answer}]}
        header = json.dumps(whole).encode()
        self._send(HTTPStatus.OK, header + raw, {_HEADER: str(len(header))} if binary else {})

    def _fail(self, status: int, message: str) -> None:
        if status > 0:
            self._send(status, json.dumps({"error": message}).encode())
        elif status == 0:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"outputs": [')
            self.close_connection = True
        else:
            self._send(HTTPStatus.OK, message.encode())

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 -- its name there
        """Nothing."""
