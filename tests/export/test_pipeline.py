"""The export of a seeded network, end to end and without a download: it works, and fails closed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from voxport.export import pipeline, run
from voxport.export.errors import ExportError, GateError
from voxport.export.networks import Networks, segmentation_module
from voxport.export.onnx_graph import trace
from voxport.export.pipeline import ExportResult, export_artifacts, selected
from voxport.export.report import report
from voxport.export.specs import (
    ExportSpec,
    database_specs,
    embedding_inputs_spec,
    segmentation_specs,
)
from voxport.export.verification import gates, limits
from voxport.export.verification.cases import Arrays, Speech
from voxport.export.verification.gates import Verifier, run_module
from voxport.graphs import Segmentation
from voxport.runtime import Manifest, load
from voxport.runtime.session import Session

STEP_S = 270 / 16000


def _specs(networks: Networks) -> list[ExportSpec]:
    return [
        *segmentation_specs(networks),
        embedding_inputs_spec(),
        *database_specs(STEP_S, 10.0, 1.0),
    ]


def _silent(_: str) -> None:
    return


def _export(
    networks: Networks, speech: Speech, specs: list[ExportSpec], precisions: tuple[str, ...]
) -> ExportResult:
    return export_artifacts(specs, networks, speech, precisions, _silent)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def exported(tiny_networks: Networks, synthetic_speech: Speech) -> ExportResult:
    return _export(tiny_networks, synthetic_speech, _specs(tiny_networks), ("fp32", "fp16"))


def test_every_declared_variant_is_staged(exported: ExportResult) -> None:
    keys = {(staged.row.name, staged.row.precision) for staged in exported.staged}
    assert keys == {
        ("segmentation", "fp32"),
        ("segmentation", "fp16"),
        ("segmentation_masks", "fp32"),
        ("segmentation_masks", "fp16"),
        ("powerset", "fp32"),
        ("embedding_inputs", "fp32"),
        ("cosine_distance", "fp32"),
        ("post_embedding", "fp32"),
    }


def test_rows_tell_what_is_in_the_file(exported: ExportResult) -> None:
    for staged in exported.staged:
        model = onnx.load_from_string(staged.content)
        assert sum(staged.row.ops.values()) == len(model.graph.node)
        assert staged.row.size_bytes == len(staged.content)
        assert [gate["gate"] for gate in staged.row.gates].count("structure") == 1
        assert all(gate["passed"] for gate in staged.row.gates)
        assert Session(staged.content, "staged").description == staged.row.description


def test_the_recipe_follows_the_checkpoint(exported: ExportResult) -> None:
    recipe = exported.staged[0].row.description.recipe
    assert recipe["classes"] == [[], [0], [1], [0, 1]]
    assert (recipe["hop_samples"], recipe["window_frames"]) == (270, 589)
    assert recipe["receptive_field_samples"] == 991


def test_exports_are_reproducible(
    exported: ExportResult, tiny_networks: Networks, synthetic_speech: Speech
) -> None:
    specs = segmentation_specs(tiny_networks)[:1]
    again = _export(tiny_networks, synthetic_speech, specs, ("fp32", "fp16"))
    hashes = {staged.row.path: staged.row.sha256 for staged in exported.staged}
    for staged in again.staged:
        assert staged.row.sha256 == hashes[staged.row.path]


def test_half_precision_keeps_its_islands(exported: ExportResult) -> None:
    staged = {s.row.path: s for s in exported.staged}["segmentation.fp16.onnx"]
    model = onnx.load_from_string(staged.content)
    inputs = {node.name: set(node.input) for node in model.graph.node if node.op_type != "Cast"}
    halves = {name for name, names in inputs.items() if any(n.endswith(".fp16") for n in names)}
    assert "/lstm/LSTM" in halves
    for island in ("/sincnet/wav_norm1d/", "/sincnet/conv1d.0/", "/LogSoftmax"):
        named = [name for name in inputs if island in name]
        assert named, island
        assert not halves & set(named)


def test_the_report_has_a_line_per_artifact(exported: ExportResult) -> None:
    rows = tuple(staged.row for staged in exported.staged)
    text = report(Manifest(rows), [pipeline.Omission("x", "int8", "too coarse")])
    for row in rows:
        assert f"| `{row.name}` | {row.precision} |" in text
    assert "too coarse" in text


def _swap_recurrent_rows(module: nn.Module) -> None:
    weight = module.get_parameter("lstm.weight_hh_l0").data
    weight[[0, 1]] = weight[[1, 0]]


def _shift_a_bias(module: nn.Module) -> None:
    module.get_parameter("classifier.bias").data[1] += 0.01


def _forget_a_norm(module: nn.Module) -> None:
    module.get_submodule("sincnet").wav_norm1d = nn.Identity()


@pytest.mark.parametrize("mutate", [_swap_recurrent_rows, _shift_a_bias, _forget_a_norm])
def test_a_wrong_network_is_caught_against_the_original(
    tiny_networks: Networks, synthetic_speech: Speech, mutate: object
) -> None:
    def wrong(networks: Networks) -> Segmentation:
        module = segmentation_module(networks)
        mutate(module)  # type: ignore[operator]
        return module

    spec = replace(segmentation_specs(tiny_networks)[0], build=wrong)
    with pytest.raises(GateError, match=r"original / log_probs: .* FAILED: max_abs is"):
        _export(tiny_networks, synthetic_speech, [spec], ("fp32",))


@pytest.mark.parametrize("op", ["LSTM", "Conv", "MatMul"])
def test_a_wrong_graph_is_caught_against_pytorch(
    tiny_networks: Networks, synthetic_speech: Speech, monkeypatch: pytest.MonkeyPatch, op: str
) -> None:
    def wrong(spec: ExportSpec, module: nn.Module) -> onnx.ModelProto:
        model = trace(spec, module)
        node = next(node for node in model.graph.node if node.op_type == op)
        # The recurrent weights of an LSTM, the weights of the others; two rows swap places.
        name = node.input[2] if op == "LSTM" else node.input[1]
        weight = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        values = numpy_helper.to_array(weight).copy()
        rows = values[0] if op == "LSTM" else values
        rows[[0, 1]] = rows[[1, 0]]
        weight.CopyFrom(numpy_helper.from_array(values, name))
        return model

    monkeypatch.setattr(pipeline, "trace", wrong)
    specs = segmentation_specs(tiny_networks)[:1]
    with pytest.raises(GateError, match=r"pytorch / log_probs: .* FAILED"):
        _export(tiny_networks, synthetic_speech, specs, ("fp32",))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_wrong_answer_off_speech_is_caught(
    tiny_networks: Networks, synthetic_speech: Speech, precision: str
) -> None:
    spec = segmentation_specs(tiny_networks)[0]
    module = segmentation_module(tiny_networks).eval()
    verifier = Verifier(spec, tiny_networks, module, spec.cases(tiny_networks, synthetic_speech))

    def run_wrongly(inputs: Arrays) -> Arrays:
        (outputs,) = run_module(module, inputs)
        wrong = 5.0 if inputs["waveform"].shape[-1] == 48001 else 0.0
        return {"log_probs": outputs.numpy() - np.float32(wrong)}

    (gate,) = verifier.artifact(precision, run_wrongly)
    assert any("max_abs" in problem for problem in gate.problems)


def test_int8_that_fails_its_gate_is_left_out_and_said_so(
    tiny_networks: Networks, synthetic_speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {**limits.ARTIFACT["int8"], "log_probs": {"max_abs": 1e-9}}
    monkeypatch.setattr(gates, "ARTIFACT", {**limits.ARTIFACT, "int8": strict})
    specs = segmentation_specs(tiny_networks)[:1]
    result = _export(tiny_networks, synthetic_speech, specs, ("fp32", "int8"))
    assert [staged.row.precision for staged in result.staged] == ["fp32"]
    (omission,) = result.omissions
    assert (omission.name, omission.precision) == ("segmentation", "int8")
    assert "max_abs" in omission.reason


def test_a_failing_gate_publishes_nothing(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(run, "verification_speech", lambda: synthetic_speech)
    monkeypatch.setattr(run, "export_specs", lambda networks, **_: _specs(networks))
    run.run_export(tiny_networks, tmp_path, precisions=("fp32",), only=("powerset",))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def wrong(networks: Networks) -> list[ExportSpec]:
        good, *_ = segmentation_specs(networks)
        module = segmentation_module(networks)
        _swap_recurrent_rows(module)
        return [_specs(networks)[2], replace(good, build=lambda _: module)]

    monkeypatch.setattr(run, "export_specs", lambda networks, **_: wrong(networks))
    with pytest.raises(GateError, match="nothing was published"):
        run.run_export(tiny_networks, tmp_path, precisions=("fp32",))
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after == before


def test_published_artifacts_load_and_run(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(run, "verification_speech", lambda: synthetic_speech)
    monkeypatch.setattr(run, "export_specs", lambda networks, **_: _specs(networks))
    run.run_export(tiny_networks, tmp_path, precisions=("fp32",), only=("segmentation_masks",))
    session = load("segmentation_masks", models=tmp_path)
    waveform = synthetic_speech.samples[None, None, :32000]
    masks = session.run(waveform=waveform)["masks"]
    module = segmentation_module(tiny_networks).eval()
    with torch.inference_mode():
        best = module(torch.from_numpy(waveform)).argmax(-1).numpy()
    mapping = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    np.testing.assert_array_equal(masks, mapping[best])


def test_unknown_names_and_precisions_are_clear_errors(
    tiny_networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ExportError, match=r"no artifact .*'nope'.*segmentation_masks"):
        selected(_specs(tiny_networks), ("nope",))
    monkeypatch.setattr(run, "export_specs", lambda networks, **_: _specs(networks))
    with pytest.raises(ExportError, match="precisions must be of"):
        run.run_export(tiny_networks, tmp_path, precisions=("fp8",))
