"""From a torch module to an ONNX graph with names, metadata and nothing superfluous.

The TorchScript-based exporter is used for every graph, by measurement (docs/decisions/0001): the
dynamo-based one fails on LSTMs with a dynamic batch, takes ten times as long for CAM++ (26 s
against 2.6 s) and yields a graph of the same size (790 nodes against 788).
"""

from __future__ import annotations

import io
import warnings

import onnx
import onnxsim
import torch
from torch import nn

from ..runtime.manifest import METADATA_KEY, Description, TensorSpec
from .errors import ExportError
from .specs import ExportSpec

OPSET = 17
_PRODUCER = "voxport"


def trace(spec: ExportSpec, module: nn.Module) -> onnx.ModelProto:
    """The FP32 graph of a spec: traced, simplified, with the declared names and axes.

    Raises:
        ExportError: the graph lacks what the spec declares, or the simplifier failed.
    """
    model = _simplified(_exported(spec, module), spec.name)
    for declared, values in (
        (spec.inputs, model.graph.input),
        (spec.outputs, model.graph.output),
    ):
        by_name = {value.name: value for value in values}
        for tensor in declared:
            if tensor.name not in by_name:
                raise ExportError(f"{spec.name}: the exported graph has no {tensor}")
            _name_axes(by_name[tensor.name], tensor)
    model.producer_name, model.producer_version = _PRODUCER, ""
    return model


def with_description(model: onnx.ModelProto, description: Description) -> bytes:
    """The bytes of ``model`` with its description as metadata; the same for the same input."""
    described = onnx.ModelProto()
    described.CopyFrom(model)
    described.graph.name = description.name
    onnx.helper.set_model_props(described, {METADATA_KEY: description.to_json()})
    content: bytes = described.SerializeToString(deterministic=True)
    return content


def _exported(spec: ExportSpec, module: nn.Module) -> onnx.ModelProto:
    axes = {
        tensor.name: {i: axis for i, axis in enumerate(tensor.axes) if isinstance(axis, str)}
        for tensor in (*spec.inputs, *spec.outputs)
    }
    arguments = tuple(torch.from_numpy(array) for array in spec.example().values())
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Deprecation of the exporter, and its hints on traced shapes: the verification runs
        # every graph on shapes other than the traced ones.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            arguments,
            buffer,  # type: ignore[arg-type]  # the annotation lacks file objects
            dynamo=False,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_axes=axes,
        )
    return onnx.load_from_string(buffer.getvalue())


def _simplified(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    # The skipped pass turns a 3-D MatMul and its bias into five nodes around a Gemm and drops
    # their names, by which FP16 scopes and FP32 islands are found.
    simplified, valid = onnxsim.simplify(
        model, skipped_optimizers=["fuse_matmul_add_bias_into_gemm_batched"]
    )
    if not valid:
        raise ExportError(f"{name}: onnxsim's own check of the simplified graph failed")
    return _without_orphans(simplified)


def _without_orphans(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop nodes and weights that no output needs (the simplifier leaves constants behind)."""
    graph = model.graph
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            needed.update(node.input)
            kept.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, values in (("node", kept[::-1]), ("initializer", weights)):
        del getattr(graph, field)[:]
        getattr(graph, field).extend(values)
    del graph.value_info[:]
    return model


def _name_axes(value: onnx.ValueInfoProto, tensor: TensorSpec) -> None:
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for axis in tensor.axes:
        dimension = shape.dim.add()
        if isinstance(axis, str):
            dimension.dim_param = axis
        else:
            dimension.dim_value = axis
