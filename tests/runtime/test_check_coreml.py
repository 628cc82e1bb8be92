"""``voxport check-coreml``: what it tells, what it returns, what it writes for apps."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_coremltools as fake
import numpy as np
import pytest
from fake_coremltools import Behaviour, ComputeUnit
from tiny_artifacts import WEIGHT
from voxport.runtime import cli
from voxport.runtime.check_coreml import CHECK_COREML
from voxport.runtime.coreml_session import COMPUTE_UNITS, Platform
from voxport.runtime.manifest import MANIFEST_NAME, Manifest

LINUX = Platform("Linux", "x86_64", ())


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Behaviour:
    return fake.install(monkeypatch)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """``linear`` as FP16 package and as ONNX, ``batched`` as FP32 package."""
    rows = [
        fake.coreml_row(tmp_path, fake.linear("fp16")),
        fake.coreml_row(tmp_path, fake.batched(), rows=1),
        fake.onnx_row(tmp_path),
    ]
    return fake.write_manifest(tmp_path, rows)


@pytest.fixture(autouse=True)
def _only_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the installed copy knows."""
    monkeypatch.setattr(cli, "find_commands", lambda: {"check-coreml": CHECK_COREML})


def check(*arguments: str | Path) -> int:
    return cli.main(["check-coreml", *map(str, arguments)])


def checked_json(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[Any]:
    """The results, after a check of the exit status against them."""
    status = check(*arguments, "--json")
    results: list[Any] = json.loads(capsys.readouterr().out)
    assert status == int(any(result["problem"] for result in results))
    return results


def test_every_package_on_every_choice(
    models: Path, mac: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    results = checked_json(capsys, models)
    places = [(each["artifact"], each["precision"], each["compute_units"]) for each in results]
    assert places == [("batched", "fp32", units) for units in COMPUTE_UNITS] + [
        ("linear", "fp16", units) for units in COMPUTE_UNITS
    ]
    counts = {"cpu": 1, "gpu": 1, "neural engine": 2}
    for each in results:
        assert each["problem"] == ""
        assert 0 <= each["error"] < 1e-4
        assert each["load_s"] > 0
        assert each["call_s"] > 0
    assert results[0]["operations"] == {"batch_1": counts, "batch_4": counts}
    assert results[-1]["operations"] == {"main": counts}
    assert (results[0]["allowed"], results[-1]["allowed"]) == (1e-3, 0.02)


def test_the_table(models: Path, mac: Behaviour, capsys: pytest.CaptureFixture[str]) -> None:
    mac.scale = 1.5
    mac.wrong_units = (ComputeUnit.CPU_AND_NE,)
    assert check(models, "--compute-units", "cpu_only", "cpu_and_ne") == 1
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0] == "artifact"
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]
    assert [row[:3] for row in cells] == [
        ["batched", "fp32", "cpu_only"],
        ["batched", "fp32", "cpu_and_ne"],
        ["linear", "fp16", "cpu_only"],
        ["linear", "fp16", "cpu_and_ne"],
    ]
    assert [row[-1] for row in cells] == ["passed", "FAILED: wrong answers"] * 2
    plan = "1 cpu, 1 gpu, 2 neural engine"
    assert [row[5] for row in cells] == [f"{plan} | {plan}"] * 2 + [plan] * 2
    assert cells[1][3:5] == ["5.0e-01", "0.001"]


def test_wrong_answers_of_another_function(
    models: Path, mac: Behaviour, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    # The probe of the manifest has a batch of 1; the function for 4 is asked it four times.
    answer = fake.FakeModel.predict

    def wrong_at_the_end(model: Any, data: dict[str, Any]) -> dict[str, Any]:
        outputs = answer(model, data)
        if model.function_name == "batch_4":
            outputs["y"][-1] += 1
        return outputs

    monkeypatch.setattr(fake.FakeModel, "predict", wrong_at_the_end)
    batched, linear = checked_json(capsys, models, "--compute-units", "cpu_only")
    assert (batched["artifact"], batched["problem"]) == ("batched", "wrong answers")
    assert batched["error"] > 0.1
    assert linear["problem"] == ""


@pytest.mark.parametrize("case", ["raises", "refused", "changed", "nan", "no probe"])
def test_what_fails_is_told(
    case: str, models: Path, mac: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    mac.raises = RuntimeError("lost") if case == "raises" else None
    mac.refuses = "no room" if case == "refused" else ""
    mac.nan = case == "nan"
    if case == "changed":
        np.save(models / "linear.fp16.mlpackage" / "Data" / "matrix.npy", WEIGHT + 1)
    if case == "no probe":
        rows = Manifest.read(models / MANIFEST_NAME).artifacts
        fake.write_manifest(models, [replace(row, probe={}) for row in rows])
    linear = checked_json(capsys, models, "--compute-units", "all")[-1]
    expected = {
        "raises": "Core ML: lost",
        "refused": "no room",
        "changed": "SHA-256",
        "nan": "wrong answers",
        "no probe": "has no probe",
    }[case]
    assert expected in linear["problem"]
    assert linear["error"] is None


def test_a_plan_that_cannot_be_had_is_no_failure(
    models: Path, mac: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    mac.plan_fails = True
    for each in checked_json(capsys, models):
        assert (each["operations"], each["problem"]) == ({}, "")


def test_off_macos(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.install(monkeypatch, LINUX)
    assert check(models) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("voxport check-coreml: Core ML runs on macOS only, and this is")


def test_without_packages_or_coremltools(
    models: Path,
    mac: Behaviour,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "onnx").mkdir()
    fake.write_manifest(tmp_path / "onnx", [fake.onnx_row(tmp_path / "onnx")])
    assert check(tmp_path / "onnx") == 1
    assert "voxport export --formats onnx,coreml" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "coremltools", None)
    assert check(models) == 1
    assert "pip install 'voxport[coreml]'" in capsys.readouterr().err


# The probe, for apps


def test_write_probe_needs_no_mac(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake.install(monkeypatch, LINUX)
    assert check(models, "--write-probe", tmp_path / "probes") == 0
    places = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [place.name for place in places] == ["batched.fp32", "linear.fp16"]
    record = json.loads((places[1] / "probe.json").read_text(encoding="utf-8"))
    assert record["package"] == "linear.fp16.mlpackage"
    assert record["allowed"] == 0.02
    # What an app does: read the inputs, run, compare every step-th value.
    described = record["inputs"]["x"]
    x = np.load(places[1] / described["file"])
    assert (x.dtype, x.flags.c_contiguous, list(x.shape)) == (np.float32, True, described["shape"])
    answer = record["outputs"]["y"]
    y = x @ WEIGHT
    assert list(y.shape) == answer["shape"]
    np.testing.assert_allclose(y.ravel()[:: answer["step"]], answer["values"], rtol=1e-4)


def test_a_large_output_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.write_manifest(tmp_path, [fake.coreml_row(tmp_path, fake.linear(), rows=500)])
    fake.install(monkeypatch, LINUX)
    assert check(tmp_path, "--write-probe", tmp_path / "probes") == 0
    place = Path(capsys.readouterr().out.strip())
    answer = json.loads((place / "probe.json").read_text(encoding="utf-8"))["outputs"]["y"]
    y = np.load(place / "x.npy") @ WEIGHT
    assert answer["step"] > 1
    np.testing.assert_allclose(y.ravel()[:: answer["step"]], answer["values"], rtol=1e-4)


def test_write_probe_without_probes(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = Manifest.read(models / MANIFEST_NAME).artifacts
    fake.write_manifest(models, [replace(row, probe={}) for row in rows])
    assert check(models, "--write-probe", tmp_path / "probes") == 1
    assert "its probe has no shapes of inputs" in capsys.readouterr().err
