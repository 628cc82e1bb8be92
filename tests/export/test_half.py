"""Mixed precision: islands stay FP32, borders are cast once, nothing overflows silently."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from voxport.export.errors import ExportError
from voxport.export.half import to_half

Weight = npt.NDArray[np.float32]


def _model(scale: float = 1.0) -> onnx.ModelProto:
    """y = exp(relu(x @ w)); z = relu(x @ w) + x @ w: a value read by both sides of a border."""
    weight: Weight = (np.arange(16, dtype=np.float32).reshape(4, 4) - 7.5) * scale / 8
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "/net/MatMul"),
        helper.make_node("Relu", ["m"], ["r"], "/net/Relu"),
        helper.make_node("Exp", ["r"], ["y"], "/island/Exp"),
        helper.make_node("Add", ["r", "m"], ["z"], "/net/Add"),
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", floats, ["n", 4])],
        [helper.make_tensor_value_info(name, floats, ["n", 4]) for name in "yz"],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _is_island(node: onnx.NodeProto) -> bool:
    return "/island/" in node.name


def _run(model: onnx.ModelProto, x: Weight) -> list[Weight]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs: list[Weight] = session.run(None, {"x": x})
    return outputs


def test_borders_are_cast_once_and_the_interface_stays_fp32() -> None:
    half = to_half(_model(), _is_island)
    onnx.checker.check_model(half, full_check=True)
    counts = Counter(node.op_type for node in half.graph.node)
    assert counts["Cast"] == 3  # x in; r out to the island; z out
    names = [node.name for node in half.graph.node]
    assert len(set(names)) == len(names)
    types = {v.name: v.type.tensor_type.elem_type for v in (*half.graph.input, *half.graph.output)}
    assert set(types.values()) == {TensorProto.FLOAT}
    assert [tensor.data_type for tensor in half.graph.initializer] == [TensorProto.FLOAT16]


def test_values_are_those_of_half_precision() -> None:
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    y, z = _run(to_half(_model(), _is_island), x)
    weight = numpy_helper.to_array(_model().graph.initializer[0])
    exact = x.astype(np.float64) @ weight
    np.testing.assert_allclose(z, np.maximum(exact, 0) + exact, rtol=4e-3, atol=4e-3)
    # The island computes in FP32 on what the half-precision part hands over.
    handed_over = np.log(y.astype(np.float64))
    np.testing.assert_allclose(
        handed_over, handed_over.astype(np.float16), rtol=0, atol=np.finfo(np.float16).eps
    )


def test_everything_on_an_island_changes_nothing() -> None:
    x = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    model = _model()
    same = to_half(model, lambda _: True)
    assert [node.op_type for node in same.graph.node] == ["MatMul", "Relu", "Exp", "Add"]
    for expected, observed in zip(_run(model, x), _run(same, x), strict=True):
        np.testing.assert_array_equal(expected, observed)


def test_the_source_model_is_left_alone() -> None:
    model = _model()
    before = model.SerializeToString()
    to_half(model, _is_island)
    assert model.SerializeToString() == before


def test_a_weight_beyond_half_precision_is_an_error() -> None:
    with pytest.raises(ExportError, match="'w' does not fit into FP16"):
        to_half(_model(scale=1e6), _is_island)
