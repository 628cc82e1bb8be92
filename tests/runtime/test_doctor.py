"""`voxport devices` and `voxport doctor`: findings, remedies, exit statuses, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from environments import CPU_WHEEL, ENVIRONMENTS
from tiny_artifacts import linear, publish, reshaping
from voxport.runtime import checks, doctor
from voxport.runtime.checks import Check, all_checks
from voxport.runtime.cli import main
from voxport.runtime.doctor import Row
from voxport.runtime.environment import Environment
from voxport.runtime.manifest import MANIFEST_NAME, Manifest
from voxport.runtime.package import package_sha256

Put = Callable[[str], None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts the commands onto a machine by name."""

    def put(name: str) -> None:
        monkeypatch.setattr(doctor, "probe_environment", lambda: ENVIRONMENTS[name])

    return put


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return publish(tmp_path / "models", [linear(), linear(precision="int8"), reshaping()])


def findings(environment: Environment, models: Path) -> dict[str, Check]:
    """Checks by name, the last of each name."""
    return {check.name: check for check in all_checks(environment, models)}


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


# voxport devices


def test_devices_as_text(machine: Put, capsys: pytest.CaptureFixture[str]) -> None:
    machine("two cards")
    assert main(["devices"]) == 0
    lines = printed(capsys).splitlines()
    assert lines[0] == "coreml    not there   CoreML needs macOS; this is Linux"
    assert lines[1] == "cuda:0    usable      NVIDIA H200: ready with ONNX Runtime 1.31.1"
    assert lines[2] == "cuda:1    usable      NVIDIA L4: ready with ONNX Runtime 1.31.1"
    assert lines[3] == "cpu       usable      ready with ONNX Runtime 1.31.1"
    assert lines[4].startswith("tensorrt  not usable  NVIDIA H200: TensorrtExecutionProvider needs")
    assert lines[-1] == "auto takes cuda:0"
    assert max(map(len, lines)) <= 100


def test_devices_as_json(machine: Put, capsys: pytest.CaptureFixture[str]) -> None:
    machine("card, cpu wheel")
    assert main(["devices", "--json"]) == 0
    data = json.loads(printed(capsys))
    states = {row["device"]: (row["available"], row["usable"]) for row in data["devices"]}
    assert states == {
        "coreml": (False, False),
        "cuda:0": (True, False),
        "cpu": (True, True),
        "tensorrt": (True, False),
    }
    assert data["devices"][1]["remedy"].endswith("pip install 'voxport[gpu]'")
    assert (data["auto"]["device"], data["auto"]["is_fallback"]) == ("cpu", True)


def test_devices_where_nothing_runs(machine: Put, capsys: pytest.CaptureFixture[str]) -> None:
    machine("linux, no ORT")
    assert main(["devices"]) == 0
    assert "\nno device can be used: " in printed(capsys)
    assert main(["devices", "--json"]) == 0
    data = json.loads(printed(capsys))
    assert data["auto"]["device"] is None
    assert "no device can be used" in data["auto"]["reasons"][0]


def test_devices_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    by_name = {row["device"]: row for row in json.loads(printed(capsys))["devices"]}
    assert by_name["cpu"]["usable"]


# voxport doctor


def test_doctor_on_a_sound_machine(
    machine: Put, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine("card")
    assert main(["doctor", "--models", str(models)]) == 0
    text = printed(capsys)
    assert "problem" not in text
    assert "warning" not in text
    assert f"{models}: 3 as they were verified" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100 + len(str(models))


def test_doctor_as_json(machine: Put, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine("card, both wheels")
    assert main(["doctor", "--json", "--models", str(models)]) == 1
    data = json.loads(printed(capsys))
    by_name = {check["name"]: check for check in data["checks"]}
    assert by_name["onnxruntime"]["status"] == "problem"
    assert by_name["onnxruntime"]["remedy"] == (
        "pip uninstall -y onnxruntime onnxruntime-gpu; pip install 'voxport[gpu]'"
    )
    assert data["environment"]["cuda"]["cards"][0]["name"] == "NVIDIA H200"


def test_doctor_tells_the_remedy_in_text(
    machine: Put, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine("linux, no ORT")
    assert main(["doctor", "--models", str(models)]) == 1
    text = printed(capsys)
    lines = text.splitlines()
    index = lines.index("problem  onnxruntime  not installed")
    assert lines[index + 1].strip() == "-> pip install 'voxport[cpu]'"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linux", {"onnxruntime": "ok", "providers": "ok"}),
        ("linux, no ORT", {"onnxruntime": "problem", "providers": "problem"}),
        ("linux, broken ORT", {"onnxruntime": "problem", "providers": "problem"}),
        ("linux, both wheels", {"onnxruntime": "problem", "providers": "ok"}),
        ("linux, gpu wheel", {"onnxruntime": "ok", "providers": "ok"}),
        ("card", {"onnxruntime": "ok", "cuda": "ok"}),
        ("card, cpu wheel", {"onnxruntime": "ok", "cuda": "warning"}),
        ("card, no cuDNN", {"onnxruntime": "ok", "cuda": "problem"}),
        ("card, old driver", {"cuda": "problem"}),
        ("card, hidden", {"cuda": "problem"}),
        ("apple", {"onnxruntime": "ok", "coreml": "ok"}),
        ("apple, no coremltools", {"coreml": "warning"}),
        ("windows", {"onnxruntime": "ok", "providers": "ok"}),
    ],
)
def test_findings(name: str, expected: dict[str, str], models: Path) -> None:
    found = findings(ENVIRONMENTS[name], models)
    assert {key: found[key].status for key in expected} == expected
    for check in found.values():
        assert check.detail
        if check.status == "problem":
            assert check.remedy
    # Nothing is said of what such a machine cannot have.
    assert ("cuda" in found) == ("card" in name)
    assert ("coreml" in found) == (name.startswith("apple"))


def test_cards_are_checked_one_by_one(models: Path) -> None:
    cards = [c for c in all_checks(ENVIRONMENTS["two cards"], models) if c.name == "cuda"]
    assert ["NVIDIA H200" in cards[0].detail, "NVIDIA L4" in cards[1].detail] == [True, True]


def test_an_onnxruntime_without_its_cpu_provider(models: Path) -> None:
    odd = replace(ENVIRONMENTS["linux"], onnxruntime=replace(CPU_WHEEL, providers=()))
    found = findings(odd, models)["providers"]
    assert (found.status, found.detail) == ("problem", "none: no CPUExecutionProvider")


def test_versions(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(ENVIRONMENTS["linux"], models)
    for name in ("voxport", "numpy", "scipy", "resampling"):
        assert found[name].status == "ok"
        assert any(character.isdigit() for character in found[name].detail)
    monkeypatch.setattr(checks, "installed", lambda _: None)
    found = findings(ENVIRONMENTS["linux"], models)
    assert found["numpy"] == Check(
        "numpy", "problem", "pip knows no such package", "pip install numpy"
    )
    assert found["resampling"].status == "problem"
    assert found["media files"] == Check("media files", "ok", "no PyAV (optional: m4a, mp4, mkv)")


def test_audio_formats(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(ENVIRONMENTS["linux"], models)["audio files"]
    assert found.status == "ok"
    assert f"libsndfile {soundfile.__libsndfile_version__}" in found.detail
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "", "FLAC": "", "OGG": ""})
    found = findings(ENVIRONMENTS["linux"], models)["audio files"]
    assert found.status == "warning"
    assert found.detail.endswith("cannot read MP3")


# Artifacts


def artifact_checks(models: Path | None) -> list[tuple[str, str]]:
    found = checks.check_artifacts(models)
    return [(check.status, check.detail) for check in found]


def test_artifacts_as_verified(models: Path) -> None:
    assert artifact_checks(models) == [("ok", f"{models}: 3 as they were verified")]


def test_every_flawed_artifact_is_named(models: Path) -> None:
    changed, missing, folder = "linear.fp32.onnx", "linear.int8.onnx", "reshaping.fp32.onnx"
    content = bytearray((models / changed).read_bytes())
    content[-1] ^= 1
    (models / changed).write_bytes(content)
    (models / missing).unlink()
    (models / folder).unlink()
    (models / folder).mkdir()
    found = dict(zip((changed, missing, folder), artifact_checks(models), strict=True))
    assert {status for status, _ in found.values()} == {"problem"}
    assert found[changed][1].startswith(f"{models / changed}: SHA-256 is ")
    assert found[missing][1] == f"{models / missing}: is missing"
    assert found[folder][1].startswith(f"{models / folder}: cannot be read: ")


def test_a_folder_of_files_is_hashed_as_a_whole(models: Path) -> None:
    package = models / "linear.mlpackage"
    (package / "Data").mkdir(parents=True)
    (package / "Data" / "weights").write_bytes(b"12345")
    manifest = Manifest.read(models / MANIFEST_NAME)
    first, *others = manifest.artifacts
    kept: Any = {"format": "coreml", "path": package.name, "sha256": package_sha256(package)}
    rows = (*others, replace(first, **kept))
    (models / MANIFEST_NAME).write_text(Manifest(rows).to_json(), encoding="utf-8")
    assert [status for status, _ in artifact_checks(models)] == ["ok"]
    (package / "Data" / "weights").write_bytes(b"12346")
    ((status, detail),) = artifact_checks(models)
    assert status == "problem"
    assert detail.startswith(f"{package}: SHA-256 is ")


def test_no_models_folder_names_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOXPORT_MODELS", str(tmp_path / "named"))
    monkeypatch.setenv("VOXPORT_CACHE", str(tmp_path / "cache"))
    ((status, detail),) = artifact_checks(None)
    assert status == "warning"
    for place in ("named", "models", "cache/models"):
        assert str(tmp_path / place) in detail
    ((status, detail),) = artifact_checks(tmp_path / "given")
    assert (status, detail) == ("warning", f"no manifest.json in any of: {tmp_path / 'given'}")


def test_a_damaged_manifest(models: Path) -> None:
    (models / MANIFEST_NAME).write_text("{", encoding="utf-8")
    ((status, detail),) = artifact_checks(models)
    assert status == "problem"
    assert "not valid JSON" in detail


def test_an_empty_manifest(tmp_path: Path) -> None:
    ((status, detail),) = artifact_checks(publish(tmp_path / "models", []))
    assert (status, detail) == (
        "warning",
        f"{tmp_path / 'models'}: its manifest lists no artifact",
    )


# Text


def test_text_is_wrapped_but_commands_are_not() -> None:
    command = "do " + "this " * 40 + "now"
    rows = [Row("ok", "name", "word " * 40), Row("problem", "n", "y" * 120, command)]
    lines = doctor.table([*rows, Row("ok", "m", "")]).splitlines()
    assert lines[0].startswith("ok       name  word word")
    assert lines[1].startswith("               word word")
    assert max(map(len, lines[:3])) <= 100
    assert any(line.endswith("y" * 120) for line in lines)
    assert lines[-2] == f"               -> {command}"
    assert lines[-1] == "ok       m"


def test_a_fallback_of_auto_is_said(machine: Put, capsys: pytest.CaptureFixture[str]) -> None:
    machine("card, no cuDNN")
    assert main(["devices"]) == 0
    lines = printed(capsys).splitlines()
    assert lines[-1] == "auto takes cpu, as a fallback"
    assert "                      -> pip install 'onnxruntime-gpu[cuda,cudnn]'" in lines
