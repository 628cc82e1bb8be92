"""8-bit weights: errors within half a step, and only where they were asked for."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper
from voxport.export.quantise import symmetric_int8, to_int8
from voxport.export.specs import Int8

FINITE = st.floats(-1e3, 1e3, width=32)


@example(np.array([[8.4e-44]], np.float32))
@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=FINITE))
def test_error_is_at_most_half_a_step_per_channel(weight: np.ndarray) -> None:
    values, scale = symmetric_int8(weight)
    assert values.dtype == np.int8
    assert values.min() >= -127
    restored = values * scale[:, None].astype(np.float64)
    # 1e-5: the scale itself is rounded to float32.
    assert (np.abs(restored - weight) <= scale[:, None] * (0.5 + 1e-5)).all()


def test_zero_channels_stay_zero() -> None:
    values, scale = symmetric_int8(np.zeros((2, 3), np.float32))
    assert not values.any()
    assert (scale > 0).all()


def _two_convolutions() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(32, 32, 3)).astype(np.float32) for _ in range(2)]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["h"], "/trunk/head/Conv"),
        helper.make_node("Conv", ["h", "w1"], ["y"], "/trunk/body/Conv"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, "t"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32, "u"])],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_only_chosen_convolutions_are_quantised() -> None:
    model = _two_convolutions()
    quantised = to_int8(model, Int8(weight_scopes=("/trunk/",), weight_islands=("/trunk/head/",)))
    onnx.checker.check_model(quantised, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in quantised.graph.initializer}
    assert types["w0"] == TensorProto.FLOAT
    assert types["w1.int8"] == TensorProto.INT8
    assert "w1" not in types
    x = np.random.default_rng(1).normal(size=(1, 32, 9)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for m in (model, quantised)
    )
    error = np.abs(before - after).max() / np.abs(before).max()
    assert 0 < error < 0.01


def test_lstms_are_quantised_dynamically() -> None:
    rng = np.random.default_rng(2)
    shapes = {"w": (1, 64, 8), "r": (1, 64, 16)}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], "/lstm/LSTM", hidden_size=16)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["t", 1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["t", 1, 1, 16])],
        [
            numpy_helper.from_array(rng.normal(size=s).astype(np.float32) / 4, n)
            for n, s in shapes.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    quantised = to_int8(model, Int8(lstm=True))
    assert [node.op_type for node in quantised.graph.node] == ["DynamicQuantizeLSTM"]


@pytest.mark.parametrize("how", [Int8(), Int8(weight_scopes=("/other/",))])
def test_nothing_chosen_changes_nothing(how: Int8) -> None:
    model = _two_convolutions()
    assert to_int8(model, how).graph == model.graph
