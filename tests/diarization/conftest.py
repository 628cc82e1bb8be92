"""The tiny networks, loaded; and no thread may be left by any test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_diarization import diarizer, publish
from voxport.runtime.diarization import Diarizer


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module", params=("fast", "exact"))
def tiny(tiny_models: Path, request: pytest.FixtureRequest) -> Iterator[Diarizer]:
    with diarizer(tiny_models, mode=request.param, threads=2) as loaded:
        yield loaded


@pytest.fixture
def fast(tiny_models: Path) -> Iterator[Diarizer]:
    with diarizer(tiny_models, threads=2) as loaded:
        yield loaded


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [each.name for each in threading.enumerate() if each.name.startswith("voxport-")] == []
