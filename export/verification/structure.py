"""Structure gates of an ONNX file: is it the graph that was declared, and nothing else?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import helper

from ...runtime.errors import ArtifactError
from ...runtime.manifest import METADATA_KEY, Description, TensorSpec

# Control flow hides data-dependent work, FFTs have no kernels on many devices, and the rest
# mean that something was not frozen.
FORBIDDEN_OPS = frozenset(
    {"If", "Loop", "Scan", "DFT", "STFT", "NonZero", "RandomNormal", "RandomUniform", "Dropout"}
)
# A slice per segment is the mark of the textbook CAM++ export.
MAX_SLICES = 8
MAX_BYTES = 2**31 - 1
_QUANTISED_OPS = frozenset({"DynamicQuantizeLSTM"})
MICROSOFT_DOMAIN = "com.microsoft"


def op_histogram(model: onnx.ModelProto) -> dict[str, int]:
    """Nodes by type, most frequent first."""
    counts = Counter(node.op_type for node in model.graph.node)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True)
class Structure:
    """What a file must look like."""

    description: Description
    opset: int
    max_nodes: int

    def problems(self, content: bytes) -> list[str]:
        """Everything that is wrong with the file; empty if nothing is."""
        if len(content) > MAX_BYTES:
            return [f"{len(content)} bytes: beyond protobuf's limit of 2 GiB"]
        try:
            model = onnx.load_from_string(content)
            onnx.checker.check_model(model, full_check=True)
        except Exception as error:
            return [f"onnx.checker refuses it: {error}"]
        return [
            *self._header(model),
            *self._tensors("input", self.description.inputs, model.graph.input),
            *self._tensors("output", self.description.outputs, model.graph.output),
            *self._nodes(model),
            *_leftovers(model),
        ]

    def _header(self, model: onnx.ModelProto) -> Iterator[str]:
        opsets = {entry.domain: entry.version for entry in model.opset_import}
        if opsets.get("") != self.opset:
            yield f"opset {opsets.get('')}, declared {self.opset}"
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        try:
            stored = Description.from_json(metadata.get(METADATA_KEY, ""), "metadata")
        except ArtifactError as error:
            yield str(error)
            return
        if stored != self.description:
            yield "the metadata in the file is not what the export declares"

    def _tensors(
        self, kind: str, declared: tuple[TensorSpec, ...], values: list[onnx.ValueInfoProto]
    ) -> Iterator[str]:
        found = [_spec(value) for value in values]
        if found != list(declared):
            yield (
                f"{kind}s are {', '.join(map(str, found))}; "
                f"declared {', '.join(map(str, declared))}"
            )

    def _nodes(self, model: onnx.ModelProto) -> Iterator[str]:
        counts = op_histogram(model)
        total = sum(counts.values())
        if total > self.max_nodes:
            yield f"{total} nodes, at most {self.max_nodes} allowed"
        if counts.get("Slice", 0) > MAX_SLICES:
            yield f"{counts['Slice']} Slice nodes, at most {MAX_SLICES} allowed"
        for name in sorted(FORBIDDEN_OPS & set(counts)):
            yield f"op {name} is not allowed"
        for node in model.graph.node:
            if node.domain and not self._is_quantised_op(node):
                yield f"op {node.domain}::{node.op_type} is not a standard one"

    def _is_quantised_op(self, node: onnx.NodeProto) -> bool:
        quantised = node.domain == MICROSOFT_DOMAIN and node.op_type in _QUANTISED_OPS
        return quantised and self.description.precision == "int8"


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    axes = tuple(d.dim_param if d.HasField("dim_param") else d.dim_value for d in tensor.shape.dim)
    dtype = str(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return TensorSpec(value.name, dtype, axes)


def _leftovers(model: onnx.ModelProto) -> Iterator[str]:
    """Outputs that nothing reads, weights that nothing uses, data outside the file."""
    graph = model.graph
    used = {name for node in graph.node for name in node.input}
    used |= {value.name for value in graph.output}
    for node in graph.node:
        if not any(name in used for name in node.output):
            yield f"node {node.name or node.op_type} feeds nothing"
    for tensor in graph.initializer:
        if tensor.name not in used:
            yield f"weight {tensor.name} is not used"
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield f"weight {tensor.name} lies outside the file"
