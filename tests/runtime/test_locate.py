"""Where artifacts are looked for, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxport.runtime import ArtifactNotFoundError
from voxport.runtime.cache import cache_dir
from voxport.runtime.locate import find_models, model_folders
from voxport.runtime.manifest import MANIFEST_NAME


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The three default places, empty, in their order."""
    monkeypatch.setenv("VOXPORT_MODELS", str(tmp_path / "variable"))
    monkeypatch.setenv("VOXPORT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return {
        "variable": tmp_path / "variable",
        "working folder": tmp_path / "here" / "models",
        "cache": tmp_path / "cache" / "models",
    }


def fill(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST_NAME).write_text("{}", encoding="utf-8")


def test_order(places: dict[str, Path]) -> None:
    # From the last place to the first: each one hides those after it.
    for folder in reversed(places.values()):
        fill(folder)
        assert find_models().absolute() == folder


def test_a_folder_without_manifest_is_passed_over(places: dict[str, Path]) -> None:
    places["variable"].mkdir()
    fill(places["cache"])
    assert find_models() == places["cache"]


def test_an_explicit_folder_is_the_only_one(places: dict[str, Path], tmp_path: Path) -> None:
    for folder in places.values():
        fill(folder)
    with pytest.raises(ArtifactNotFoundError) as caught:
        find_models(tmp_path / "explicit")
    assert str(tmp_path / "explicit") in str(caught.value)
    assert str(places["variable"]) not in str(caught.value)
    fill(tmp_path / "explicit")
    assert find_models(str(tmp_path / "explicit")) == tmp_path / "explicit"


def test_the_error_names_all_places_and_ways_out(places: dict[str, Path]) -> None:
    with pytest.raises(ArtifactNotFoundError) as caught:
        find_models()
    message = str(caught.value)
    positions = [message.find(str(folder)) for folder in places.values()]
    assert -1 not in positions
    assert positions == sorted(positions)
    for way_out in ("voxport export", "models=", "VOXPORT_MODELS"):
        assert way_out in message


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("environ", [{}, {"VOXPORT_MODELS": ""}])
def test_an_unset_or_empty_variable_is_no_place(environ: dict[str, str]) -> None:
    assert model_folders(environ=environ) == [Path("models"), cache_dir() / "models"]


def test_a_variable_that_the_system_refuses(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXPORT_MODELS", "x" * 5000)
    fill(places["working folder"])
    assert find_models() == Path("models")


def test_a_variable_that_names_a_file(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    monkeypatch.setenv("VOXPORT_MODELS", str(file))
    fill(places["cache"])
    assert find_models() == places["cache"]
