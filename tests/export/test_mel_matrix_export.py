"""``mel_matrix`` exported, configured, verified and loaded; and what is wrong with it is caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from signals import speechlike
from torch import nn
from voxport.export import reference, run
from voxport.export.configuration import CONFIGURATION, Configurations
from voxport.export.errors import GateError
from voxport.export.networks import Networks
from voxport.export.specs import ExportSpec
from voxport.export.systems.mel_matrix import mel_matrix_spec
from voxport.export.verification import measures
from voxport.export.verification.cases import Speech
from voxport.graphs import MelMatrix, MelMatrixConfig
from voxport.runtime import Manifest, load
from voxport.runtime.mel import MelMatrix as Runtime

pytest.importorskip("coremltools", reason="needs coremltools: install voxport[coreml]")
SHORT = ("mel_matrix.sample_length=1.1", "mel_matrix.n_mels=24")


@pytest.fixture(autouse=True)
def _only_mel_matrix(monkeypatch: pytest.MonkeyPatch, synthetic_speech: Speech) -> None:
    def specs(_: Networks, *, configurations: Configurations, **__: float) -> list[ExportSpec]:
        return [mel_matrix_spec(configurations["mel_matrix"])]

    monkeypatch.setattr(run, "export_specs", specs)
    monkeypatch.setattr(run, "verification_speech", lambda: synthetic_speech)


def export(networks: Networks, folder: Path, *settings: str) -> Manifest:
    run.run_export(networks, folder, run.ExportOptions(settings=(*SHORT, *settings)))
    return Manifest.read(folder / "manifest.json")


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("mel_matrix.scale=db", "mel_matrix.ref=max", "mel_matrix.top_db=none"),
        ("mel_matrix.pad_mode=reflect", "mel_matrix.scale=db", "mel_matrix.mel_scale=htk"),
        ("mel_matrix.sample_rate=5000", "mel_matrix.center=false", "mel_matrix.norm=none"),
    ],
)
def test_a_configuration_is_kept_by_artifacts_verification_and_runtime(
    tiny_networks: Networks, tmp_path: Path, settings: tuple[str, ...]
) -> None:
    manifest = export(tiny_networks, tmp_path, *settings)
    assert {row.key for row in manifest.artifacts} == {
        ("mel_matrix", form, "fp32") for form in ("onnx", "coreml")
    }
    assert run.run_verify(tiny_networks, tmp_path) == 0
    config = MelMatrixConfig(**manifest.artifacts[0].description.recipe[CONFIGURATION])
    assert (config.n_mels, config.sample_length) == (24, 1.1)
    samples = speechlike(config.num_samples, seed=9)
    expected = reference.mel_matrix(samples, config)
    with Runtime(models=tmp_path, device="cpu") as mel:
        result = mel(samples, source_rate_hz=config.sample_rate)
    assert result.matrix.shape == (1, *config.shape)
    assert result.configuration["n_mels"] == 24
    if config.scale == "power":
        assert np.abs(result.matrix[0] - expected).max() < 1e-4
    else:
        assert measures.loud_max_abs(expected, result.matrix[0]) < 1e-3


def test_batches_of_any_size(tiny_networks: Networks, tmp_path: Path) -> None:
    export(tiny_networks, tmp_path)
    session = load("mel_matrix", models=tmp_path, device="cpu", self_check=True)
    size = session.description.recipe["window_samples"]
    rows = np.stack([speechlike(size, seed=seed) for seed in range(5)])
    whole = session.run(waveform=rows)["matrix"]
    for row, matrix in zip(rows, whole, strict=True):
        single = session.run(waveform=row[None])["matrix"][0]
        assert np.abs(single - matrix).max() < 1e-5


def test_another_configuration_replaces_the_first(tiny_networks: Networks, tmp_path: Path) -> None:
    export(tiny_networks, tmp_path)
    options = run.ExportOptions(formats=("onnx",), settings=("mel_matrix.sample_length=1",))
    run.run_export(tiny_networks, tmp_path, options)
    (row,) = Manifest.read(tmp_path / "manifest.json").artifacts
    assert row.format == "onnx"
    assert run.run_verify(tiny_networks, tmp_path) == 0


def test_a_manifest_that_tells_another_configuration_is_found_out(
    tiny_networks: Networks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(tiny_networks, tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    for row in manifest["artifacts"]:
        row["description"]["recipe"][CONFIGURATION]["norm"] = "none"
    path.write_text(json.dumps(manifest))
    assert run.run_verify(tiny_networks, tmp_path) == 1
    assert "FAILED mel_matrix.fp32.onnx" in capsys.readouterr().err


def _swap_bands(module: MelMatrix) -> None:
    module.mel[[3, 4]] = module.mel[[4, 3]]


def _shift_window(module: MelMatrix) -> None:
    weight = module.frames.weight.data
    weight[:] = weight.roll(1, -1)


def _pad_otherwise(module: MelMatrix) -> None:
    module.config = replace(module.config, pad_mode="reflect")


@pytest.mark.parametrize("mutate", [_swap_bands, _shift_window, _pad_otherwise])
@pytest.mark.parametrize("scale", ["power", "db"])
def test_a_wrong_graph_is_caught(
    tiny_networks: Networks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mutate: Callable[[MelMatrix], None],
    scale: Any,
) -> None:
    spec = mel_matrix_spec(MelMatrixConfig(sample_length=0.5, scale=scale))

    def wrong(networks: Networks) -> nn.Module:
        module = spec.build(networks)
        mutate(module)  # type: ignore[arg-type]
        return module

    monkeypatch.setattr(run, "export_specs", lambda *_, **__: [replace(spec, build=wrong)])
    with pytest.raises(GateError, match=r"original / matrix: .* FAILED: \w*max_abs is"):
        run.run_export(tiny_networks, tmp_path)
    assert not (tmp_path / "manifest.json").exists()
