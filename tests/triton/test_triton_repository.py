"""The repository as a whole: every artifact, its layout, and that nothing half-checked is there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from voxport.export.errors import ExportError
from voxport.export.specs import ExportSpec
from voxport.export.triton import repository
from voxport.export.triton.config import Serving
from voxport.export.triton.messages import parsed
from voxport.export.triton.repository import Choice, check_possible, missing, write_repository
from voxport.runtime import ArtifactError, ArtifactNotFoundError, Manifest
from voxport.runtime.manifest import MANIFEST_NAME
from voxport.runtime.serving.names import model_name

ENSEMBLE = ("segmentation_masks", "embedding_masks", "embedding_campplus")
SMALL = Choice(("powerset", "embedding_masks"))


def quiet(_: str) -> None:
    return


def write(models: Path, target: Path, choice: Choice = SMALL) -> tuple[str, ...]:
    return write_repository(models, target, choice, Serving(), quiet)


def tree(folder: Path) -> dict[str, str]:
    """Every file with its hash."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def beside(target: Path) -> set[str]:
    """What lies in the target's parent, apart from the models and the lock."""
    return {path.name for path in target.parent.iterdir()} - {"models", f".{target.name}.lock"}


def test_every_artifact_becomes_a_model(
    all_models: Path, specs: list[ExportSpec], tmp_path: Path
) -> None:
    told: list[str] = []
    target = tmp_path / "deep" / "repository"
    names = write_repository(all_models, target, Choice(), Serving(), told.append)
    rows = Manifest.read(all_models / MANIFEST_NAME).artifacts
    ensembles = {f"diarization_window_ensemble{suffix}" for suffix in ("", "_fp16", "_int8")}
    models = {model_name(row.name, row.precision) for row in rows}
    assert {spec.name for spec in specs} <= models
    assert set(names) == models | ensembles
    assert {path.name for path in target.iterdir()} == {*names, MANIFEST_NAME}
    assert told[-1] == f"{len(names)} models checked and published in {target}"
    for row in rows:
        folder = target / model_name(row.name, row.precision)
        assert set(tree(folder)) == {"config.pbtxt", "1/model.onnx"}
        assert tree(folder)["1/model.onnx"] == row.sha256
        assert parsed((folder / "config.pbtxt").read_text("utf-8"), "it").name == folder.name
    for name in ensembles:
        assert set(tree(target / name)) == {"config.pbtxt", "1/README"}
    # What clients read: the descriptions of what is served.
    assert Manifest.read(target / MANIFEST_NAME).artifacts == rows


def test_names_and_precisions_choose(all_models: Path, tmp_path: Path) -> None:
    choice = Choice((*ENSEMBLE, "diarization_window"), ("fp16",))
    # embedding_masks is FP32 alone.
    assert missing(Manifest.read(all_models / MANIFEST_NAME), choice) == ("embedding_masks",)
    with pytest.raises(ExportError, match="no ONNX file of embedding_masks in fp16"):
        write(all_models, tmp_path / "r", choice)
    assert write(all_models, tmp_path / "r", Choice(ENSEMBLE[:1], ("fp16",))) == (
        "segmentation_masks_fp16",
    )
    with pytest.raises(ExportError, match="no ONNX file of any artifact in w8"):
        write(all_models, tmp_path / "r", Choice((), ("w8",)))


def test_the_ensemble_needs_no_fused_model_to_be_served(all_models: Path, tmp_path: Path) -> None:
    names = write(all_models, tmp_path / "r", Choice(ENSEMBLE, ("fp32",)))
    assert set(names) == {*ENSEMBLE, "diarization_window_ensemble"}


def test_why_there_is_no_ensemble_is_said(all_models: Path, tmp_path: Path) -> None:
    told: list[str] = []
    write_repository(all_models, tmp_path / "r", SMALL, Serving(), told.append)
    assert told[-2].startswith("no diarization_window_ensemble: it takes diarization_window, seg")


def test_a_repository_is_replaced_whole(all_models: Path, tmp_path: Path) -> None:
    target = tmp_path / "r"
    write(all_models, target)
    before = tree(target)
    write(all_models, target)
    assert tree(target) == before  # the same bytes every time
    write(all_models, target, Choice(("cosine_distance",)))
    assert {path.name for path in target.iterdir()} == {"cosine_distance", MANIFEST_NAME}
    assert beside(target) == {"r"}


def test_an_empty_folder_is_replaced(all_models: Path, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    assert write(all_models, tmp_path / "r") == ("embedding_masks", "powerset")


def _changed_bytes(models: Path) -> None:
    path = models / "powerset.fp32.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _absent(models: Path) -> None:
    (models / "powerset.fp32.onnx").unlink()


def _a_folder(models: Path) -> None:
    (models / "powerset.fp32.onnx").unlink()
    (models / "powerset.fp32.onnx").mkdir()


def _another_hash(models: Path) -> None:
    path = models / MANIFEST_NAME
    row = Manifest.read(path).find("powerset", "fp32")
    path.write_text(path.read_text("utf-8").replace(row.sha256, "0" * 64), "utf-8")


@pytest.mark.parametrize(
    ("damage", "error", "told"),
    [
        (_changed_bytes, ArtifactError, "powerset.fp32.onnx: SHA-256 is .* but .* was verified"),
        (_absent, ArtifactNotFoundError, "powerset.fp32.onnx: no such file"),
        (_a_folder, ArtifactError, "powerset.fp32.onnx: unreadable"),
        (_another_hash, ArtifactError, "but 0{64} was verified"),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_damaged_artifact_publishes_nothing(
    models: Path, tmp_path: Path, damage: object, error: type[Exception], told: str, exists: bool
) -> None:
    target = tmp_path / "r"
    if exists:
        write(models, target)
    before = tree(target)
    damage(models)  # type: ignore[operator]
    with pytest.raises(error, match=told):
        write(models, target)
    assert tree(target) == before
    assert beside(target) == ({"r"} if exists else set())


@pytest.mark.parametrize("exists", [False, True])
def test_a_wrong_configuration_publishes_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    target = tmp_path / "r"
    if exists:
        write(models, target)
    before = tree(target)
    made = repository.model_config

    def wrong(row: object, serving: object) -> object:
        config = made(row, serving)  # type: ignore[arg-type]
        if config.name == "powerset":
            config.input[0].dims[1] = 8
        return config

    monkeypatch.setattr(repository, "model_config", wrong)
    with pytest.raises(ExportError, match=r"powerset/config.pbtxt: declares .*log_probs"):
        write(models, target)
    assert tree(target) == before
    assert beside(target) == ({"r"} if exists else set())


def test_a_broken_ensemble_publishes_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = repository.ensemble_config

    def wrong(ensemble: object, serving: object) -> object:
        config = made(ensemble, serving)  # type: ignore[arg-type]
        del config.ensemble_scheduling.step[1]
        return config

    monkeypatch.setattr(repository, "ensemble_config", wrong)
    with pytest.raises(ExportError, match="nothing makes the tensor 'embedding_masks'"):
        write(models, tmp_path / "r", Choice(ENSEMBLE, ("fp32",)))
    assert beside(tmp_path / "r") == set()


# What may be replaced


def test_a_folder_of_something_else_is_refused(all_models: Path, tmp_path: Path) -> None:
    target = tmp_path / "r"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    told = "is no Triton repository of voxport's, it has thesis.tex: name a new folder"
    for attempt in (lambda: check_possible(target, ("onnx",)), lambda: write(all_models, target)):
        with pytest.raises(ExportError, match=told):
            attempt()
    assert tree(target).keys() == {"thesis.tex"}


def test_the_models_folder_itself_is_refused(models: Path) -> None:
    before = tree(models)
    with pytest.raises(ExportError, match="is no Triton repository of voxport's, it has"):
        write(models, models)
    assert tree(models) == before


def test_a_file_is_refused(all_models: Path, tmp_path: Path) -> None:
    (tmp_path / "r").write_text("a file")
    with pytest.raises(ExportError, match="it has no folder"):
        write(all_models, tmp_path / "r")
    assert (tmp_path / "r").read_text() == "a file"


def test_a_repository_with_a_model_of_somebody_else_is_refused(
    all_models: Path, tmp_path: Path
) -> None:
    target = tmp_path / "r"
    write(all_models, target)
    (target / "their_model").mkdir()
    with pytest.raises(ExportError, match="it has their_model"):
        write(all_models, target)
    assert (target / "their_model").is_dir()


def test_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match="no manifest"):
        write(tmp_path, tmp_path / "r")
    assert beside(tmp_path / "r") == set()


def test_other_formats_than_onnx_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Triton runs ONNX files, and --formats is coreml"):
        check_possible(tmp_path / "r", ("coreml",))


# Cut off


def test_a_run_that_died_between_the_renames_is_put_right(all_models: Path, tmp_path: Path) -> None:
    target = tmp_path / "r"
    write(all_models, target)
    before = tree(target)
    target.rename(tmp_path / ".r.previous")
    (tmp_path / ".r.staging").mkdir()
    with pytest.raises(ExportError, match="no ONNX file of nonsense"):
        write(all_models, target, Choice(("nonsense",)))
    write(all_models, target)
    assert tree(target) == before
    assert beside(target) == {"r"}


def test_a_run_that_died_after_the_renames_is_put_right(all_models: Path, tmp_path: Path) -> None:
    target = tmp_path / "r"
    write(all_models, target, Choice(("cosine_distance",)))
    target.rename(tmp_path / ".r.previous")
    write_repository(all_models, tmp_path / "new", SMALL, Serving(), quiet)
    (tmp_path / "new").rename(target)
    write(all_models, target)
    assert (target / "powerset").is_dir()
    assert beside(target) == {"r", ".new.lock"}


def test_a_failing_rename_leaves_the_old_one(
    all_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "r"
    write(all_models, target)
    before = tree(target)
    rename = Path.rename

    def failing(path: Path, to: Path) -> Path:
        if path.name == ".r.staging":
            raise OSError(28, "No space left on device")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ExportError, match=r"r: cannot be written: .*No space left on device"):
        write(all_models, target)
    assert tree(target) == before
    assert beside(target) == {"r"}
