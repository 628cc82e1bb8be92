"""What a fresh clone does not hold: fetched, or the test is skipped with the reason."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest


def checkpoint_or_skip(function: str, *arguments: str) -> Any:
    """Call a function of ``voxport.export.checkpoints``, imported late: it needs torch."""
    pytest.importorskip("torch", reason="checkpoints need torch: install voxport[export]")
    checkpoints = importlib.import_module("voxport.export.checkpoints")
    return fetched_or_skip(getattr(checkpoints, function), *arguments)


def fetched_or_skip(function: Callable[..., Any], *arguments: str) -> Any:
    """Call a function that fetches something."""
    errors = importlib.import_module("voxport.export.errors")
    try:
        return function(*arguments)
    except (errors.CheckpointNotFoundError, errors.FetchError) as error:
        # Only what the network may be to blame for: a file that is there must load.
        pytest.skip(f"a checkpoint could not be fetched: {error}")
