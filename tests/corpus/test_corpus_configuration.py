"""Which artifacts a configuration covers: those that the run may use, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_artifacts
from tiny_diarization import diarizer, embedding, publish, segmentation
from voxport.runtime import Manifest
from voxport.runtime import artifact_choice as choice
from voxport.runtime.corpus.records import configuration_sha256
from voxport.runtime.diarization.work import DiarizationWork
from voxport.runtime.environment import Environment
from voxport.runtime.manifest import MANIFEST_NAME

_MASKS, _WINDOWS, _EMBEDDING = "segmentation_masks", "segmentation_windows", "embedding_tiny"
_ALL = [
    (name, form, precision)
    for name in (_MASKS, _WINDOWS, _EMBEDDING, "other")
    for form, precisions in {
        "onnx": ("fp32", "fp16", "int8"),
        "coreml": ("fp32", "fp16", "w8"),
    }.items()
    for precision in precisions
]
_Key = tuple[str, str, str]


def folder_of(folder: Path, keys: Iterable[_Key], changed: _Key | None = None) -> Path:
    """A folder whose manifest lists these artifacts, one of them changed."""
    described = segmentation()[0]
    rows = []
    for name, form, precision in keys:
        own = replace(described, name=name, precision=precision)
        row = tiny_artifacts.row(own, b"new" if (name, form, precision) == changed else b"old")
        rows.append(replace(row, format=form, path=f"{name}.{precision}.{form}"))
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST_NAME).write_text(Manifest(tuple(rows)).to_json())
    return folder


def covered(folder: Path, keys: Iterable[_Key], **how: Any) -> set[str]:
    return set(_configuration(folder_of(folder, keys), **how)["artifacts"])


def _configuration(models: Path, **how: Any) -> dict[str, Any]:
    return DiarizationWork(models=models, embedding=_EMBEDDING, **how).configuration()


def _keys(*pairs: str, segmentation: str = _WINDOWS) -> set[str]:
    return {f"{name}/{pair}" for name in (segmentation, _EMBEDDING) for pair in pairs}


@pytest.fixture(params=["Linux", "Darwin"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    machine = Environment(request.param, "arm64")
    monkeypatch.setattr(choice, "client_environment", lambda: machine)
    return str(request.param)


@pytest.mark.parametrize("device", ["cpu", "cuda", "tensorrt", "cuda:0,1", "cpu*2", "triton://h"])
def test_devices_of_onnx_files(tmp_path: Path, system: str, device: str) -> None:
    for precision, used in {"auto": "fp32", "fp32": "fp32", "int8": "int8"}.items():
        found = covered(tmp_path, _ALL, device=device, precision=precision)
        assert found == _keys(f"onnx/{used}")


@pytest.mark.parametrize("device", ["coreml", "metal"])
def test_devices_of_packages(tmp_path: Path, system: str, device: str) -> None:
    for precision, used in {"auto": "fp16", "fp32": "fp32", "w8": "w8"}.items():
        found = covered(tmp_path, _ALL, device=device, precision=precision)
        assert found == _keys(f"coreml/{used}")
    without = [key for key in _ALL if key[1:] != ("coreml", "fp16")]
    assert covered(tmp_path, without, device=device) == _keys("coreml/fp32")


@pytest.mark.parametrize("how", [{"device": "auto"}, {"device": "cuda", "fallback": True}])
def test_only_apple_silicon_may_take_a_package(
    tmp_path: Path, system: str, how: dict[str, Any]
) -> None:
    may_be = ("onnx/fp32", "coreml/fp16") if system == "Darwin" else ("onnx/fp32",)
    assert covered(tmp_path, _ALL, **how) == _keys(*may_be)


def test_a_package_that_is_named_may_give_way_to_a_file(tmp_path: Path, system: str) -> None:
    may_be = ("onnx/fp32", "coreml/fp16") if system == "Darwin" else ("onnx/fp32",)
    assert covered(tmp_path, _ALL, device="coreml", fallback=True) == _keys(*may_be)


def test_the_segmentation_is_the_first_that_the_device_runs(tmp_path: Path) -> None:
    files = [key for key in _ALL if key[1] == "onnx"]
    alone = [key for key in files if key[0] != _WINDOWS]
    assert covered(tmp_path, alone, device="cpu") == _keys("onnx/fp32", segmentation=_MASKS)
    lacking = [key for key in files if key != (_WINDOWS, "onnx", "int8")]
    found = covered(tmp_path, lacking, device="cpu", precision="int8")
    assert found == _keys("onnx/int8", segmentation=_MASKS)


def test_either_segmentation_of_a_device_that_may_be_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "client_environment", lambda: Environment("Darwin", "arm64"))
    keys = [key for key in _ALL if key[:2] != (_WINDOWS, "coreml")]
    found = covered(tmp_path, keys)
    # Where the package cannot be loaded, its own file is, not that of the other.
    assert found == _keys("onnx/fp32") | _keys("onnx/fp32", "coreml/fp16", segmentation=_MASKS)


def test_what_may_be_used_and_changes_is_another_configuration(tmp_path: Path) -> None:
    how = {"device": "cpu", "precision": "int8"}
    used = _keys("onnx/int8")
    before = configuration_sha256(_configuration(folder_of(tmp_path, _ALL), **how))
    for key in _ALL:
        models = folder_of(tmp_path, _ALL, changed=key)
        after = configuration_sha256(_configuration(models, **how))
        assert (after != before) is ("/".join(key) in used), key


def test_what_a_diarizer_loads_is_what_is_covered(tmp_path: Path) -> None:
    models = publish(tmp_path, segmentation(), embedding())
    with diarizer(models) as opened:
        sessions = (opened._segmentation, opened._embedding)
        loaded = {f"{each.description.name}/onnx/{each.identity}" for each in sessions}
    artifacts = DiarizationWork(models=models, device="cpu").configuration()["artifacts"]
    assert {f"{key.rpartition('/')[0]}/{sha}" for key, sha in artifacts.items()} == loaded
