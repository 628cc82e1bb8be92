"""VGGish in tiny, at its own rate: the mean of an example's samples, and of their first half.

Both are known without it. Whitened, they are doubled and clipped to [-2, 2].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tiny_artifacts
from onnx import NodeProto, helper
from voxport.runtime import Description, TensorSpec

Samples = npt.NDArray[np.float32]
RATE_HZ, WINDOW, STEP = 16000, 15600, 15360


def expected(samples: Samples) -> npt.NDArray[np.float64]:
    """(n, 2) what the tiny network answers."""
    starts = range(0, len(samples) - WINDOW + 1, STEP)
    wide = samples.astype(np.float64)
    rows = [
        (wide[start : start + WINDOW].mean(), wide[start : start + WINDOW // 2].mean())
        for start in starts
    ]
    return np.array(rows).reshape(-1, 2)


def vggish(*, whitened: bool = False, **recipe: object) -> tuple[Description, bytes]:
    """The artifact; ``recipe`` overrides what it says of itself."""
    names = ["embeddings", *(("whitened", "quantised") if whitened else ())]
    told: dict[str, Any] = {
        "sample_rate_hz": RATE_HZ,
        "window_samples": WINDOW,
        "step_samples": STEP,
        "embedding_size": 2,
        **recipe,
    }
    described = tiny_artifacts.description(
        "vggish",
        [TensorSpec("waveform", "float32", ("batch", 1, "samples"))],
        [TensorSpec(name, "float32", ("batch", "examples", 2)) for name in names],
        **told,
    )
    kernel = np.full((2, 1, WINDOW), 1 / WINDOW, np.float32)
    kernel[1] = np.where(np.arange(WINDOW) < WINDOW // 2, 2 / WINDOW, 0)
    nodes = [
        helper.make_node("Conv", ["waveform", "kernel"], ["means"], strides=[STEP]),
        helper.make_node("Transpose", ["means"], ["embeddings"], perm=[0, 2, 1]),
    ]
    weights = {"kernel": kernel}
    if whitened:
        nodes += _whitening()
        weights |= {
            name: np.asarray(value, np.float32)
            for name, value in (("two", 2.0), ("low", -2.0), ("steps", 63.75))
        }
    return described, tiny_artifacts.graph(described, nodes, weights)


def _whitening() -> list[NodeProto]:
    return [
        helper.make_node("Mul", ["embeddings", "two"], ["doubled"]),
        helper.make_node("Clip", ["doubled", "low", "two"], ["whitened"]),
        helper.make_node("Add", ["whitened", "two"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "steps"], ["scaled"]),
        helper.make_node("Floor", ["scaled"], ["quantised"]),
    ]


def publish(folder: Path, *, whitened: bool = False, **recipe: object) -> Path:
    """A models folder with nothing but the tiny VGGish."""
    return tiny_artifacts.publish(folder, [vggish(whitened=whitened, **recipe)])
