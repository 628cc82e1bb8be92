"""Artifacts of a few nodes, built in milliseconds: what the runtime needs of a file, no more."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from voxport.runtime import ArtifactRow, Description, Manifest, TensorSpec
from voxport.runtime.manifest import MANIFEST_NAME, METADATA_KEY

_ONNX_TYPES = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "bool": TensorProto.BOOL,
}
WEIGHT = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32)


def description(
    name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], **recipe: object
) -> Description:
    """An FP32 description without checkpoints."""
    return Description(name, "fp32", tuple(inputs), tuple(outputs), recipe=dict(recipe))


def graph(
    described: Description,
    nodes: Sequence[NodeProto],
    weights: dict[str, np.ndarray] | None = None,
    metadata: str | None = None,
) -> bytes:
    """An ``.onnx`` file whose inputs and outputs are those that ``described`` declares.

    ``metadata`` is what it says of itself, ``described`` unless given; "" leaves it out.
    """
    inputs, outputs = (
        [
            helper.make_tensor_value_info(spec.name, _ONNX_TYPES[spec.dtype], list(spec.axes))
            for spec in specs
        ]
        for specs in (described.inputs, described.outputs)
    )
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    body = helper.make_graph(list(nodes), "tiny", inputs, outputs, initializer=tensors)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    text = described.to_json() if metadata is None else metadata
    if text:
        helper.set_model_props(model, {METADATA_KEY: text})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def row(described: Description, content: bytes) -> ArtifactRow:
    """The manifest row of a file, with an empty probe."""
    return ArtifactRow(
        description=described,
        format="onnx",
        path=f"{described.name}.{described.precision}.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        target="opset17",
        ops={"MatMul": 1},
        tools={"onnx": onnx.__version__},
        gates=({"gate": "pytorch", "output": "y", "figures": {"max_abs": 0.0}, "passed": True},),
        probe={},
        verified_on="a test",
    )


def publish(folder: Path, artifacts: Sequence[tuple[Description, bytes]]) -> Path:
    """Write artifacts and their manifest into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row(described, content) for described, content in artifacts]
    for published, (_, content) in zip(rows, artifacts, strict=True):
        (folder / published.path).write_bytes(content)
    manifest = Manifest(tuple(rows)).to_json()
    (folder / MANIFEST_NAME).write_text(manifest, encoding="utf-8")
    return folder


def linear(name: str = "linear", precision: str = "fp32") -> tuple[Description, bytes]:
    """y = x @ WEIGHT, at least two rows: (rows, 3) -> (rows, 2)."""
    described = replace(
        description(
            name,
            [TensorSpec("x", "float32", ("rows", 3))],
            [TensorSpec("y", "float32", ("rows", 2))],
        ),
        precision=precision,
        minimums={"rows": 2},
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return described, graph(described, nodes, {"w": WEIGHT})


def reshaping() -> tuple[Description, bytes]:
    """y = x as rows of 4: fails at run time for other sizes than multiples of 4."""
    described = description(
        "reshaping",
        [TensorSpec("x", "float32", ("samples",))],
        [TensorSpec("y", "float32", ("rows", 4))],
    )
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    return described, graph(described, nodes, {"shape": np.array([-1, 4], np.int64)})


# The pipeline of `voxport demo` in tiny: 1 s windows of 100 frames and two "speakers", one who
# speaks while the waveform is above 0.25 and one while it is below -0.25.
RATE_HZ, HOP, FRAMES = 1600, 16, 100
WINDOW = HOP * FRAMES


def demo_artifacts() -> list[tuple[Description, bytes]]:
    """``segmentation_masks``, an embedding network and ``cosine_distance``."""
    return [_segmentation(), _embedding(), _cosine()]


def _segmentation() -> tuple[Description, bytes]:
    described = description(
        "segmentation_masks",
        [TensorSpec("waveform", "float32", ("batch", 1, "samples"))],
        [TensorSpec("masks", "float32", ("batch", "frames", 2))],
        sample_rate_hz=RATE_HZ,
        hop_samples=HOP,
        window_samples=WINDOW,
    )
    # The mean of each hop, once upright and once inverted.
    kernel = np.stack([np.full((1, HOP), 1 / HOP), np.full((1, HOP), -1 / HOP)])
    nodes = [
        helper.make_node("Conv", ["waveform", "kernel"], ["means"], strides=[HOP]),
        helper.make_node("Greater", ["means", "threshold"], ["active"]),
        helper.make_node("Cast", ["active"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["masks"], perm=[0, 2, 1]),
    ]
    weights = {"kernel": kernel.astype(np.float32), "threshold": np.float32(0.25)}
    return described, graph(described, nodes, {k: np.asarray(v) for k, v in weights.items()})


def _embedding() -> tuple[Description, bytes]:
    """Sum of waveform over a speaker's frames: loud and inverted voices point apart."""
    described = description(
        "embedding_tiny",
        [
            TensorSpec("waveform", "float32", ("batch", 1, "samples")),
            TensorSpec("masks", "float32", ("batch", "speakers", "frames")),
        ],
        [TensorSpec("embeddings", "float32", ("batch", "speakers", 2))],
        sample_rate_hz=RATE_HZ,
        same_speaker_distance=0.5,
    )
    kernel = np.stack([np.full((1, HOP), 1.0), np.full((1, HOP), 0.5)]).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["waveform", "kernel"], ["sums"], strides=[HOP]),
        helper.make_node("Transpose", ["sums"], ["features"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["masks", "features"], ["embeddings"]),
    ]
    return described, graph(described, nodes, {"kernel": kernel})


def _cosine() -> tuple[Description, bytes]:
    described = description(
        "cosine_distance",
        [
            TensorSpec("embeddings", "float32", ("speakers", "size")),
            TensorSpec("database", "float32", ("database", "size")),
        ],
        [TensorSpec("distances", "float32", ("speakers", "database"))],
    )
    nodes = []
    for name in ("embeddings", "database"):
        nodes += [
            helper.make_node("ReduceL2", [name], [f"{name}_norm"], axes=[1]),
            helper.make_node("Div", [name, f"{name}_norm"], [f"{name}_unit"]),
        ]
    nodes += [
        helper.make_node("Transpose", ["database_unit"], ["database_t"], perm=[1, 0]),
        helper.make_node("MatMul", ["embeddings_unit", "database_t"], ["similarities"]),
        helper.make_node("Sub", ["one", "similarities"], ["distances"]),
    ]
    return described, graph(described, nodes, {"one": np.asarray(1.0, np.float32)})
