"""Known speakers in tiny: the networks of a tiny diarization, and a ``post_embedding`` for them.

Different voices are at a distance of 1 from each other, or of 2 if their numbers are 2n and
2n + 1; the same ones at 0, up to the frame in which a voice begins or ends.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tiny_artifacts
import tiny_diarization
from onnx import helper
from scipy.linalg import hadamard
from tiny_artifacts import HOP, RATE_HZ
from tiny_diarization import Samples
from voxport.runtime import Description, Embeddings, SpeakerEmbedder, TensorSpec
from voxport.runtime.diarization.result import Used

SAME_SPEAKER_DISTANCE = 0.5
MIN_DURATION_S = 0.3
SHAPES = hadamard(HOP)[1:].astype(np.float32)


def post_embedding(step_s: float = HOP / RATE_HZ) -> tuple[Description, bytes]:
    """As ``voxport.graphs.post_embedding``: a speaker needs 10 frames, a segment 0.3 s."""
    described = replace(
        tiny_artifacts.description(
            "post_embedding",
            [
                TensorSpec("embeddings", "float32", ("speakers", "size")),
                TensorSpec("database", "float32", ("database", "size")),
                TensorSpec("segments", "float32", (1, "frames", "speakers")),
            ],
            [
                TensorSpec("distances", "float32", ("speakers", "database")),
                TensorSpec("valid", "float32", ("speakers",)),
                TensorSpec("filtered_segments", "float32", (1, "frames", "speakers")),
            ],
            step_s=step_s,
            activity_threshold_frames=10.0,
            min_duration_s=MIN_DURATION_S,
        ),
        minimums={"database": 0},
    )
    run = round(MIN_DURATION_S / step_s)
    nodes = []
    for name in ("embeddings", "database"):
        nodes += [
            helper.make_node("ReduceL2", [name], [f"{name}_l2"], axes=[1]),
            helper.make_node("Max", [f"{name}_l2", "tiny"], [f"{name}_norm"]),
            helper.make_node("Div", [name, f"{name}_norm"], [f"{name}_unit"]),
        ]
    nodes += [
        helper.make_node("Transpose", ["database_unit"], ["database_t"], perm=[1, 0]),
        helper.make_node("MatMul", ["embeddings_unit", "database_t"], ["similarities"]),
        helper.make_node("Sub", ["one", "similarities"], ["distances"]),
        helper.make_node("ReduceSum", ["segments", "frame_axis"], ["sums"], keepdims=0),
        helper.make_node("Squeeze", ["sums", "batch_axis"], ["activity"]),
        helper.make_node("Greater", ["activity", "ten"], ["enough"]),
        helper.make_node("Cast", ["enough"], ["valid"], to=1),
        helper.make_node("Transpose", ["segments"], ["tracks"], perm=[0, 2, 1]),
        helper.make_node("Pad", ["tracks", "ahead"], ["padded"]),
        helper.make_node("Neg", ["padded"], ["negated"]),
        helper.make_node("MaxPool", ["negated"], ["least"], kernel_shape=[run], strides=[1]),
        helper.make_node("Neg", ["least"], ["eroded"]),
        helper.make_node("Pad", ["eroded", "behind"], ["spread"]),
        helper.make_node("MaxPool", ["spread"], ["opened"], kernel_shape=[run], strides=[1]),
        helper.make_node("Transpose", ["opened"], ["runs"], perm=[0, 2, 1]),
        helper.make_node("Mul", ["runs", "valid"], ["filtered_segments"]),
    ]
    weights = {
        "tiny": np.asarray(1e-30, np.float32),
        "one": np.asarray(1.0, np.float32),
        "ten": np.asarray(10.0, np.float32),
        "frame_axis": np.array([1]),
        "batch_axis": np.array([0]),
        "ahead": np.array([0, 0, 0, 0, 0, run - 1]),
        "behind": np.array([0, 0, run - 1, 0, 0, 0]),
    }
    return described, tiny_artifacts.graph(described, nodes, weights)


def embedding(**recipe: Any) -> tuple[Description, bytes]:
    return tiny_diarization.embedding(same_speaker_distance=SAME_SPEAKER_DISTANCE, **recipe)


def publish(folder: Path, *more: tuple[Description, bytes]) -> Path:
    networks = (tiny_diarization.segmentation(), embedding(), post_embedding())
    return tiny_diarization.publish(folder, *networks, *more)


def voice_print(voice: int) -> Samples:
    """What the network says of a voice, of unit length."""
    sign = 1 if voice % 2 else -1
    unit: Samples = sign * SHAPES[voice // 2] / np.sqrt(np.float32(HOP))
    return unit


def embedder(models: Path, **options: Any) -> SpeakerEmbedder:
    return SpeakerEmbedder(models=models, device="cpu", **options)


ARTIFACT = Used("embedding_tiny", "fp32", "ab" * 32, "cpu")


def embeddings(*vectors: Any, artifact: Used = ARTIFACT) -> Embeddings:
    """Embeddings that no network made."""
    rows = np.array(vectors, np.float32)
    zeros = np.zeros(len(rows))
    labels = ("A",) * len(rows)
    return Embeddings(rows, labels, zeros, zeros, zeros, 1.0, artifact, (), {"total": 1.0})
