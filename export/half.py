"""Mixed half precision for ONNX graphs: FP16 inside, FP32 at the borders and on named islands.

The pass works on the verified FP32 graph, so both precisions have the same structure. (ONNX
Runtime's own ``convert_float_to_float16`` was tried first: with islands it produced models with
two nodes of one name, which do not load.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .errors import ExportError

# Ops whose output type is written in an attribute or fixed by the standard: they keep it, and
# casts around them do the rest.
_FIXED_TYPE_OPS = frozenset({"Cast", "Constant", "ConstantOfShape", "EyeLike", "Range", "Shape"})

Predicate = Callable[[NodeProto], bool]


def to_half(model: onnx.ModelProto, is_island: Predicate) -> onnx.ModelProto:
    """A copy of ``model`` that computes in FP16 wherever ``is_island`` is false.

    Graph inputs and outputs keep their types. Values beyond FP16's range in the weights are an
    error, not a clipped infinity.

    Raises:
        ExportError: a weight of a half-precision node does not fit into FP16.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    _HalfPass(half, is_island).run()
    return half


def _float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all tensors of type FP32."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    names = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {i.name for i in graph.initializer if i.data_type == TensorProto.FLOAT}


def _half_weight(tensor: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    if values.size and np.abs(values).max() > np.finfo(np.float16).max:
        raise ExportError(
            f"weight {tensor.name!r} does not fit into FP16: export with --precisions fp32,int8"
        )
    return numpy_helper.from_array(values.astype(np.float16), name)


class _HalfPass:
    """State of one run: which tensors exist in which type, and the nodes written so far."""

    def __init__(self, model: onnx.ModelProto, is_island: Predicate) -> None:
        self.graph = model.graph
        self.is_island = is_island
        self.floats = _float_tensors(model)
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self.outputs = {value.name for value in self.graph.output}
        self.produced_half: set[str] = set()
        self.available: set[str] = set()
        self.nodes: list[NodeProto] = []
        self.half_weights: list[TensorProto] = []

    def run(self) -> None:
        for node in self.graph.node:
            if node.op_type in _FIXED_TYPE_OPS or self.is_island(node):
                self._rewire_inputs(node, self._as_float)
                self.nodes.append(node)
            else:
                self._make_half(node)
        used = {name for node in self.nodes for name in node.input} | self.outputs
        weights = [t for t in self.graph.initializer if t.name in used] + self.half_weights
        for field, values in (("node", self.nodes), ("initializer", weights)):
            del getattr(self.graph, field)[:]
            getattr(self.graph, field).extend(values)
        del self.graph.value_info[:]  # types changed; readers infer them

    def _make_half(self, node: NodeProto) -> None:
        self._rewire_inputs(node, self._as_half)
        self.nodes.append(node)
        for index, name in enumerate(node.output):
            if name not in self.floats:
                continue
            self.produced_half.add(name)
            node.output[index] = self._half_name(name)
            self.available.add(self._half_name(name))
            if name in self.outputs:
                self._as_float(name)

    def _rewire_inputs(self, node: NodeProto, convert: Callable[[str], str]) -> None:
        for index, name in enumerate(node.input):
            if name in self.floats:
                node.input[index] = convert(name)

    @staticmethod
    def _half_name(name: str) -> str:
        return f"{name}.fp16"

    def _as_half(self, name: str) -> str:
        half = self._half_name(name)
        if half in self.available:
            return half
        self.available.add(half)
        if name in self.weights:
            self.half_weights.append(_half_weight(self.weights[name], half))
        else:
            self._cast(name, half, TensorProto.FLOAT16)
        return half

    def _as_float(self, name: str) -> str:
        if name in self.produced_half and name not in self.available:
            self.available.add(name)
            self._cast(self._half_name(name), name, TensorProto.FLOAT)
        return name

    def _cast(self, source: str, target: str, to: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [target], f"cast_{target}", to=to))
