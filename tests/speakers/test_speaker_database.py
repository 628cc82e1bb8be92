"""SpeakerDatabase: what it takes, what it keeps, and files that are none."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_speakers import ARTIFACT, embeddings
from voxport.runtime import SpeakerDatabase, SpeakerDatabaseError, VoxportError
from voxport.runtime.speakers import database as module

OTHER = replace(ARTIFACT, sha256="cd" * 32, precision="int8")


def database(**vectors: list[float]) -> SpeakerDatabase:
    made = SpeakerDatabase(ARTIFACT, 0.42)
    for name, vector in vectors.items():
        made.enrol(name, embeddings(vector))
    return made


# Enrolment


def test_a_print_is_the_mean_of_all_recordings() -> None:
    made = database()
    made.enrol("anna", embeddings([1, 0], [0, 1]), embeddings([0, 1]), embeddings([np.nan, np.nan]))
    np.testing.assert_allclose(made.vectors, [np.array([1, 2]) / np.sqrt(5)], rtol=1e-6)
    assert made.vectors.dtype == np.float32


def test_names_keep_their_order() -> None:
    made = database(bob=[1, 0], anna=[0, 1])
    assert made.names == ("bob", "anna")
    assert made.vectors.tolist() == [[1, 0], [0, 1]]
    assert (len(made), "bob" in made, "eve" in made) == (2, True, False)
    assert database().vectors.shape == (0, 0)


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("bob", [[1.0, 0.0]], "bob is enrolled already"),
        ("", [[1.0, 0.0]], "must not be empty"),
        (" eve", [[1.0, 0.0]], "nor begin or end with a blank"),
        ("e\nve", [[1.0, 0.0]], "control characters"),
        ("SPEAKER_07", [[1.0, 0.0]], "whom nobody knows"),
        ("eve", [[np.nan, np.nan]], "eve: too little speech"),
        ("eve", [[1.0, 0.0], [-1.0, 0.0]], "eve: too little speech"),
        ("eve", [], "eve: too little speech"),
    ],
)
def test_who_cannot_be_enrolled(name: str, rows: list[list[float]], message: str) -> None:
    made = database(bob=[1, 0])
    with pytest.raises(SpeakerDatabaseError, match=message):
        made.enrol(name, *([embeddings(*rows)] if rows else []))
    assert made.names == ("bob",)


def test_prints_of_another_network_are_refused() -> None:
    made = database()
    for other in (OTHER, replace(ARTIFACT, name="embedding_other")):
        with pytest.raises(SpeakerDatabaseError, match="their distances mean nothing"):
            made.enrol("eve", embeddings([1, 0], artifact=other))
        with pytest.raises(SpeakerDatabaseError, match=other.sha256[:12]):
            made.check(other)
    # The device makes no difference.
    made.check(replace(ARTIFACT, device="cuda:0"))


@pytest.mark.parametrize("distance", [0.0, -1.0, 2.5, float("nan")])
def test_a_distance_that_is_none(distance: float) -> None:
    with pytest.raises(SpeakerDatabaseError, match="between 0 and 2"):
        SpeakerDatabase(ARTIFACT, distance)


# Files


def test_saved_and_loaded(tmp_path: Path) -> None:
    made = database(bob=[0.6, 0.8], anna_ß=[0, 1])
    made.save(tmp_path / "known.npz")
    found = SpeakerDatabase.load(tmp_path / "known.npz", ARTIFACT)
    assert found.names == made.names
    assert np.array_equal(found.vectors, made.vectors)
    assert found.same_speaker_distance == 0.42
    found.check(ARTIFACT)
    found.enrol("eve", embeddings([1, 0]))
    assert [path.name for path in tmp_path.iterdir()] == ["known.npz"]


def test_an_empty_database(tmp_path: Path) -> None:
    database().save(tmp_path / "known.npz")
    assert SpeakerDatabase.load(tmp_path / "known.npz").names == ()


def test_loaded_for_another_network(tmp_path: Path) -> None:
    path = tmp_path / "known.npz"
    database(bob=[1, 0]).save(path)
    with pytest.raises(SpeakerDatabaseError, match=r"known\.npz: .* int8 \(cdcdcdcdcdcd\)"):
        SpeakerDatabase.load(path, OTHER)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VoxportError, match="cannot be written"):
        database(bob=[1, 0]).save(tmp_path / "none" / "known.npz")
    with pytest.raises(SpeakerDatabaseError, match=r"known\.npz: cannot be read: No such file"):
        SpeakerDatabase.load(tmp_path / "known.npz")


def saved(path: Path, **changes: Any) -> Path:
    """A database with other arrays; None leaves one out."""
    database(bob=[1, 0], anna=[0, 1]).save(path)
    with np.load(path) as file:
        arrays = {**file, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"names": None},
        {"vectors": None},
        {"sha256": None},
        {"schema_version": None},
        {"schema_version": np.array(2)},
        {"schema_version": np.array([1, 1])},
        {"names": np.array(["bob"])},
        {"names": np.array(["bob", "bob"])},
        {"names": np.array(["bob", ""])},
        {"names": np.array(["bob", "SPEAKER_01"])},
        {"names": np.array([1, 2])},
        {"vectors": np.array([[1.0, 0.0], [np.nan, 0.0]])},
        {"vectors": np.array([[1.0, 0.0], [0.0, 0.0]])},
        {"vectors": np.array([[1, 0], [0, 1]])},
        {"vectors": np.array([1.0, 0.0])},
        {"same_speaker_distance": np.array(np.nan)},
        {"same_speaker_distance": np.array(-1.0)},
        {"artifact": np.array(["a", "b"])},
    ],
)
def test_damaged_arrays(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = saved(tmp_path / "known.npz", **changes)
    with pytest.raises(SpeakerDatabaseError, match=r"known\.npz: "):
        SpeakerDatabase.load(path)


def test_pickles_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "known.npz"
    np.savez(path, names=np.array([Evil()], object), allow_pickle=True)
    with pytest.raises(SpeakerDatabaseError, match="not a speaker database"):
        SpeakerDatabase.load(path)


class Evil:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize("cut", [0, 1, 100, -30])
def test_truncated_files(tmp_path: Path, cut: int) -> None:
    path = saved(tmp_path / "known.npz")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(SpeakerDatabaseError, match=r"known\.npz: not a speaker database"):
        SpeakerDatabase.load(path)


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)}
    )
    path = tmp_path / "known.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vectors.npy", content.getvalue())
    with pytest.raises(SpeakerDatabaseError, match="not a speaker database"):
        SpeakerDatabase.load(path)


def test_a_file_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "known.npz")
    monkeypatch.setattr(module, "_MAX_BYTES", 100)
    with pytest.raises(SpeakerDatabaseError, match="more than 100"):
        SpeakerDatabase.load(path)
