"""No process may outlive a test."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []
    assert [each.name for each in threading.enumerate() if each.name.startswith("voxport-")] == []
