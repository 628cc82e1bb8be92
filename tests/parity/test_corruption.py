"""Every way in which a published folder can be wrong is found: by hash, by gate, by rebuilding."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper
from voxport.export import pipeline, verify
from voxport.export.coreml.package import model_path, read_model, weights_folder
from voxport.export.networks import Networks
from voxport.export.run import run_verify
from voxport.export.specs import ExportSpec
from voxport.export.verification.cases import Speech
from voxport.export.verification.gates import Verifier
from voxport.runtime import ArtifactError, Manifest, VoxportError, load
from voxport.runtime.cli import main
from voxport.runtime.package import package_sha256, package_size

FloatArray = npt.NDArray[np.float32]
MANIFEST = "manifest.json"
PACKAGE = "segmentation_masks.fp32.mlpackage"


def _alone(models: Path, folder: Path, name: str) -> Path:
    """A copy of the folder with one artifact alone, quick to verify."""
    folder.mkdir()
    rows = [row for row in Manifest.read(models / MANIFEST).artifacts if row.path == name]
    copy = shutil.copytree if (models / name).is_dir() else shutil.copy
    copy(models / name, folder / name)
    (folder / MANIFEST).write_text(Manifest(tuple(rows)).to_json())
    return folder


@pytest.fixture(autouse=True)
def _original_run_once(monkeypatch: pytest.MonkeyPatch, verifiers: dict[str, Verifier]) -> None:
    """The original network, slow in float64, need not run again for every corruption."""

    def verifier_of(spec: ExportSpec, networks: Networks, speech: Speech) -> Verifier:
        if spec.name not in verifiers:
            verifiers[spec.name] = pipeline.verifier_of(spec, networks, speech)
        return verifiers[spec.name]

    monkeypatch.setattr(verify, "verifier_of", verifier_of)


@pytest.fixture(scope="module")
def verifiers() -> dict[str, Verifier]:
    return {}


@pytest.fixture
def small(models: Path, tmp_path: Path) -> Path:
    return _alone(models, tmp_path / "models", "segmentation_masks.fp32.onnx")


@pytest.fixture
def package(models: Path, tmp_path: Path) -> Path:
    return _alone(models, tmp_path / "models", PACKAGE)


def _artifact(folder: Path) -> Path:
    return folder / "segmentation_masks.fp32.onnx"


def _flip_a_byte(folder: Path) -> None:
    content = bytearray(_artifact(folder).read_bytes())
    content[len(content) // 2] ^= 0x40
    _artifact(folder).write_bytes(content)


def _truncate(folder: Path) -> None:
    content = _artifact(folder).read_bytes()
    _artifact(folder).write_bytes(content[: len(content) // 2])


def _remove(folder: Path) -> None:
    _artifact(folder).unlink()


def _add_a_stray(folder: Path) -> None:
    shutil.copy(_artifact(folder), folder / "other.fp32.onnx")


def _list_nothing(folder: Path) -> None:
    (folder / MANIFEST).write_text(Manifest().to_json())


def _consistent(folder: Path, content: bytes) -> None:
    """Replace the artifact and make the manifest agree: only the gates can tell."""
    _artifact(folder).write_bytes(content)
    (row,) = Manifest.read(folder / MANIFEST).artifacts
    row = replace(row, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    (folder / MANIFEST).write_text(Manifest((row,)).to_json())


def _edit_weight(folder: Path, op: str, edit: Callable[[FloatArray], None]) -> None:
    model = onnx.load(_artifact(folder))
    node = next(node for node in model.graph.node if node.op_type == op)
    index = 2 if op == "LSTM" else 1
    weight = next(t for t in model.graph.initializer if t.name == node.input[index])
    values = numpy_helper.to_array(weight).copy()
    edit(values)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    _consistent(folder, model.SerializeToString())


def _swap_recurrent_rows(folder: Path) -> None:
    def swap(values: FloatArray) -> None:
        values[0, [0, 1]] = values[0, [1, 0]]

    _edit_weight(folder, "LSTM", swap)


def _swap_gates(folder: Path) -> None:
    def swap(values: FloatArray) -> None:
        values[0, :256] = np.roll(values[0, :256], 128, axis=0)

    _edit_weight(folder, "LSTM", swap)


def _scale_a_filter(folder: Path) -> None:
    # The normalisation after the pooling undoes it: no output changes.
    def scale(values: FloatArray) -> None:
        values[7] *= 1.05

    _edit_weight(folder, "Conv", scale)


def _last_bit(folder: Path) -> None:
    def nudge(values: FloatArray) -> None:
        values[0, 0] = np.nextafter(values[0, 0], np.float32(np.inf))

    _edit_weight(folder, "MatMul", nudge)


def _not_a_number(folder: Path) -> None:
    def spoil(values: FloatArray) -> None:
        values[0] = np.nan

    _edit_weight(folder, "MatMul", spoil)


def _wrong_mapping(folder: Path) -> None:
    model = onnx.load(_artifact(folder))
    gather = next(node for node in model.graph.node if node.op_type == "Gather")
    table = next(t for t in model.graph.initializer if t.name == gather.input[0])
    values = numpy_helper.to_array(table)[:, ::-1].copy()
    table.CopyFrom(numpy_helper.from_array(values, table.name))
    _consistent(folder, model.SerializeToString())


def _other_metadata(folder: Path) -> None:
    model = onnx.load(_artifact(folder))
    entry = model.metadata_props[0]
    entry.value = entry.value.replace('"hop_samples": 270', '"hop_samples": 271')
    _consistent(folder, model.SerializeToString())


def _edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    edit(data["artifacts"][0])
    (folder / MANIFEST).write_text(json.dumps(data))


def _manifest_recipe(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["description"]["recipe"].update(window_samples=80000))


def _manifest_ops(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["ops"].update(LSTM=5))


def _manifest_checkpoint(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["description"]["checkpoints"][0].update(sha256="0" * 64))


def _manifest_unpassed_gate(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["gates"][0].update(passed=False))


def _manifest_without_gates(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row.update(gates=[]))


def _manifest_wider_limit(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["gates"][-1]["limits"].update(max_abs=1.0))


def _manifest_probe(folder: Path) -> None:
    def edit(row: dict[str, Any]) -> None:
        values = row["probe"]["outputs"]["log_probs"]["values"]
        values[:] = [-value for value in values]

    _edit_manifest(folder, edit)


def _manifest_figures(folder: Path) -> None:
    def edit(row: dict[str, Any]) -> None:
        for gate in row["gates"]:
            gate["figures"] = dict.fromkeys(gate["figures"], 0.0)

    _edit_manifest(folder, edit)


def _manifest_target(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row.update(target="opset9"))


def _manifest_other_precision(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["description"].update(precision="fp16"))


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (_flip_a_byte, "the file has changed"),
        (_truncate, "the file has changed"),
        (_remove, "unreadable"),
        (_add_a_stray, "not in the manifest"),
        (_list_nothing, "lists no artifact"),
        (_swap_recurrent_rows, "pytorch / log_probs"),
        (_swap_gates, "pytorch / log_probs"),
        (_scale_a_filter, "other weights or another graph"),
        (_last_bit, "other weights or another graph"),
        (_not_a_number, "not finite"),
        (_wrong_mapping, "pytorch / masks"),
        (_other_metadata, "the metadata in the file is not what the export declares"),
        (_manifest_recipe, "the manifest describes"),
        (_manifest_ops, "the manifest says ops"),
        (_manifest_checkpoint, "pass --segmentation"),
        (_manifest_unpassed_gate, "a gate that did not pass"),
        (_manifest_without_gates, "the manifest lists gates"),
        (_manifest_wider_limit, "the manifest lists gates"),
        (_manifest_other_precision, "the metadata in the file"),
        (_manifest_probe, "the answer of its probe is off"),
        (_manifest_target, "nothing that this version exports"),
        (_manifest_figures, "the manifest says frames 0.0"),
    ],
)
def test_every_corruption_is_caught(
    small: Path,
    networks: Networks,
    capsys: pytest.CaptureFixture[str],
    corrupt: Callable[[Path], None],
    message: str,
) -> None:
    corrupt(small)
    assert run_verify(networks, small) == 1
    assert message in capsys.readouterr().err


def test_a_changed_file_is_not_loaded(small: Path) -> None:
    _flip_a_byte(small)
    with pytest.raises(ArtifactError, match="the file has changed since"):
        load("segmentation_masks", models=small)


def test_a_damaged_manifest_is_one_clear_error(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / MANIFEST).write_text("{")
    with pytest.raises(VoxportError, match="not valid JSON"):
        load("segmentation_masks", models=small)
    assert main(["verify", str(small)]) == 1
    assert "not valid JSON" in capsys.readouterr().err


# Packages


def _weights(folder: Path) -> Path:
    return weights_folder(folder / PACKAGE) / "weight.bin"


def _consistent_package(folder: Path) -> None:
    """Make the manifest agree: only the gates and a rebuild can tell."""
    (row,) = Manifest.read(folder / MANIFEST).artifacts
    path = folder / PACKAGE
    row = replace(row, sha256=package_sha256(path), size_bytes=package_size(path))
    (folder / MANIFEST).write_text(Manifest((row,)).to_json())


def _flip_a_bit_of_a_weight(folder: Path) -> None:
    content = bytearray(_weights(folder).read_bytes())
    content[len(content) // 2] ^= 1
    _weights(folder).write_bytes(content)


def _last_bit_of_a_weight(folder: Path) -> None:
    _flip_a_bit_of_a_weight(folder)
    _consistent_package(folder)


def _swap_weights(folder: Path) -> None:
    content = bytearray(_weights(folder).read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = content[middle + 8192 : middle + 16384]
    _weights(folder).write_bytes(content)
    _consistent_package(folder)


def _lose_the_weights(folder: Path) -> None:
    _weights(folder).unlink()
    _consistent_package(folder)


def _truncate_the_weights(folder: Path) -> None:
    content = _weights(folder).read_bytes()
    _weights(folder).write_bytes(content[: len(content) // 2])
    _consistent_package(folder)


def _garble_the_program(folder: Path) -> None:
    model_path(folder / PACKAGE).write_bytes(b"not a protobuf")
    _consistent_package(folder)


def _lose_the_package(folder: Path) -> None:
    shutil.rmtree(folder / PACKAGE)


def _add_a_stray_package(folder: Path) -> None:
    shutil.copytree(folder / PACKAGE, folder / "other.fp32.mlpackage")


def _add_a_file(folder: Path) -> None:
    (folder / PACKAGE / "extra").write_text("?")
    _consistent_package(folder)


def _edit_program(folder: Path, edit: Callable[[Any], None]) -> None:
    model = read_model(folder / PACKAGE)
    edit(model)
    model_path(folder / PACKAGE).write_bytes(model.SerializeToString(deterministic=True))
    _consistent_package(folder)


def _other_licence(folder: Path) -> None:
    def edit(model: Any) -> None:
        model.description.metadata.license = "do what you like"

    _edit_program(folder, edit)


def _other_description(folder: Path) -> None:
    def edit(model: Any) -> None:
        stored = model.description.metadata.userDefined
        stored["voxport"] = stored["voxport"].replace('"hop_samples": 270', '"hop_samples": 271')

    _edit_program(folder, edit)


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (_flip_a_bit_of_a_weight, "the file has changed"),
        (_last_bit_of_a_weight, "other weights or another graph"),
        (_swap_weights, "exact / log_probs"),
        (_lose_the_weights, "weight"),
        (_truncate_the_weights, "weight"),
        (_garble_the_program, "no readable Core ML package"),
        (_lose_the_package, "it is not there"),
        (_add_a_stray_package, "not in the manifest"),
        (_add_a_file, "other weights or another graph"),
        (_other_licence, "other weights or another graph"),
        (_other_description, "the metadata in the package is not what the export declares"),
        (_manifest_ops, "the manifest says ops"),
        (_manifest_probe, "the answer of its probe is off"),
        (_manifest_wider_limit, "the manifest lists gates"),
        (_manifest_target, "nothing that this version exports"),
    ],
)
def test_every_corruption_of_a_package_is_caught(
    package: Path,
    networks: Networks,
    capsys: pytest.CaptureFixture[str],
    corrupt: Callable[[Path], None],
    message: str,
) -> None:
    corrupt(package)
    assert run_verify(networks, package) == 1
    assert message in capsys.readouterr().err
