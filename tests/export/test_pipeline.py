"""The export of a seeded network, end to end and without a download: it works, and fails closed."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from voxport.export import onnx_format, pipeline, run
from voxport.export.coreml import artifacts
from voxport.export.coreml.artifacts import CoreMLFormat
from voxport.export.coreml.convert import Converted, convert
from voxport.export.coreml.shapes import Target
from voxport.export.coreml.third_party import Compared
from voxport.export.errors import ExportError, GateError
from voxport.export.evaluator import load_program
from voxport.export.formats import ArtifactFormat
from voxport.export.networks import Networks, segmentation_module
from voxport.export.onnx_format import OnnxFormat
from voxport.export.onnx_graph import trace
from voxport.export.pipeline import ExportResult, Plan, export_artifacts, selected
from voxport.export.report import report
from voxport.export.specs import (
    ExportSpec,
    Precision,
    database_specs,
    embedding_inputs_spec,
    segmentation_specs,
)
from voxport.export.verification import gates, limits
from voxport.export.verification.cases import Arrays, Speech
from voxport.export.verification.gates import Verifier, run_module
from voxport.graphs import Segmentation
from voxport.runtime import ArtifactRow, InputError, Manifest, load
from voxport.runtime.inputs import checked_inputs
from voxport.runtime.onnx_session import OnnxSession

pytest.importorskip("coremltools", reason="needs coremltools: install voxport[coreml]")
FORMATS: dict[str, ArtifactFormat] = {"onnx": OnnxFormat(), "coreml": CoreMLFormat()}
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
    networks: Networks,
    speech: Speech,
    specs: list[ExportSpec],
    plan: Plan,
) -> ExportResult:
    return export_artifacts(specs, networks, speech, plan)


def _plan(folder: Path, *precisions: Precision, form: str = "onnx") -> Plan:
    return Plan([FORMATS[form]], precisions, folder, _silent)


@dataclass(frozen=True)
class Exported:
    """An export in both formats, FP32 and FP16."""

    result: ExportResult
    folder: Path

    def row(self, path: str) -> ArtifactRow:
        return next(row for row in self.result.rows if row.path == path)


@pytest.fixture(scope="module")
def exported(
    tiny_networks: Networks, synthetic_speech: Speech, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    folder = tmp_path_factory.mktemp("staging")
    plan = Plan(list(FORMATS.values()), ("fp32", "fp16"), folder, _silent)
    return Exported(_export(tiny_networks, synthetic_speech, _specs(tiny_networks), plan), folder)


def test_every_declared_variant_is_made(exported: Exported) -> None:
    keys = {row.key for row in exported.result.rows}
    variants = {
        ("segmentation", "fp32"),
        ("segmentation", "fp16"),
        ("segmentation_masks", "fp32"),
        ("segmentation_masks", "fp16"),
        ("powerset", "fp32"),
        ("embedding_inputs", "fp32"),
        ("cosine_distance", "fp32"),
        ("post_embedding", "fp32"),
    }
    assert keys == {
        *((name, form, p) for name, p in variants for form in ("onnx", "coreml")),
        *(("segmentation_windows", "onnx", p) for p in ("fp32", "fp16")),
    }
    assert {path.name for path in exported.folder.iterdir()} == {
        row.path for row in exported.result.rows
    }


def test_rows_tell_what_is_in_the_file(exported: Exported) -> None:
    for row in exported.result.rows:
        path = exported.folder / row.path
        assert [gate["gate"] for gate in row.gates].count("structure") == 1
        assert all(gate["passed"] for gate in row.gates)
        if row.format == "onnx":
            content = path.read_bytes()
            assert row.target == "opset17"
            assert sum(row.ops.values()) == len(onnx.load_from_string(content).graph.node)
            assert row.size_bytes == len(content)
            assert OnnxSession(content, "made").description == row.description
        else:
            assert row.target == "iOS17"
            assert row.ops == load_program(path).ops
            assert row.size_bytes == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def test_packages_are_judged_without_rounding_and_as_stored(exported: Exported) -> None:
    row = exported.row("segmentation.fp32.mlpackage")
    figures = {gate["gate"]: gate["figures"] for gate in row.gates}
    assert figures["exact"]["max_abs"] < 1e-4
    # Eight windows of synthetic voices and one of silence, noise and the like are not counted.
    assert figures["exact"]["frames"] == figures["pytorch"]["frames"] > 589
    assert row.verified_on.endswith("-evaluator") or row.verified_on.startswith("coreml ")


def test_packages_say_which_sizes_they_take(exported: Exported) -> None:
    segmentation = exported.row("segmentation.fp32.mlpackage").description
    assert segmentation.sizes == {"batch": (1,), "samples": (160000,)}
    distances = exported.row("cosine_distance.fp32.mlpackage").description
    assert distances.minimums == {"speakers": 1, "database": 1, "size": 1}
    assert distances.maximums == {"speakers": 64, "database": 4096, "size": 1024}
    with pytest.raises(InputError, match="waveform has 8 samples, but takes 160000"):
        checked_inputs(segmentation, {"waveform": np.zeros((1, 1, 8), np.float32)})


def test_the_probe_is_answered_by_every_artifact(exported: Exported) -> None:
    for row in exported.result.rows:
        (gate,) = [gate for gate in row.gates if gate["gate"] == "probe"]
        assert gate["figures"]["relative_error"] < 0.02
    by_format = [exported.row(f"segmentation.fp16.{e}").probe for e in ("onnx", "mlpackage")]
    assert by_format[0] == by_format[1]


def test_the_recipe_follows_the_checkpoint(exported: Exported) -> None:
    recipe = exported.result.rows[0].description.recipe
    assert recipe["classes"] == [[], [0], [1], [0, 1]]
    assert (recipe["hop_samples"], recipe["window_frames"]) == (270, 589)
    assert recipe["receptive_field_samples"] == 991


def test_exports_are_reproducible(
    exported: Exported, tiny_networks: Networks, synthetic_speech: Speech, tmp_path: Path
) -> None:
    specs = segmentation_specs(tiny_networks)[:1]
    plan = Plan(list(FORMATS.values()), ("fp32", "fp16"), tmp_path, _silent)
    again = _export(tiny_networks, synthetic_speech, specs, plan)
    assert len(again.rows) == 4
    for row in again.rows:
        assert row.sha256 == exported.row(row.path).sha256


def test_half_precision_keeps_its_islands(exported: Exported) -> None:
    model = onnx.load(exported.folder / "segmentation.fp16.onnx")
    inputs = {node.name: set(node.input) for node in model.graph.node if node.op_type != "Cast"}
    halves = {name for name, names in inputs.items() if any(n.endswith(".fp16") for n in names)}
    assert "/lstm/LSTM" in halves
    for island in ("/sincnet/wav_norm1d/", "/sincnet/conv1d.0/", "/LogSoftmax"):
        named = [name for name in inputs if island in name]
        assert named, island
        assert not halves & set(named)


def test_the_report_shows_formats_side_by_side(exported: Exported) -> None:
    rows = tuple(exported.result.rows)
    omissions = [pipeline.Omission("x", "onnx", "int8", "too coarse")]
    compared = Compared("theirs.mlpackage", exported.row("segmentation.fp16.mlpackage"), 52, 7, 10)
    text = report(Manifest(rows), omissions, [compared])
    for row in rows:
        assert f"| `{row.name}` | {row.format} | {row.precision} |" in text
    assert "| artifact | onnx fp32 | onnx fp16 | coreml fp32 | coreml fp16 |" in text
    assert "`x` onnx int8: too coarse" in text
    assert "| theirs.mlpackage / `segmentation` | 52 | 7 | 0.00 |" in text
    assert "Not compared: offline" in report(Manifest(rows), [], "offline")


def _swap_recurrent_rows(module: nn.Module) -> None:
    weight = module.get_parameter("lstm.weight_hh_l0").data
    weight[[0, 1]] = weight[[1, 0]]


def _shift_a_bias(module: nn.Module) -> None:
    module.get_parameter("classifier.bias").data[1] += 0.01


def _forget_a_norm(module: nn.Module) -> None:
    module.get_submodule("sincnet").wav_norm1d = nn.Identity()


@pytest.mark.parametrize("mutate", [_swap_recurrent_rows, _shift_a_bias, _forget_a_norm])
def test_a_wrong_network_is_caught_against_the_original(
    tiny_networks: Networks, synthetic_speech: Speech, tmp_path: Path, mutate: object
) -> None:
    def wrong(networks: Networks) -> Segmentation:
        module = segmentation_module(networks)
        mutate(module)  # type: ignore[operator]
        return module

    spec = replace(segmentation_specs(tiny_networks)[0], build=wrong)
    with pytest.raises(GateError, match=r"original / log_probs: .* FAILED: max_abs is"):
        _export(tiny_networks, synthetic_speech, [spec], _plan(tmp_path, "fp32"))


@pytest.mark.parametrize("op", ["LSTM", "Conv", "MatMul"])
def test_a_wrong_graph_is_caught_against_pytorch(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    op: str,
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

    monkeypatch.setattr(onnx_format, "trace", wrong)
    specs = segmentation_specs(tiny_networks)[:1]
    with pytest.raises(GateError, match=r"pytorch / log_probs: .* FAILED"):
        _export(tiny_networks, synthetic_speech, specs, _plan(tmp_path, "fp32"))


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


@pytest.mark.parametrize(("form", "precision"), [("onnx", "int8"), ("coreml", "w8")])
def test_eight_bits_that_fail_a_gate_are_left_out_and_said_so(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    form: str,
    precision: Precision,
) -> None:
    strict = {**limits.ARTIFACT[precision], "log_probs": {"max_abs": 1e-9}}
    monkeypatch.setattr(gates, "ARTIFACT", {**limits.ARTIFACT, precision: strict})
    specs = segmentation_specs(tiny_networks)[:1]
    plan = _plan(tmp_path, "fp32", precision, form=form)
    result = _export(tiny_networks, synthetic_speech, specs, plan)
    assert [row.precision for row in result.rows] == ["fp32"]
    (omission,) = result.omissions
    assert omission.key == ("segmentation", form, precision)
    assert "max_abs" in omission.reason


def test_a_wrong_package_is_caught(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def wrong(spec: ExportSpec, module: nn.Module, target: Target) -> Converted:
        other = copy.deepcopy(module)
        _swap_recurrent_rows(other)
        return convert(spec, other, target)

    monkeypatch.setattr(artifacts, "convert", wrong)
    specs = segmentation_specs(tiny_networks)[:1]
    with pytest.raises(GateError, match=r"exact / log_probs: .* FAILED: max_abs is"):
        _export(tiny_networks, synthetic_speech, specs, _plan(tmp_path, "fp32", form="coreml"))


def test_every_function_of_a_package_is_judged(
    tiny_networks: Networks, synthetic_speech: Speech, tmp_path: Path
) -> None:
    specs = segmentation_specs(tiny_networks)[2:]
    plan = Plan([CoreMLFormat("iOS18")], ("fp32",), tmp_path, _silent)
    (row,) = _export(tiny_networks, synthetic_speech, specs, plan).rows
    assert {"pytorch batch_1", "pytorch batch_32"} <= {gate["gate"] for gate in row.gates}
    assert row.target == "iOS18"
    assert row.description.sizes["batch"] == (1, 32)


def _options(precisions: tuple[str, ...], only: tuple[str, ...]) -> run.ExportOptions:
    return run.ExportOptions(formats=("onnx",), precisions=precisions, only=only)


def test_a_failing_gate_publishes_nothing(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(run, "verification_speech", lambda: synthetic_speech)
    monkeypatch.setattr(run, "export_specs", lambda networks, **_: _specs(networks))
    run.run_export(tiny_networks, tmp_path, _options(("fp32",), ("powerset",)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    def wrong(networks: Networks) -> list[ExportSpec]:
        good, *_ = segmentation_specs(networks)
        module = segmentation_module(networks)
        _swap_recurrent_rows(module)
        return [_specs(networks)[2], replace(good, build=lambda _: module)]

    monkeypatch.setattr(run, "export_specs", lambda networks, **_: wrong(networks))
    with pytest.raises(GateError, match="nothing was published"):
        run.run_export(tiny_networks, tmp_path, _options(("fp32",), ()))
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
    run.run_export(tiny_networks, tmp_path, _options(("fp32",), ("segmentation_masks",)))
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
        run.run_export(tiny_networks, tmp_path, _options(("fp8",), ()))
    with pytest.raises(ExportError, match="formats must be of"):
        run.run_export(tiny_networks, tmp_path, run.ExportOptions(formats=("tflite",)))
    with pytest.raises(ExportError, match="none of powerset comes in int8 as onnx"):
        run.run_export(tiny_networks, tmp_path, _options(("int8",), ("powerset",)))
