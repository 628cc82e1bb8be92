"""INT8 variants that pass a decision gate.

Dynamic INT8 for LSTMs alone (quantising everything flips a fifth of the frames), and 8-bit
weights for convolutions, expanded when loaded: a quarter of the size at the speed of FP32.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, helper, numpy_helper

from .specs import Int8

# Below this many values a weight is not worth the three tensors that replace it.
_MIN_WEIGHT_SIZE = 1024


def to_int8(model: onnx.ModelProto, how: Int8) -> onnx.ModelProto:
    """A quantised copy of an FP32 graph; inputs and outputs keep their types."""
    quantised = onnx.ModelProto()
    quantised.CopyFrom(model)
    _quantise_convolution_weights(quantised, how.has_int8_weights)
    return _with_int8_lstms(quantised) if how.lstm else quantised


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises, on the root logger, to simplify graphs first; these are."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _with_int8_lstms(model: onnx.ModelProto) -> onnx.ModelProto:
    """Dynamic quantisation by ONNX Runtime, of LSTMs alone, a scale per output channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 -- slow import

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, source)
        with _quiet():
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=["LSTM"],
                weight_type=QuantType.QInt8,
                per_channel=True,
            )
        quantised = onnx.load(target)
    del quantised.graph.value_info[:]
    return quantised


def symmetric_int8(
    weight: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Values in -127..127 and a scale per output channel (axis 0): weight = values * scale."""
    peak = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    # At least the smallest normal number: a scale of 0 would divide a subnormal weight by it.
    scale = np.maximum(peak / 127, np.finfo(np.float32).tiny).astype(np.float32)
    values = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return values.clip(-127, 127).astype(np.int8), scale


def _quantise_convolution_weights(
    model: onnx.ModelProto, chosen: Callable[[NodeProto], bool]
) -> None:
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []
    replaced: dict[str, str] = {}
    for node in graph.node:
        if chosen(node) and node.input[1] in weights:
            name = node.input[1]
            if name not in replaced and np.prod(weights[name].dims) >= _MIN_WEIGHT_SIZE:
                replaced[name] = f"{name}.dequantised"
                nodes.append(_dequantise(graph, weights[name], replaced[name]))
            node.input[1] = replaced.get(name, name)
        nodes.append(node)
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    for field, values in (("node", nodes), ("initializer", kept)):
        del getattr(graph, field)[:]
        getattr(graph, field).extend(values)


def _dequantise(graph: onnx.GraphProto, weight: onnx.TensorProto, output: str) -> NodeProto:
    """Add the 8-bit weight to ``graph``; returns the node that expands it."""
    values, scale = symmetric_int8(numpy_helper.to_array(weight))
    names = [f"{weight.name}.int8", f"{weight.name}.scale"]
    graph.initializer.append(numpy_helper.from_array(values, names[0]))
    graph.initializer.append(numpy_helper.from_array(scale, names[1]))
    name = f"dequantise_{weight.name}"
    return helper.make_node("DequantizeLinear", names, [output], name, axis=0)
