"""Fixtures for what a fresh clone does not hold: checkpoints, real speech, shared references."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from downloads import checkpoint_or_skip

# No deadlines: a slow machine is no defect. And random examples belong to a developer's machine;
# the same commit gets the same verdict in CI.
hypothesis.settings.register_profile(
    "voxport", deadline=None, derandomize=bool(os.environ.get("CI"))
)
hypothesis.settings.load_profile("voxport")

Arrays = dict[str, npt.NDArray[Any]]

_TESTS = Path(__file__).resolve().parent
_SHARED_DATA = _TESTS.parents[1] / "shared" / "data"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """An LSTM meets its other threads at every frame: on a busy machine each meeting may cost a
    time slice (measured: 37 s instead of 0.05 s for one window)."""
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch").set_num_threads(1)


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Arrays]:
    """Arrays of the original packages, committed under ``tests/golden``, by file name."""

    def load(name: str) -> Arrays:
        with np.load(_TESTS / "golden" / f"{name}.npz") as file:
            return dict(file)

    return load


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of larger references: recordings and full-size golden arrays."""
    folder = Path(os.environ.get("VOXPORT_SHARED_DATA", _SHARED_DATA))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no shared data at {folder}; set VOXPORT_SHARED_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def sample_waveform() -> npt.NDArray[np.float32]:
    """(480000,) float32: 30 s of real conversation between two speakers."""
    path = checkpoint_or_skip("fetch", "sample.wav")
    samples, sample_rate_hz = soundfile.read(path, dtype="float32")
    assert sample_rate_hz == 16000
    assert samples.shape == (480000,)
    waveform: npt.NDArray[np.float32] = samples
    return waveform


@pytest.fixture(scope="session")
def segmentation_checkpoint() -> Any:
    """pyannote/segmentation-3.0."""
    return checkpoint_or_skip("load_segmentation")


@pytest.fixture(scope="session")
def campplus_checkpoint() -> Any:
    """3D-Speaker's CAM++ (192-d, 200k speakers)."""
    return checkpoint_or_skip("load_embedding", "campplus")
