"""Structure gates: each defect that a careless export leaves is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from voxport.export.onnx_graph import with_description
from voxport.export.verification.structure import Structure, op_histogram
from voxport.runtime import Description, TensorSpec

DESCRIPTION = Description(
    name="double",
    precision="fp32",
    inputs=(TensorSpec("x", "float32", ("n", 3)),),
    outputs=(TensorSpec("y", "float32", ("n", 3)),),
    voxport_version="0",
)
Edit = Callable[[onnx.ModelProto], None]


def _model() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["y"], "/Mul")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.float32([2]), "two")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _problems(model: onnx.ModelProto, description: Description = DESCRIPTION) -> list[str]:
    return Structure(DESCRIPTION, 17, max_nodes=3).problems(with_description(model, description))


def _node(op: str, output: str, domain: str = "") -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(op, ["x"], [output], domain=domain))
        if domain:
            model.opset_import.append(helper.make_opsetid(domain, 1))

    return edit


def _unused_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1]), "spare"))


def _many_nodes(model: onnx.ModelProto) -> None:
    for index in range(3):
        model.graph.node.append(helper.make_node("Relu", ["x"], [f"r{index}"]))


def _fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _renamed_axis(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "m"


def _other_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 18


def _external(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.data_location = TensorProto.EXTERNAL


def _broken(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "nowhere"


def test_a_clean_graph_has_no_problems() -> None:
    assert _problems(_model()) == []


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (_node("Relu", "dead"), "feeds nothing"),
        (_node("NonZero", "dead"), "op NonZero is not allowed"),
        (_node("Gelu", "dead", "com.microsoft"), "com.microsoft::Gelu is not a standard one"),
        (_unused_weight, "weight spare is not used"),
        (_many_nodes, "4 nodes, at most 3 allowed"),
        (_fixed_batch, "inputs are x: float32[1, 3]; declared x: float32[n, 3]"),
        (_renamed_axis, "outputs are y: float32[m, 3]"),
        (_other_opset, "opset 18, declared 17"),
        (_external, "onnx.checker refuses it"),
        (_broken, "onnx.checker refuses it"),
    ],
)
def test_each_defect_is_named(edit: Edit, message: str) -> None:
    model = _model()
    edit(model)
    problems = _problems(model)
    assert any(message in problem for problem in problems), problems


def test_metadata_must_be_the_declared_one() -> None:
    other = replace(DESCRIPTION, recipe={"hop_samples": 1})
    assert _problems(_model(), other) == [
        "the metadata in the file is not what the export declares"
    ]


def test_garbage_is_refused() -> None:
    assert Structure(DESCRIPTION, 17, 3).problems(b"\x08garbage" * 9)


def test_histogram_is_sorted_by_count() -> None:
    model = _model()
    _many_nodes(model)
    assert list(op_histogram(model).items()) == [("Relu", 3), ("Mul", 1)]
