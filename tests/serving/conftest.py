"""One server for all tests that leave it alive; and nothing may be left by any test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_artifacts
from kserve_server import KServeServer, Served
from serving_models import Artifact, kinds, networks, publish, served, stronger_linear, twice


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [each.name for each in threading.enumerate() if each.name.startswith("voxport-")] == []


def artifacts() -> list[Artifact]:
    return [
        tiny_artifacts.linear(),
        twice(),
        tiny_artifacts.reshaping(),
        *networks(),
        # Served otherwise than they are described, or not at all:
        tiny_artifacts.linear("swapped"),
        tiny_artifacts.linear("reshaped"),
        tiny_artifacts.linear("absent"),
        twice("slow"),
        twice("full"),
    ]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client's models folder: the manifest, without any artifact."""
    folder = publish(tmp_path_factory.mktemp("client"), artifacts())
    for path in folder.glob("*.onnx"):
        path.unlink()
    return folder


@pytest.fixture(scope="session")
def local_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same artifacts with their files."""
    return publish(tmp_path_factory.mktemp("local"), artifacts())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KServeServer]:
    half = tiny_artifacts.linear("linear", "fp16")
    given = [
        *served([tiny_artifacts.linear(), half, twice(), tiny_artifacts.reshaping(), kinds()]),
        *served(networks()),
        Served(tiny_artifacts.linear("swapped")[0], stronger_linear("swapped")),
        Served(*twice(), name="reshaped"),
        Served(*twice("slow"), extra={"delay_s": 2.0}),
        Served(*twice("full"), extra={"fits": 4}),
    ]
    running = KServeServer(tmp_path_factory.mktemp("server") / "models", given)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(params=["grpc", "http"])
def device(server: KServeServer, request: pytest.FixtureRequest) -> str:
    """The server by either protocol."""
    address: str = getattr(server, request.param)
    return address
