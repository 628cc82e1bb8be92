"""Load artifacts and run them: tiny graphs, every way in which a file can be wrong."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_artifacts
from onnx import helper
from tiny_artifacts import WEIGHT, linear, publish, reshaping
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    Description,
    DeviceError,
    InputError,
    Manifest,
    MissingDependencyError,
    TensorSpec,
    VoxportError,
    load,
)
from voxport.runtime.manifest import MANIFEST_NAME
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.options import Options

X = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]], np.float32)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with ``linear`` in FP32 and INT8, and ``reshaping``."""
    return publish(tmp_path / "models", [linear(), linear(precision="int8"), reshaping()])


# Loading and running


def test_load_by_name_and_run(models: Path) -> None:
    session = load("linear", models=models)
    outputs = session.run(x=X)
    assert list(outputs) == ["y"]
    assert outputs["y"].dtype == np.float32
    np.testing.assert_array_equal(outputs["y"], X @ WEIGHT)


def test_load_by_precision(models: Path) -> None:
    assert load("linear", models=models).description.precision == "fp32"
    assert load("linear", precision="int8", models=models).description.precision == "int8"


def test_load_by_path_needs_no_manifest(models: Path) -> None:
    (models / MANIFEST_NAME).unlink()
    path = models / "linear.int8.onnx"
    for session in (load(path), load(str(path)), load(path, precision="int8")):
        assert session.description == linear(precision="int8")[0]


def test_load_finds_the_default_folder(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXPORT_MODELS", str(models))
    assert load("linear").description.name == "linear"


def test_one_thread_gives_the_same(models: Path) -> None:
    session = load("linear", models=models, options=Options(intra_op_threads=1))
    np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)


def test_an_input_that_is_not_contiguous(models: Path) -> None:
    x = np.asfortranarray(X)
    np.testing.assert_array_equal(load("linear", models=models).run(x=x)["y"], X @ WEIGHT)


def test_repr_tells_what_it_is(models: Path) -> None:
    expected = "<linear fp32 on cpu: (x: float32[rows, 3]) -> (y: float32[rows, 2])>"
    assert repr(load("linear", models=models)) == expected


def test_runs_from_several_threads_equal_sequential_ones(models: Path) -> None:
    session = load("linear", models=models)
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((2 + i % 7, 3)).astype(np.float32) for i in range(200)]
    expected = [session.run(x=batch)["y"] for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: session.run(x=batch)["y"], batches))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_outputs_are_not_overwritten_by_the_next_run(models: Path) -> None:
    session = load("linear", models=models)
    first = session.run(x=X)["y"]
    session.run(x=X + 1)
    np.testing.assert_array_equal(first, X @ WEIGHT)


# What a caller may get wrong


def test_inputs_are_checked(models: Path) -> None:
    with pytest.raises(InputError, match="x has 1 rows, but needs at least 2"):
        load("linear", models=models).run(x=X[:1])


@pytest.mark.parametrize("device", ["cuda:", "CPU", "", "tpu:0"])
def test_unknown_device(models: Path, device: str) -> None:
    with pytest.raises(DeviceError, match="expected one of: auto, cpu, cuda, cuda:N") as caught:
        load("linear", device=device, models=models)
    assert repr(device) in str(caught.value)


def test_unknown_name_and_precision(models: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match="there are: linear, reshaping"):
        load("linaer", models=models)
    with pytest.raises(ArtifactNotFoundError, match="there are: onnx fp32, onnx int8"):
        load("linear", precision="fp16", models=models)


def test_a_file_of_another_precision_than_asked_for(models: Path) -> None:
    with pytest.raises(ArtifactError, match="is int8, not fp32"):
        load(models / "linear.int8.onnx", precision="fp32")


# What may be wrong with files


def test_a_flipped_byte_is_found(models: Path) -> None:
    path = models / "linear.fp32.onnx"
    content = bytearray(path.read_bytes())
    # In the weight, where nothing but the hash can tell.
    content[content.index(WEIGHT.tobytes()) + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="SHA-256") as caught:
        load("linear", models=models)
    assert str(path) in str(caught.value)
    assert load(path).run(x=X)["y"].shape == (2, 2)


def test_a_missing_file(models: Path, tmp_path: Path) -> None:
    (models / "linear.fp32.onnx").unlink()
    for name in ("linear", tmp_path / "none.onnx"):
        with pytest.raises(ArtifactNotFoundError, match=r"\.onnx: no such file"):
            load(name, models=models)


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(ArtifactError, match=r"net\.onnx: unreadable"):
        load(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"garbage" * 100, b"<html>not found</html>", b"\x80\x05K\x01."]
)
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot load it") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_every_damaged_byte_is_an_artifact_error_or_harmless(
    capfd: pytest.CaptureFixture[str],
) -> None:
    content = linear()[1]
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        try:
            OnnxSession(bytes(damaged), "net.onnx")
        except ArtifactError as error:
            assert str(error).startswith("net.onnx: ")  # noqa: PT017 -- either outcome is right
            refused += 1
    # The weights, and names that nothing depends on, may be anything.
    assert refused > len(content) // 2
    # ONNX Runtime would print of a "fallback" from the CPU to the CPU.
    assert capfd.readouterr().out == ""


def test_every_truncation_is_refused() -> None:
    content = linear()[1]
    for length in range(len(content)):
        with pytest.raises(ArtifactError):
            OnnxSession(content[:length], "net.onnx")


# What may be wrong with metadata


def rewritten(metadata: str) -> bytes:
    """``linear`` with other metadata."""
    described, _ = linear()
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return tiny_artifacts.graph(described, nodes, {"w": WEIGHT}, metadata=metadata)


def test_onnx_without_metadata() -> None:
    with pytest.raises(ArtifactError, match=r"net\.onnx: has no voxport metadata"):
        OnnxSession(rewritten(""), "net.onnx")


@pytest.mark.parametrize("metadata", ["hello", "[]", "{}", '{"schema_version": 99}'])
def test_metadata_that_is_no_description(metadata: str) -> None:
    with pytest.raises(ArtifactError, match=r"^net\.onnx: "):
        OnnxSession(rewritten(metadata), "net.onnx")


GOOD_X = TensorSpec("x", "float32", ("rows", 3))
GOOD_Y = TensorSpec("y", "float32", ("rows", 2))
CONTRADICTIONS = {
    "input name": ("inputs", (replace(GOOD_X, name="z"),)),
    "input dtype": ("inputs", (replace(GOOD_X, dtype="int64"),)),
    "input rank": ("inputs", (replace(GOOD_X, axes=("batch", "rows", 3)),)),
    "input size": ("inputs", (replace(GOOD_X, axes=("rows", 4)),)),
    "input fixed": ("inputs", (replace(GOOD_X, axes=(2, 3)),)),
    "input free": ("inputs", (replace(GOOD_X, axes=("rows", "size")),)),
    "input too many": ("inputs", (GOOD_X, replace(GOOD_X, name="z"))),
    "input none": ("inputs", ()),
    "output name": ("outputs", (replace(GOOD_Y, name="z"),)),
    "output dtype": ("outputs", (replace(GOOD_Y, dtype="bool"),)),
    "output size": ("outputs", (replace(GOOD_Y, axes=("rows", 3)),)),
    "output none": ("outputs", ()),
}


@pytest.mark.parametrize(("kind", "specs"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_metadata_that_contradicts_the_graph(kind: str, specs: tuple[TensorSpec, ...]) -> None:
    changes: dict[str, Any] = {kind: specs}
    described = replace(linear()[0], **changes)
    with pytest.raises(ArtifactError, match=f"declares the {kind} ") as caught:
        OnnxSession(rewritten(described.to_json()), "net.onnx")
    message = str(caught.value)
    assert message.startswith("net.onnx: ")
    assert ("; ".join(map(str, specs)) or "none") in message


def test_names_of_axes_are_free() -> None:
    described: Description = replace(linear()[0], inputs=(replace(GOOD_X, axes=("frames", 3)),))
    session = OnnxSession(rewritten(described.to_json()), "net.onnx")
    assert session.description.inputs[0].axes == ("frames", 3)


def test_a_manifest_that_describes_another_file(models: Path) -> None:
    # Both hashes fit, but the rows are exchanged.
    path = models / MANIFEST_NAME
    data = json.loads(path.read_text(encoding="utf-8"))
    by_precision = {row["description"]["precision"]: row for row in data["artifacts"][:2]}
    for key in ("path", "sha256"):
        one, other = by_precision["fp32"], by_precision["int8"]
        one[key], other[key] = other[key], one[key]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ArtifactError, match="is not what the manifest describes"):
        load("linear", models=models)


def test_a_manifest_row_that_leaves_the_folder(models: Path) -> None:
    (models.parent / "outside.onnx").write_bytes(linear()[1])
    row = replace(tiny_artifacts.row(*linear()), path="../outside.onnx")
    (models / MANIFEST_NAME).write_text(Manifest((row,)).to_json(), encoding="utf-8")
    with pytest.raises(ArtifactError, match="not a plain file name"):
        load("linear", models=models)


# What may go wrong at run time


def test_a_graph_that_fails_is_a_voxport_error(models: Path) -> None:
    session = load("reshaping", models=models)
    assert session.run(x=np.zeros(8, np.float32))["y"].shape == (2, 4)
    with pytest.raises(VoxportError, match=r"^reshaping failed on \{'x': \(7,\)\}: "):
        session.run(x=np.zeros(7, np.float32))
    # And it serves on.
    assert session.run(x=np.zeros(4, np.float32))["y"].shape == (1, 4)


def test_missing_onnxruntime(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install voxport\[cpu\]") as caught:
        load("linear", models=models)
    assert "voxport[gpu]" in str(caught.value)
