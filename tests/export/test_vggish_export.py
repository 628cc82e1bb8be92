"""VGGish end to end and without a download: both formats, all precisions, and wrong networks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from seeded_networks import tensors
from seeded_vggish import TINY, vggish_state
from torch import nn
from voxport.export import run
from voxport.export.checkpoints import load_vggish
from voxport.export.coreml.artifacts import CoreMLFormat
from voxport.export.errors import ExportError, GateError
from voxport.export.evaluator import evaluate
from voxport.export.formats import ArtifactFormat
from voxport.export.networks import Networks
from voxport.export.onnx_format import OnnxFormat
from voxport.export.pipeline import ExportResult, Plan, export_artifacts
from voxport.export.specs import ExportSpec
from voxport.export.systems import DEFAULTS
from voxport.export.systems.vggish import frontend_spec, network_spec, vggish_specs
from voxport.export.verification.cases import Speech
from voxport.graphs import Vggish, VggishFrontend, VggishFrontendConfig
from voxport.runtime import load
from voxport.runtime.benchmarking import bench
from voxport.runtime.cli import main
from voxport.runtime.profiling import Profiler

pytest.importorskip("coremltools", reason="needs coremltools: install voxport[coreml]")
FORMATS: list[ArtifactFormat] = [OnnxFormat(), CoreMLFormat()]
WHITENED = replace(TINY, whitened=True)


def _silent(_: str) -> None:
    return


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "vggish.pth"
    torch.save(tensors(vggish_state(WHITENED, 1)), path)
    return path


@pytest.fixture(scope="module")
def networks(tiny_networks: Networks, checkpoint: Path) -> Networks:
    return replace(tiny_networks, vggish=load_vggish(checkpoint))


@dataclass(frozen=True)
class Exported:
    result: ExportResult
    folder: Path


@pytest.fixture(scope="module")
def exported(
    networks: Networks, synthetic_speech: Speech, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    folder = tmp_path_factory.mktemp("staging")
    plan = Plan(FORMATS, ("fp32", "fp16", "int8", "w8"), folder, _silent)
    specs = vggish_specs(networks, DEFAULTS)
    return Exported(export_artifacts(specs, networks, synthetic_speech, plan), folder)


def test_every_variant_passes_its_gates(exported: Exported) -> None:
    assert exported.result.omissions == []
    keys = {row.key for row in exported.result.rows}
    assert keys == {
        *(("vggish_frontend", form, "fp32") for form in ("onnx", "coreml")),
        *(("vggish", form, p) for form in ("onnx", "coreml") for p in ("fp32", "fp16")),
        ("vggish", "onnx", "int8"),
        ("vggish", "coreml", "w8"),
    }


def test_rows_tell_what_the_runtime_needs(exported: Exported, checkpoint: Path) -> None:
    row = next(row for row in exported.result.rows if row.path == "vggish.fp32.onnx")
    recipe = row.description.recipe
    assert (recipe["sample_rate_hz"], recipe["window_samples"], recipe["step_samples"]) == (
        16000,
        15600,
        15360,
    )
    assert (recipe["embedding_size"], recipe["rectified"], recipe["whitened"]) == (10, True, True)
    networks = [entry["network"] for entry in row.description.checkpoints]
    assert networks == ["vggish", "vggish_pca"]
    assert {entry["name"] for entry in row.description.checkpoints} == {checkpoint.name}


def test_packages_take_one_example(exported: Exported) -> None:
    row = next(row for row in exported.result.rows if row.path == "vggish.fp32.mlpackage")
    assert row.description.sizes == {"batch": (1,), "samples": (15600,)}


def test_smaller_precisions_are_smaller(exported: Exported) -> None:
    sizes = {row.path: row.size_bytes for row in exported.result.rows}
    # The frontend stays FP32; this network is so small that it weighs.
    assert sizes["vggish.int8.onnx"] < sizes["vggish.fp16.onnx"] < sizes["vggish.fp32.onnx"]
    assert sizes["vggish.w8.mlpackage"] < sizes["vggish.fp32.mlpackage"]


def test_formats_agree(exported: Exported, synthetic_speech: Speech) -> None:
    waveform = synthetic_speech.windows()[:1, :, :15600].copy()
    session = load(exported.folder / "vggish.fp32.onnx")
    ours = session.run(waveform=waveform)
    theirs = evaluate(exported.folder / "vggish.fp32.mlpackage", {"waveform": waveform}, "stored")
    np.testing.assert_allclose(theirs["embeddings"], ours["embeddings"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(theirs["whitened"], ours["whitened"], rtol=0, atol=1e-3)


def _swap_features(module: Vggish) -> None:
    weight = module.network.get_parameter("features.3.weight").data
    weight[[0, 1]] = weight[[1, 0]]


def _forget_the_order(module: Vggish) -> None:
    """The first fully connected layer as if channels came last."""
    config = module.config
    frames, bins = config.pooled_shape
    weight = module.network.get_parameter("embeddings.0.weight").data
    channels_first = weight.unflatten(1, (config.channels[-1], frames, bins))
    weight.copy_(channels_first.permute(0, 2, 3, 1, 4).flatten(1, 3))


def _drop_the_relu(module: Vggish) -> None:
    module.network.embeddings[-1] = nn.Identity()


def _power(module: Vggish) -> None:
    module.frontend.frames.weight.data *= 1.001


def test_it_is_timed_and_profiled_like_any_other(exported: Exported) -> None:
    path = exported.folder / "vggish.fp32.onnx"
    one, four = bench(path, devices=("cpu",), batch_sizes=(1, 4), rounds=1).measured
    assert (one.num_items, four.num_items) == (1, 4)
    stage = Profiler(device="cpu", rounds=1).profile(path)
    assert stage.name == "vggish"
    assert stage.status.startswith("CPU: ")
    assert "Conv" in {operator.op.removeprefix("Fused") for operator in stage.operators}


@pytest.mark.parametrize("mutate", [_swap_features, _forget_the_order, _drop_the_relu, _power])
def test_a_wrong_network_is_caught(
    networks: Networks, synthetic_speech: Speech, tmp_path: Path, mutate: object
) -> None:
    def wrong(given: Networks) -> Vggish:
        module = Vggish(WHITENED).load_original(given.required_vggish().state)
        mutate(module)  # type: ignore[operator]
        return module

    spec = replace(network_spec(networks, VggishFrontendConfig()), build=wrong)
    with pytest.raises(GateError, match=r"original / embeddings: .* FAILED: relative_max_abs"):
        _export(networks, synthetic_speech, spec, tmp_path)


def test_a_wrong_frontend_is_caught(
    tiny_networks: Networks, synthetic_speech: Speech, tmp_path: Path
) -> None:
    # A symmetric instead of the periodic window, and nothing else.
    def wrong(_: Networks) -> VggishFrontend:
        module = VggishFrontend(VggishFrontendConfig())
        periodic, symmetric = (
            0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / length) for length in (400, 399)
        )
        ratio = np.divide(symmetric, periodic, out=np.ones(400), where=periodic > 0)
        for part in (module.frames, module.rest):
            part.weight.data *= torch.from_numpy(ratio.astype(np.float32))
        return module

    spec = replace(frontend_spec(VggishFrontendConfig()), build=wrong)
    with pytest.raises(GateError, match=r"original / examples: .* FAILED: max_abs"):
        _export(tiny_networks, synthetic_speech, spec, tmp_path)


def _export(networks: Networks, speech: Speech, spec: ExportSpec, folder: Path) -> ExportResult:
    plan = Plan([OnnxFormat()], ("fp32",), folder, _silent)
    return export_artifacts([spec], networks, speech, plan)


def test_examples_may_overlap(networks: Networks, synthetic_speech: Speech, tmp_path: Path) -> None:
    spec = network_spec(networks, VggishFrontendConfig(example_hop_frames=48))
    (row,) = _export(networks, synthetic_speech, spec, tmp_path).rows
    assert row.description.recipe["step_samples"] == 7680
    session = load(tmp_path / row.path)
    outputs = session.run(waveform=np.zeros((1, 1, 16000 * 2), np.float32))
    assert outputs["embeddings"].shape == (1, 3, 10)


def test_other_features_than_the_trained_ones_are_refused(networks: Networks) -> None:
    with pytest.raises(ExportError, match="only example_hop_frames can be chosen"):
        network_spec(networks, VggishFrontendConfig(log_offset=0.001))


def test_without_a_checkpoint_there_is_the_frontend(tiny_networks: Networks) -> None:
    assert [spec.name for spec in vggish_specs(tiny_networks, DEFAULTS)] == ["vggish_frontend"]
    with pytest.raises(ExportError, match="--vggish-checkpoint"):
        tiny_networks.required_vggish()


def test_an_export_says_what_it_cannot_make(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(run, "verification_speech", lambda: synthetic_speech)
    monkeypatch.setattr(run, "export_specs", lambda networks, **_: vggish_specs(networks, DEFAULTS))
    onnx_only = run.ExportOptions(formats=("onnx",), precisions=("fp32",))
    with pytest.raises(ExportError, match="--vggish-checkpoint"):
        run.run_export(tiny_networks, tmp_path, replace(onnx_only, only=("vggish",)))
    run.run_export(tiny_networks, tmp_path, onnx_only)
    assert "vggish: not made, for want of a checkpoint" in capsys.readouterr().err


def test_what_was_published_verifies_with_its_checkpoint_only(
    networks: Networks,
    tiny_networks: Networks,
    synthetic_speech: Speech,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(run, "verification_speech", lambda: synthetic_speech)
    monkeypatch.setattr(
        run,
        "export_specs",
        lambda networks, *, configurations, **_: vggish_specs(networks, configurations),
    )
    options = run.ExportOptions(
        formats=("onnx",), precisions=("fp32",), settings=("vggish.example_hop_frames=48",)
    )
    run.run_export(networks, tmp_path, options)
    assert run.run_verify(networks, tmp_path) == 0
    capsys.readouterr()
    assert run.run_verify(tiny_networks, tmp_path) == 1
    assert "vggish.fp32.onnx: vggish is not an artifact" in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--vggish-pca", "pca.npz"), ("--vggish-activation", "none")])
def test_options_without_a_network_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    assert main(["export", "-o", str(tmp_path), *option]) == 1
    assert f"{option[0]} belongs to a --vggish-checkpoint" in capsys.readouterr().err


def test_every_function_of_a_package_is_judged(
    networks: Networks, synthetic_speech: Speech, tmp_path: Path
) -> None:
    plan = Plan([CoreMLFormat("iOS18")], ("fp32",), tmp_path, _silent)
    spec = network_spec(networks, VggishFrontendConfig())
    (row,) = export_artifacts([spec], networks, synthetic_speech, plan).rows
    assert {"pytorch batch_1", "pytorch batch_32"} <= {gate["gate"] for gate in row.gates}
    assert row.description.sizes["batch"] == (1, 32)
