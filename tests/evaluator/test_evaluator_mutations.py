"""Wrong programs must look wrong: exact mode tells them from honest ones.

Each test changes a stored program as a faulty converter would, and compares it with the network
in PyTorch at float64. The honest program is within 1e-4, so that a difference above 1e-3 is seen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from seeded_networks import segmentation_state
from signals import speechlike
from small_programs import coremltools, quiet
from torch import nn
from voxport.export.coreml.tools import import_coremltools
from voxport.export.evaluator import evaluate
from voxport.graphs import PowersetConfig, Segmentation, SegmentationConfig
from voxport.graphs.campplus import ConvHead

Array = npt.NDArray[Any]
_MODEL = Path("Data") / "com.apple.CoreML"


@dataclass
class Stored:
    """A stored program, what it was made of, and the means to change a copy of it."""

    path: Path
    inputs: dict[str, Array]
    expected: Array

    def error(self) -> float:
        """The largest difference to PyTorch in exact mode."""
        (found,) = evaluate(self.path, self.inputs).values()
        return float(np.abs(found - self.expected).max())

    def copy(self, folder: Path) -> Stored:
        shutil.copytree(self.path, folder / self.path.name)
        return Stored(folder / self.path.name, self.inputs, self.expected)

    def edit(self, change: Callable[[list[Any]], None]) -> None:
        """Change the operations of the protobuf."""
        (file,) = (self.path / _MODEL).glob("*.mlmodel")
        model = import_coremltools("proto.Model_pb2").Model()
        model.ParseFromString(file.read_bytes())
        function = model.mlProgram.functions["main"]
        change(function.block_specializations[function.opset].operations)
        file.write_bytes(model.SerializeToString())

    def edit_weight(self, op: str, parameter: str, change: Callable[[Array], Array]) -> None:
        """Change a weight of the first op of a kind within the weight file."""
        found: list[tuple[int, tuple[int, ...]]] = []

        def find(operations: list[Any]) -> None:
            user = next(each for each in operations if each.type == op)
            name = user.inputs[parameter].arguments[0].name
            (const,) = (each for each in operations if each.outputs[0].name == name)
            sizes = const.outputs[0].type.tensorType.dimensions
            offset = const.attributes["val"].blobFileValue.offset
            found.append((offset, tuple(each.constant.size for each in sizes)))

        self.edit(find)
        ((offset, shape),) = found
        file = self.path / _MODEL / "weights" / "weight.bin"
        content = bytearray(file.read_bytes())
        # The metadata says where the data starts, 16 bytes in.
        start = int.from_bytes(content[offset + 16 : offset + 24], "little")
        values = np.frombuffer(content, np.float32, int(np.prod(shape)), start).reshape(shape)
        changed = change(values.copy()).astype(np.float32).tobytes()
        content[start : start + len(changed)] = changed
        file.write_bytes(content)


def _convert(module: nn.Module, example: Array, path: Path) -> Stored:
    ct = coremltools()
    module = module.eval().requires_grad_(requires_grad=False)
    x = torch.from_numpy(example)
    with quiet():
        model = ct.convert(
            torch.jit.trace(module, x),
            inputs=[ct.TensorType("x", example.shape)],
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.save(str(path))
    return Stored(path, {"x": example}, module.double()(x.double()).numpy())


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A small segmentation network on 2 s."""
    config = SegmentationConfig(
        powerset=PowersetConfig(2, 2), lstm_hidden=16, lstm_layers=2, linear_sizes=(16,)
    )
    module = Segmentation(config).load_original(segmentation_state(config, seed=3))
    path = tmp_path_factory.mktemp("recurrent") / "segmentation.mlpackage"
    return _convert(module, speechlike(32000, seed=5)[None, None], path)


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The head of CAM++: two-dimensional convolutions that keep the number of frames."""
    torch.manual_seed(0)
    features = np.random.default_rng(0).standard_normal((1, 80, 40)).astype(np.float32)
    path = tmp_path_factory.mktemp("convolutional") / "head.mlpackage"
    return _convert(ConvHead(8), features, path)


def test_honest_programs_are_close_to_pytorch(recurrent: Stored, convolutional: Stored) -> None:
    assert recurrent.error() < 1e-4
    assert convolutional.error() < 1e-4


def _swapped_rows(weight: Array) -> Array:
    weight[[0, 1]] = weight[[1, 0]]
    return weight


def _torch_gate_order(rows: Array) -> Array:
    """Input, forget, cell, output in place of input, forget, output, cell."""
    first, second, third, fourth = np.split(rows, 4)
    return np.concatenate((first, second, fourth, third))


def test_swapped_recurrent_rows_are_seen(recurrent: Stored, tmp_path: Path) -> None:
    mutant = recurrent.copy(tmp_path)
    mutant.edit_weight("lstm", "weight_hh", _swapped_rows)
    assert mutant.error() > 1e-3


def test_a_wrong_gate_order_is_seen(recurrent: Stored, tmp_path: Path) -> None:
    mutant = recurrent.copy(tmp_path)
    for parameter in ("weight_ih", "weight_hh", "bias"):
        mutant.edit_weight("lstm", parameter, _torch_gate_order)
    assert mutant.error() > 1e-3


def test_exchanged_directions_are_seen(recurrent: Stored, tmp_path: Path) -> None:
    def change(operations: list[Any]) -> None:
        inputs = next(each for each in operations if each.type == "lstm").inputs
        forward, back = (inputs[name].arguments[0] for name in ("weight_hh", "weight_hh_back"))
        forward.name, back.name = back.name, forward.name

    mutant = recurrent.copy(tmp_path)
    mutant.edit(change)
    assert mutant.error() > 1e-3


def test_padding_that_is_off_by_one_is_seen(convolutional: Stored, tmp_path: Path) -> None:
    changed: list[list[int]] = []

    def change(operations: list[Any]) -> None:
        values = {each.outputs[0].name: each for each in operations if each.type == "const"}
        for operation in operations:
            pad = operation.inputs["pad"] if operation.type == "conv" else None
            if pad is None or changed:
                continue
            ints = values[pad.arguments[0].name].attributes["val"].immediateValue.tensor.ints.values
            changed.append(list(ints))
            # As many frames as before, but one later.
            ints[2], ints[3] = ints[2] + 1, ints[3] - 1

    mutant = convolutional.copy(tmp_path)
    mutant.edit(change)
    assert changed == [[1, 1, 1, 1]]
    assert mutant.error() > 1e-3
