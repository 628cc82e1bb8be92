"""The tiny graph, as files; and no thread may be left by any test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_mel import publish


@pytest.fixture(scope="module")
def mel_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the tiny ``mel_matrix``."""
    return publish(tmp_path_factory.mktemp("models"))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [each.name for each in threading.enumerate() if each.name.startswith("voxport-")] == []
