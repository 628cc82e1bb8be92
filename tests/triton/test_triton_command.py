"""``voxport export --triton``: what is exported before, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from voxport.export import commands, run
from voxport.export.triton.messages import import_messages, parsed
from voxport.runtime.cli import main
from voxport.runtime.manifest import MANIFEST_NAME, Manifest


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch, all_models: Path) -> list[Any]:
    """The options of exports, each of which copies what is traced into the folder."""
    seen: list[Any] = []

    def run_export(_: object, folder: Path, options: Any) -> None:
        seen.append(options)
        shutil.copytree(all_models, folder, dirs_exist_ok=True)

    monkeypatch.setattr(run, "run_export", run_export)
    monkeypatch.setattr(commands, "_networks", lambda *_: None)
    return seen


def _without(models: Path, name: str) -> None:
    """Leave an artifact out of a manifest."""
    path = models / MANIFEST_NAME
    rows = Manifest.read(path).artifacts
    kept = Manifest(tuple(row for row in rows if row.name != name))
    path.write_text(kept.to_json(), "utf-8")


def export(models: Path, target: Path, *arguments: str) -> int:
    return main(["export", "-o", str(models), "--triton", str(target), *arguments])


def test_what_is_there_is_not_exported_again(
    models: Path, tmp_path: Path, exports: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(models, tmp_path / "r", "--only", "powerset", "--only", "segmentation") == 0
    assert exports == []
    names = {path.name for path in (tmp_path / "r").iterdir()}
    assert names == {"powerset", "segmentation", MANIFEST_NAME}
    assert "2 models checked and published" in capsys.readouterr().err


def test_what_is_missing_is_exported(models: Path, tmp_path: Path, exports: list[Any]) -> None:
    _without(models, "powerset")
    assert export(models, tmp_path / "r", "--only", "powerset", "--only", "embedding_masks") == 0
    (options,) = exports
    assert (options.only, options.formats) == (("powerset",), ("onnx",))
    assert (tmp_path / "r" / "powerset" / "1" / "model.onnx").is_file()


def test_without_a_manifest_the_export_runs_as_usual(tmp_path: Path, exports: list[Any]) -> None:
    target = tmp_path / "r"
    assert export(tmp_path / "models", target, "--only", "powerset", "--precisions", "fp32") == 0
    (options,) = exports
    assert (options.only, options.precisions) == (("powerset",), ("fp32",))
    assert options.formats == commands._default_formats()
    assert (target / "powerset").is_dir()


def test_on_smaller_cards(models: Path, tmp_path: Path, exports: list[Any]) -> None:
    small = ("--only", "embedding_masks", "--triton-max-batch", "16")
    assert export(models, tmp_path / "r", *small) == 0
    text = (tmp_path / "r" / "embedding_masks" / "config.pbtxt").read_text("utf-8")
    config = parsed(text, "config.pbtxt")
    assert config.max_batch_size == 16
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 16]
    assert [each.batch_size for each in config.model_warmup] == [1, 8, 16]
    assert exports == []


def test_on_the_cpu(models: Path, tmp_path: Path, exports: list[Any]) -> None:
    cpu = ("--triton-device", "cpu", "--triton-instances", "3")
    assert export(models, tmp_path / "r", "--only", "powerset", *cpu) == 0
    text = (tmp_path / "r" / "powerset" / "config.pbtxt").read_text("utf-8")
    (group,) = parsed(text, "config.pbtxt").instance_group
    assert (group.kind, group.count) == (import_messages().ModelInstanceGroup.KIND_CPU, 3)
    assert exports == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--set", "mel_matrix.n_fft=512"), "so --set would change nothing"),
        (("--segmentation", "x.bin", "--min-duration", "2"), "so --segmentation, --min-duration"),
        (("--formats", "coreml"), "Triton runs ONNX files, and --formats is coreml"),
    ],
)
def test_options_without_effect_are_refused(
    models: Path,
    tmp_path: Path,
    exports: list[Any],
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    told: str,
) -> None:
    assert export(models, tmp_path / "r", *arguments) == 1
    assert told in capsys.readouterr().err
    assert exports == []
    assert not (tmp_path / "r").exists()


def test_a_folder_of_something_else_is_refused_before_anything_is_exported(
    tmp_path: Path, exports: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.tex").touch()
    assert export(tmp_path / "models", tmp_path / "r") == 1
    assert "it has thesis.tex" in capsys.readouterr().err
    assert exports == []


def test_no_instances_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        export(tmp_path, tmp_path / "r", "--triton-instances", "0")
