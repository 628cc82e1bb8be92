"""A diarization in tiny: exact networks of a few nodes, and voices that they tell apart.

Audio has 1600 samples a second, a frame is a hop of 16 of them, a window 100 frames: one second.
The mean of a hop says who of three local speakers is active: the first above 0.25, the second below
-0.25, and the third, together with the first, above 0.75. The shape of a hop, its mean removed, is
the voice: rows of a Hadamard matrix and their opposites, at a distance of 1.4 or 2 from each other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tiny_artifacts
from onnx import helper, numpy_helper
from scipy.linalg import hadamard
from tiny_artifacts import FRAMES, HOP, RATE_HZ, WINDOW
from voxport.runtime import Description, TensorSpec
from voxport.runtime.diarization import DiarizationResult, Diarizer, Settings

Samples = npt.NDArray[np.float32]
NUM_VOICES = 2 * (HOP - 1)
# Where audio begins or ends within a frame, a turn begins or ends up to a frame beside it.
FRAME_S = HOP / RATE_HZ
ALONE, INVERTED, TOGETHER = 0.5, -0.5, 1.0
_SHAPES = hadamard(HOP)[1:].astype(np.float32)
_CENTRED = (np.eye(HOP) - 1 / HOP).astype(np.float32)
# Windows overlap by nine tenths, as in the real pipeline; a block has 21 of them.
SETTINGS: dict[str, Any] = {"step_s": 0.1, "block_s": 3.0}


def speech(seconds: float, voice: int, level: float = ALONE) -> Samples:
    """A voice, 0 to ``NUM_VOICES`` - 1, at a level that says which local speaker it is."""
    shape = _SHAPES[voice // 2] * (0.2 if voice % 2 else -0.2)
    hop = (level + shape).astype(np.float32)
    return np.tile(hop, round(seconds * RATE_HZ / HOP))


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


def dialogue() -> Samples:
    """9 s: voice 0 from 0 to 3 s, voice 5 from 4 to 7 s, voice 0 from 8 to 9 s."""
    return np.concatenate(
        [speech(3, 0), silence(1), speech(3, 5, INVERTED), silence(1), speech(1, 0)]
    )


def segmentation(**recipe: object) -> tuple[Description, bytes]:
    figures = {
        "sample_rate_hz": RATE_HZ,
        "window_samples": WINDOW,
        "window_frames": FRAMES,
        "hop_samples": HOP,
        "receptive_field_samples": HOP,
    }
    described = tiny_artifacts.description(
        "segmentation_masks",
        [TensorSpec("waveform", "float32", ("batch", 1, "samples"))],
        [TensorSpec("masks", "float32", ("batch", "frames", 3))],
        **{**figures, **recipe},
    )
    kernel = np.stack([np.full((1, HOP), sign / HOP) for sign in (1, -1, 1)]).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["waveform", "kernel"], ["means"], strides=[HOP]),
        helper.make_node("Greater", ["means", "thresholds"], ["active"]),
        helper.make_node("Cast", ["active"], ["floats"], to=1),
        helper.make_node("Transpose", ["floats"], ["masks"], perm=[0, 2, 1]),
    ]
    thresholds = np.array([[[0.25], [0.25], [0.75]]], np.float32)
    weights = {"kernel": kernel, "thresholds": thresholds}
    return described, tiny_artifacts.graph(described, nodes, weights)


def segmentation_windows() -> tuple[Description, bytes]:
    """The same for windows of a longer waveform: cut out, and then segmented."""
    described = tiny_artifacts.description(
        "segmentation_windows",
        [
            TensorSpec("waveform", "float32", (1, 1, "samples")),
            TensorSpec("starts", "int64", ("windows",)),
        ],
        [TensorSpec("masks", "float32", ("windows", FRAMES, 3))],
        **{**segmentation()[0].recipe, "start_multiple_samples": 2},
    )
    single = segmentation()[1]
    graph = onnx.load_from_string(single).graph
    nodes = [
        helper.make_node("Reshape", ["starts", "column"], ["first"]),
        helper.make_node("Add", ["first", "span"], ["indices"]),
        helper.make_node("Reshape", ["waveform", "flat"], ["samples"]),
        helper.make_node("Gather", ["samples", "indices"], ["cut"]),
        helper.make_node("Reshape", ["cut", "windowed"], ["windows"]),
        *graph.node,
    ]
    nodes[5].input[0] = "windows"
    weights = {
        "column": np.array([-1, 1], np.int64),
        "flat": np.array([-1], np.int64),
        "windowed": np.array([-1, 1, WINDOW], np.int64),
        "span": np.arange(WINDOW, dtype=np.int64),
        **{each.name: numpy_helper.to_array(each) for each in graph.initializer},
    }
    return described, tiny_artifacts.graph(described, nodes, weights)


def embedding(name: str = "embedding_tiny", **recipe: object) -> tuple[Description, bytes]:
    """The sum of the shapes of a speaker's hops, (batch, speakers, 16)."""
    figures = {"sample_rate_hz": RATE_HZ, "embedding_size": HOP, "clustering_threshold": 0.75}
    described = tiny_artifacts.description(
        name,
        [
            TensorSpec("waveform", "float32", ("batch", 1, "samples")),
            TensorSpec("masks", "float32", ("batch", "speakers", "frames")),
        ],
        [TensorSpec("embeddings", "float32", ("batch", "speakers", HOP))],
        **{**figures, **recipe},
    )
    nodes = [
        helper.make_node("Conv", ["waveform", "kernel"], ["shapes"], strides=[HOP]),
        helper.make_node("Transpose", ["shapes"], ["features"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["masks", "features"], ["embeddings"]),
    ]
    graph = tiny_artifacts.graph(described, nodes, {"kernel": _CENTRED[:, None, :]})
    return described, graph


def publish(folder: Path, *artifacts: tuple[Description, bytes]) -> Path:
    """A models folder with these artifacts; with both networks where none is given."""
    return tiny_artifacts.publish(folder, artifacts or (segmentation(), embedding()))


def diarizer(models: Path, *, threads: int | None = None, **settings: Any) -> Diarizer:
    chosen = Settings(**{**SETTINGS, **settings})
    return Diarizer(models=models, device="cpu", settings=chosen, threads=threads)


def diarized(loaded: Diarizer, samples: Any, **known: Any) -> DiarizationResult:
    return loaded(samples, source_rate_hz=RATE_HZ, **known)


def near(result: DiarizationResult, expected: list[tuple[float, float, str]]) -> bool:
    """Whether the turns are the expected ones, up to a frame and a half."""
    found = [(turn.start_s, turn.end_s, turn.speaker) for turn in result.turns]
    return [each[2] for each in found] == [each[2] for each in expected] and bool(
        np.allclose(
            [each[:2] for each in found], [each[:2] for each in expected], atol=1.5 * FRAME_S
        )
    )
