"""A server that dies while it computes: an error in bounded time, or a run that goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import tiny_artifacts
from kserve_server import KServeServer, Served
from serving_models import twice
from voxport.runtime.devices import plan_device
from voxport.runtime.environment import client_environment
from voxport.runtime.errors import ServerError
from voxport.runtime.options import Options
from voxport.runtime.serving.session import ServerSession

_DELAY_S = 0.2
_ITEMS = [np.full(3, index, np.float32) for index in range(40)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeServer]:
    given = [Served(*twice(), extra={"delay_s": _DELAY_S})]
    server = KServeServer(tmp_path_factory.mktemp("mortal") / "models", given)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(params=["grpc", "http"])
def device(running: KServeServer, request: pytest.FixtureRequest) -> str:
    """The server, started again if it was killed, by either protocol."""
    if running.alive:
        running.wait()
    else:
        running.start()
    address: str = getattr(running, request.param)
    return address


def session(device: str, **options: float) -> ServerSession:
    row = tiny_artifacts.row(*twice())
    chosen = Options(request_timeout_s=20.0, **options)  # type: ignore[arg-type]
    return ServerSession(row, plan_device(device, client_environment()), chosen)


class Killer(threading.Thread):
    """Kills a server when a number of items is done, and starts it again where wanted."""

    def __init__(self, server: KServeServer, *, restart: bool) -> None:
        super().__init__()
        self._server, self._restart = server, restart
        self.now = threading.Event()

    def run(self) -> None:
        self.now.wait(30)
        time.sleep(_DELAY_S / 2)  # while further requests are under way
        self._server.kill()
        if self._restart:
            self._server.start(wait=False)


def run_with(killer: Killer, device: str, **options: float) -> list[np.ndarray]:
    """The outputs of all items; the server is killed when the fourth is there."""
    found = []
    killer.start()
    try:
        with session(device, **options) as loaded:
            for output in loaded.run_batched(_ITEMS, batch_size=2):
                found.append(output["y"])
                if len(found) == 4:
                    killer.now.set()
    finally:
        killer.now.set()
        killer.join()
    return found


def test_a_server_that_comes_back_in_time_goes_unnoticed(
    running: KServeServer, device: str
) -> None:
    found = run_with(Killer(running, restart=True), device, request_retries=8)
    assert np.array_equal(found, 2 * np.array(_ITEMS))


def test_a_killed_server_is_an_error_in_bounded_time(running: KServeServer, device: str) -> None:
    begun = time.monotonic()
    with pytest.raises(ServerError) as caught:
        run_with(Killer(running, restart=False), device, request_retries=2)
    # Two pauses, of 0.5 and 1 s and a quarter more at most, and what was computed before.
    assert time.monotonic() - begun < 15
    message = str(caught.value)
    assert message.startswith("twice failed on ")
    assert f"{device}, model twice: " in message
    assert "(3 tries in " in message
    assert "Is the server up" in message
