"""Tiny artifacts with their probes, and what a server is given of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny_artifacts
import tiny_diarization
from kserve_server import Served
from onnx import helper
from tiny_artifacts import FRAMES, WINDOW
from voxport.runtime import Description, Manifest, TensorSpec
from voxport.runtime.manifest import MANIFEST_NAME
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.options import Options
from voxport.runtime.probe import probe_record
from voxport.runtime.synthetic import probe_inputs

Artifact = tuple[Description, bytes]

_PROBES = {
    "segmentation_masks": {"waveform": (1, 1, WINDOW)},
    "segmentation_windows": {"waveform": (1, 1, WINDOW), "starts": (1,)},
    "embedding_tiny": {"waveform": (1, 1, WINDOW), "masks": (1, 3, FRAMES)},
    "reshaping": {"x": (8,)},
}
_PROBE = {"x": (4, 3)}
# What fails for good does so at once; what takes too long does so soon.
HASTY = Options(request_timeout_s=1.0, request_retries=0)


def twice(name: str = "twice") -> Artifact:
    """y = 2 x: (batch, 3) -> (batch, 3)."""
    described = tiny_artifacts.description(
        name,
        [TensorSpec("x", "float32", ("batch", 3))],
        [TensorSpec("y", "float32", ("batch", 3))],
    )
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    return described, tiny_artifacts.graph(described, nodes)


def kinds() -> Artifact:
    """Every dtype there and back: numbers negated, flags inverted."""
    specs = [
        TensorSpec(f"{dtype}s", dtype, ("batch", "values"))
        for dtype in ("float32", "int64", "int32", "bool")
    ]
    outputs = [replace(spec, name=f"{spec.name}_out") for spec in specs]
    nodes = [
        helper.make_node("Not" if spec.dtype == "bool" else "Neg", [spec.name], [out.name])
        for spec, out in zip(specs, outputs, strict=True)
    ]
    described = tiny_artifacts.description("kinds", specs, outputs)
    return described, tiny_artifacts.graph(described, nodes)


def networks() -> list[Artifact]:
    """Of the tiny diarization."""
    return [
        tiny_diarization.segmentation(),
        tiny_diarization.segmentation_windows(),
        tiny_diarization.embedding(),
    ]


def publish(folder: Path, artifacts: Sequence[Artifact]) -> Path:
    """A models folder in which every row has its probe, as `voxport export` leaves it."""
    tiny_artifacts.publish(folder, artifacts)
    manifest = Manifest.read(folder / MANIFEST_NAME)
    contents = {described.name: content for described, content in artifacts}
    rows = []
    for row in manifest.artifacts:
        shapes = _PROBES.get(row.name, _PROBE)
        with OnnxSession(contents[row.name], row.name) as session:
            record = probe_record(shapes, session.run(**probe_inputs(shapes)))
        rows.append(replace(row, probe=record))
    (folder / MANIFEST_NAME).write_text(Manifest(tuple(rows)).to_json())
    return folder


def served(artifacts: Sequence[Artifact]) -> list[Served]:
    return [Served(described, content) for described, content in artifacts]


def stronger_linear(name: str) -> bytes:
    """``linear`` with weights that are 1.01 times as large, under a name of its own."""
    described, _ = tiny_artifacts.linear(name)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    weights = (1.01 * tiny_artifacts.WEIGHT).astype(np.float32)
    return tiny_artifacts.graph(described, nodes, {"w": weights})
