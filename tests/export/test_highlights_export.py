"""The graphs of highlights: exported in both formats, and what their gates would not let pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from voxport.export.configuration import recorded_configurations
from voxport.export.coreml.artifacts import CoreMLFormat
from voxport.export.errors import GateError
from voxport.export.networks import Networks
from voxport.export.onnx_format import OnnxFormat
from voxport.export.pipeline import Plan, export_artifacts
from voxport.export.specs import ExportSpec
from voxport.export.systems.highlights import highlights_specs
from voxport.export.verification.cases import Speech
from voxport.graphs import highlights
from voxport.graphs.highlights import HighlightsConfig
from voxport.runtime import ArtifactRow
from voxport.runtime.synthetic import example_inputs

pytest.importorskip("coremltools", reason="needs coremltools: install voxport[coreml]")
NAMES = ("highlights", "highlights_rms", "highlights_score")


def spec(name: str, config: HighlightsConfig | None = None) -> ExportSpec:
    specs = highlights_specs(config or HighlightsConfig())
    return next(each for each in specs if each.name == name)


def exported(
    wanted: ExportSpec, networks: Networks, speech: Speech, folder: Path, *, coreml: bool = False
) -> list[ArtifactRow]:
    formats = [OnnxFormat(), CoreMLFormat()] if coreml else [OnnxFormat()]
    plan = Plan(formats, ("fp32",), folder, lambda _: None)
    return export_artifacts([wanted], networks, speech, plan).rows


@pytest.mark.parametrize("name", NAMES[:2])
def test_both_formats_pass_their_gates(
    tiny_networks: Networks, synthetic_speech: Speech, tmp_path: Path, name: str
) -> None:
    rows = exported(spec(name), tiny_networks, synthetic_speech, tmp_path, coreml=True)
    assert [row.format for row in rows] == ["onnx", "coreml"]
    # Lengths are free in a package, too.
    assert rows[1].description.minimums["samples"] == 6400
    assert rows[1].description.maximums["samples"] == 2**24
    assert not set(rows[1].ops) & {"shape", "slice_by_index", "gather"}


def test_three_hours_are_judged(
    tiny_networks: Networks, synthetic_speech: Speech, tmp_path: Path
) -> None:
    wanted = spec("highlights_score")
    cases = wanted.cases(tiny_networks, synthetic_speech)
    assert max(case.inputs["rms"].shape[1] for case in cases) == 3 * 3600 * 100
    (row,) = exported(wanted, tiny_networks, synthetic_speech, tmp_path)
    figures = {gate["output"]: gate["figures"] for gate in row.gates if gate["gate"] == "original"}
    assert figures["z"]["max_abs"] < figures["score"]["max_abs"] < 1e-5


def test_other_configurations_pass_too(
    tiny_networks: Networks, synthetic_speech: Speech, tmp_path: Path
) -> None:
    config = HighlightsConfig(frame_s=0.025, hop_s=0.01, chat_window_s=2.0, peak_threshold=3.0)
    (row,) = exported(spec("highlights_rms", config), tiny_networks, synthetic_speech, tmp_path)
    assert row.description.recipe["configuration"]["frame_s"] == 0.025
    assert row.description.recipe["hop_samples"] == 160


@pytest.mark.parametrize("name", NAMES)
def test_usual_inputs_fit_together(tiny_networks: Networks, name: str) -> None:
    """Warming up and profiling feed an artifact by its description alone."""
    description = OnnxFormat().describe(spec(name), "fp32", tiny_networks)
    shapes = {key: array.shape for key, array in example_inputs(description, 2).items()}
    if "frames" in {axis for each in description.inputs for axis in each.axes}:
        assert shapes["chat"] == (2, 97)
    if name != "highlights_score":
        assert shapes["waveform"] == (2, 1, 160000)


def _running_sum(values: Tensor) -> Tensor:
    """What a plain loop in float32 gives; PyTorch's own has more digits, ONNX Runtime's has not."""
    return torch.cumsum(values, dim=-1)[..., -1:] / highlights._BLOCK**highlights._LEVELS


def _one_pass(values: Tensor) -> Tensor:
    mean = values.mean(dim=-1, keepdim=True)
    variance = (values * values).mean(dim=-1, keepdim=True) - mean * mean
    return (values - mean) / torch.sqrt(variance.clamp(min=1e-12))


@pytest.mark.parametrize(("name", "wrong"), [("block_sum", _running_sum), ("z_scores", _one_pass)])
def test_sums_that_lose_digits_are_caught(
    tiny_networks: Networks,
    synthetic_speech: Speech,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wrong: Callable[[Tensor], Tensor],
) -> None:
    monkeypatch.setattr(highlights, name, wrong)
    with pytest.raises(GateError, match=r"(original|pytorch) / z: .* FAILED: max_abs is"):
        exported(spec("highlights_score"), tiny_networks, synthetic_speech, tmp_path)


def test_a_stage_alone_tells_its_configuration(
    tiny_networks: Networks, synthetic_speech: Speech, tmp_path: Path
) -> None:
    """So that it can be verified without the graph of the whole."""
    config = HighlightsConfig(frame_s=0.5)
    rows = exported(spec("highlights_rms", config), tiny_networks, synthetic_speech, tmp_path)
    assert recorded_configurations(rows)["highlights"] == config
