"""MLServer, a KServe v2 server that is not Triton, as a process of its own on 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxport.runtime import Description, TensorSpec
from voxport.runtime.serving.names import model_name

_HERE = Path(__file__).resolve().parent
_HOST = "127.0.0.1"
# MLServer's own console script, of this Python.
_START = "from mlserver.cli import main; main()"
_START_S = 60.0
_STOP_S = 10.0
_DATATYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32", "bool": "BOOL"}


@dataclass(frozen=True)
class Served:
    """A model: its description as the server tells it, its file, and how it behaves.

    ``name`` is the artifact's unless given; ``extra`` is what ``mlserver_onnx`` reads.
    """

    description: Description
    content: bytes
    name: str = ""
    extra: Mapping[str, float] = field(default_factory=dict)

    def write(self, folder: Path) -> str:
        """Write the model into a server's folder; returns its name there."""
        name = self.name or model_name(self.description.name, self.description.precision)
        place = folder / name
        place.mkdir(parents=True)
        (place / "model.onnx").write_bytes(self.content)
        settings = {
            "name": name,
            "implementation": "mlserver_onnx.OnnxModel",
            "inputs": [_metadata(spec) for spec in self.description.inputs],
            "outputs": [_metadata(spec) for spec in self.description.outputs],
            "parameters": {"uri": str(place / "model.onnx"), "extra": dict(self.extra)},
        }
        (place / "model-settings.json").write_text(json.dumps(settings))
        return name


def _metadata(spec: TensorSpec) -> dict[str, Any]:
    shape = [axis if isinstance(axis, int) else -1 for axis in spec.axes]
    return {"name": spec.name, "datatype": _DATATYPES[spec.dtype], "shape": shape}


class KServeServer:
    """A server on free ports, which a restart keeps."""

    def __init__(self, folder: Path, models: Sequence[Served]) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.http_port, self.grpc_port = _free_ports(2)
        self._names = [model.write(folder) for model in models]
        settings = {
            "host": _HOST,
            "http_port": self.http_port,
            "grpc_port": self.grpc_port,
            "grpc_max_message_length": 64 * 2**20,
            "metrics_endpoint": None,
            "parallel_workers": 0,
            "debug": False,
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def grpc(self) -> str:
        return f"triton://{_HOST}:{self.grpc_port}"

    @property
    def http(self) -> str:
        return f"triton+http://{_HOST}:{self.http_port}"

    @property
    def log(self) -> str:
        """What the process has said so far."""
        return (self._folder / "log.txt").read_text(errors="replace")

    def start(self, *, wait: bool = True) -> None:
        """Start the process; return when every model is ready, unless told not to."""
        paths = os.pathsep.join((str(_HERE), os.environ.get("PYTHONPATH", "")))
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, "start", str(self._folder)],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": paths},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + _START_S
        while not all(map(self._ready, self._names)):
            assert self._process is not None
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.1)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a crash does: nothing is answered any more."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        try:
            self._signal(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)
            self._process.wait(_STOP_S)

    def _ready(self, name: str) -> bool:
        connection = http.client.HTTPConnection(_HOST, self.http_port, timeout=5)
        try:
            connection.request("GET", f"/v2/models/{name}/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((_HOST, 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
