"""Which ops compute in FP16 and which weights are stored in 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from voxport.export.coreml.artifacts import CoreMLFormat
from voxport.export.coreml.convert import Converted, precisions, to_precision, write_package
from voxport.export.coreml.islands import ModulePaths
from voxport.export.coreml.package import weights_folder
from voxport.export.coreml.tools import import_coremltools
from voxport.export.errors import ExportError
from voxport.export.networks import Networks, diarization_window_module


def _operations(converted: Converted) -> list[Any]:
    (model,) = converted.models.values()
    return [op for op in model._mil_program.functions["main"].operations if op.op_type != "const"]


def _dtype(op: Any) -> str:
    types = import_coremltools("converters.mil.mil.types")
    name: str = types.builtin_to_string(op.outputs[0].dtype)
    return name


@pytest.mark.parametrize("name", ["segmentation", "segmentation_masks", "diarization_window"])
def test_half_precision_leaves_islands_in_segmentation(
    name: str, converted: dict[str, Converted]
) -> None:
    operations = _operations(to_precision(converted[name], "fp16"))
    dtypes = {
        kind: [_dtype(op) for op in operations if op.op_type == kind]
        for kind in ("instance_norm", "conv")
    }
    assert dtypes["instance_norm"] == ["fp32", "fp16", "fp16", "fp16"]
    assert dtypes["conv"][:3] == ["fp32", "fp16", "fp16"]
    for op in operations:
        if op.op_type in {"softmax", "log", "split", "real_div", "sqrt", "reduce_sum"}:
            assert _dtype(op) in {"fp32", "int32"}, op.name
        if op.op_type == "lstm":
            assert _dtype(op) == "fp16"
        if op.op_type == "reduce_argmax":
            assert op.inputs["x"].dtype is operations[0].inputs["x"].dtype


@pytest.mark.parametrize("name", ["embedding_campplus", "embedding_wespeaker"])
def test_half_precision_is_for_the_trunk_alone(name: str, converted: dict[str, Converted]) -> None:
    operations = _operations(to_precision(converted[name], "fp16"))
    casts = [op for op in operations if op.op_type == "cast"]
    # Into the trunk, out of it, and a number of the pooling's comparison.
    assert [_dtype(op) for op in casts] == ["fp16", "fp32", "fp32"]
    first, last, _ = (operations.index(op) for op in casts)
    assert {_dtype(op) for op in operations[first:last]} == {"fp16"}
    assert {_dtype(op) for op in operations[:first]} == {"fp32"}
    assert "fp16" not in {_dtype(op) for op in operations[last:]}


def test_half_weights_take_half_the_space(
    converted: dict[str, Converted], small_networks: Networks, tmp_path: Path
) -> None:
    sizes = {}
    for precision in precisions(converted["segmentation"].spec):
        description = CoreMLFormat().describe(
            converted["segmentation"].spec, precision, small_networks
        )
        write_package(
            to_precision(converted["segmentation"], precision), description, tmp_path / precision
        )
        sizes[precision] = (weights_folder(tmp_path / precision) / "weight.bin").stat().st_size
    assert sizes["fp16"] < 0.7 * sizes["fp32"]
    assert sizes["w8"] < sizes["fp32"]


def _compressed(converted: Converted) -> dict[str, list[Any]]:
    """Ops that read an 8-bit weight, by type."""
    readers: dict[str, list[Any]] = {}
    for op in _operations(to_precision(converted, "w8")):
        if op.op_type.startswith("constexpr_"):
            for reader in op.outputs[0].child_ops:
                readers.setdefault(reader.op_type, []).append(reader)
    return readers


def test_eight_bits_are_for_the_lstm_weights_of_segmentation(
    converted: dict[str, Converted],
) -> None:
    readers = _compressed(converted["segmentation"])
    # Two layers, of which the first one's input weights (64 x 12) are too small to bother.
    assert set(readers) == {"lstm"}
    assert len(readers["lstm"]) == 6


def test_eight_bits_are_for_the_trunk_without_the_head_of_campplus(
    converted: dict[str, Converted],
) -> None:
    readers = _compressed(converted["embedding_campplus"])
    assert set(readers) == {"conv"}
    # The head's convolutions are 2-D, all others 1-D.
    assert {op.inputs["weight"].rank for op in readers["conv"]} == {3}


def test_modules_in_lists_are_told_apart(small_networks: Networks) -> None:
    paths = ModulePaths.of(diarization_window_module(small_networks)).paths.values()
    assert "/segmentation/segmentation/sincnet/conv1d.0/" in paths
    assert "/segmentation/segmentation/sincnet/norm1d.0/" in paths
    assert "/embedding/trunk/xvector.block1/tdnnd1/cam_layer/linear1/" in paths


def test_modules_that_look_alike_are_refused() -> None:
    module = torch.nn.Module()
    module.first = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
    module.second = torch.nn.ModuleList([torch.nn.Linear(1, 1)])
    with pytest.raises(ExportError, match=r"/first\.0/ and /second\.0/ look alike"):
        ModulePaths.of(module)
