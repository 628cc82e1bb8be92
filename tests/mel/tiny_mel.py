"""A ``mel_matrix`` in tiny: one reshape, so that its matrices are the samples themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tiny_artifacts
from onnx import helper
from voxport.runtime import Description, OutOfMemoryError, Session, TensorSpec
from voxport.runtime.batching import BatchPlan
from voxport.runtime.inputs import Arrays
from voxport.runtime.onnx_session import CPU_PLAN

RATE_HZ = 1600
SHAPE = (2, 4, 20, 10)
WINDOW = int(np.prod(SHAPE))
CONFIGURATION: dict[str, Any] = {"sample_rate": RATE_HZ, "sample_length": 1.0}


def described(**recipe: object) -> Description:
    known = {
        "sample_rate_hz": RATE_HZ,
        "window_samples": WINDOW,
        "long_segments": SHAPE[0],
        "short_segments": SHAPE[1],
        "num_mel_bins": SHAPE[2],
        "time_frames": SHAPE[3],
        "configuration": CONFIGURATION,
    }
    return tiny_artifacts.description(
        "mel_matrix",
        [TensorSpec("waveform", "float32", ("batch", WINDOW))],
        [TensorSpec("matrix", "float32", ("batch", *SHAPE))],
        **{**known, **recipe},
    )


def publish(folder: Path, **recipe: object) -> Path:
    """A models folder with the tiny graph."""
    description = described(**recipe)
    nodes = [helper.make_node("Reshape", ["waveform", "shape"], ["matrix"])]
    content = tiny_artifacts.graph(description, nodes, {"shape": np.array([0, *SHAPE])})
    return tiny_artifacts.publish(folder, [(description, content)])


def matrices(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(W, *SHAPE) what the tiny graph makes of samples at its rate."""
    padded = np.pad(samples, (0, -len(samples) % WINDOW))
    return padded.reshape(-1, *SHAPE)


class SmallSession(Session):
    """The same without an engine, in a memory that holds ``fits`` stretches."""

    def __init__(self, fits: int) -> None:
        super().__init__(replace(described()), CPU_PLAN, "abc", BatchPlan(8))
        self.sizes: list[int] = []
        self._fits = fits

    def _compute(self, inputs: Arrays) -> Arrays:
        waveform = inputs["waveform"]
        self.sizes.append(len(waveform))
        if len(waveform) > self._fits:
            raise OutOfMemoryError("the card is full")
        return {"matrix": waveform.reshape(-1, *SHAPE)}

    def _release(self) -> None:
        return
