"""Made-up recordings, and the geometries that the stages are tested with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from voxport.runtime.stages import FrameGrid

Array = npt.NDArray[Any]

# segmentation-3.0: 10 s windows.
PYANNOTE = FrameGrid(
    sample_rate_hz=16000,
    window_samples=160000,
    window_frames=589,
    hop_samples=270,
    receptive_field_samples=991,
)
# Small enough for loops over everything.
SMALL = FrameGrid(
    sample_rate_hz=1000,
    window_samples=100,
    window_frames=9,
    hop_samples=10,
    receptive_field_samples=17,
)


@dataclass(frozen=True)
class Scene:
    """Windows of a file: masks (W, F, S), starts (W,) and clusters of local speakers (W, S)."""

    masks: Array
    starts: Array
    assignments: Array


@st.composite
def scenes(draw: st.DrawFn, max_clusters: int = 4) -> Scene:
    """A few windows of the small grid, silent ones and gaps between them included."""
    num_windows = draw(st.integers(1, 6))
    num_speakers = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from([5, 10, 25, 30, 100, 130]))
    density = draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    shape = (num_windows, SMALL.window_frames, num_speakers)
    return Scene(
        masks=(rng.uniform(size=shape) < density).astype(np.uint8),
        starts=np.arange(num_windows) * step,
        assignments=rng.integers(-2, max_clusters, (num_windows, num_speakers)),
    )


def voices(
    rng: np.random.Generator, counts: list[int], dimension: int = 16, noise: float = 0.1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Embeddings (n, D) of speakers with ``counts`` embeddings each, shuffled, and who they are.

    The voices are orthogonal, of different loudness.
    """
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    directions = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0][: len(counts)]
    points = directions[labels] + noise * rng.normal(size=(len(labels), dimension)) / dimension**0.5
    return (points * rng.uniform(0.5, 3, (len(labels), 1))).astype(np.float32), labels


def same_partition(one: Array, other: Array) -> bool:
    """Whether two labellings group alike."""
    return bool(np.array_equal(one[:, None] == one, other[:, None] == other))
