"""Third-party programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from downloads import fetched_or_skip

torch = pytest.importorskip("torch", reason="the evaluator needs torch: install voxport[export]")


@pytest.fixture(scope="session")
def third_party() -> Callable[[str], Path]:
    """Finds a Core ML program that others made of the same checkpoints, by name."""
    from voxport.export.coreml.third_party import program_folder  # noqa: PLC0415 -- needs torch

    return lambda name: fetched_or_skip(program_folder, name)
