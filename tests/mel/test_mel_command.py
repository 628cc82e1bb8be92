"""``voxport mel`` on the tiny graph, from files to files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_mel
from signals import full_scale_noise
from tiny_mel import RATE_HZ, WINDOW, matrices
from voxport.runtime.cli import main
from voxport.runtime.mel.matrix import MelStream
from voxport.runtime.mel.npz_store import NpzStore

Run = Callable[..., tuple[int, str, str]]
SAMPLES = full_scale_noise(9 * WINDOW + 11, seed=1)
FORMATS = ("npz", "hdf5", "zarr")


def audio(path: Path, samples: Any = SAMPLES) -> Path:
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture
def run(mel_models: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def act(*arguments: object) -> tuple[int, str, str]:
        networks = ("--models", mel_models, "--device", "cpu")
        status = main(["mel", *map(str, (*arguments, *networks))])
        return status, *capsys.readouterr()

    return act


def read(folder: Path, name: str, form: str) -> tuple[Any, dict[str, Any]]:
    """Matrices and metadata, as users of each format read them."""
    if form == "npz":
        with np.load(folder / f"{name}.npz", allow_pickle=False) as archive:
            return archive["matrix"], json.loads(str(archive["metadata"]))
    if form == "hdf5":
        h5py = pytest.importorskip("h5py", reason="needs h5py: pip install 'voxport[hdf5]'")
        with h5py.File(folder / f"{name}.h5") as file:
            return file["matrix"][:], json.loads(file.attrs["metadata"])
    zarr = pytest.importorskip("zarr", reason="needs zarr: pip install 'voxport[zarr]'")
    group = zarr.open_group(folder / f"{name}.zarr", mode="r")
    return group["matrix"][:], json.loads(group.attrs["metadata"])


def require(form: str) -> None:
    if form != "npz":
        package = {"hdf5": "h5py", "zarr": "zarr"}[form]
        pytest.importorskip(package, reason=f"needs {package}: pip install 'voxport[{form}]'")


@pytest.mark.parametrize("compression", [0, 1])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_the_matrices(
    tmp_path: Path, run: Run, form: str, compression: int
) -> None:
    require(form)
    out = tmp_path / "out"
    file = audio(tmp_path / "a.wav")
    status, printed, err = run(file, "-o", out, "--format", form, "--compression", compression)
    assert (status, printed) == (0, "")
    assert err.startswith("a: 80 segments of 9.0 s, ")
    matrix, metadata = read(out, "a", form)
    assert matrix.dtype == np.float32
    assert np.array_equal(matrix, matrices(SAMPLES))
    assert metadata["num_samples"] == len(SAMPLES)
    assert metadata["configuration"] == tiny_mel.CONFIGURATION
    stats = metadata["processing_stats"]
    assert stats["num_segments"] == 80
    assert set(stats["stages"]) == {"decoding", "inference", "writing"}
    assert sum(each["share"] for each in stats["stages"].values()) == pytest.approx(1)
    assert len(list(out.iterdir())) == 1


def test_all_formats_at_once(tmp_path: Path, run: Run) -> None:
    for form in FORMATS:
        require(form)
    status, _, _ = run(audio(tmp_path / "a.wav"), "-o", tmp_path, "--format", ",".join(FORMATS))
    assert status == 0
    assert all(np.array_equal(read(tmp_path, "a", form)[0], matrices(SAMPLES)) for form in FORMATS)


def test_compression_makes_smaller_files(tmp_path: Path, run: Run) -> None:
    quiet = np.zeros(9 * WINDOW, np.float32)
    file = audio(tmp_path / "a.wav", quiet)
    run(file, "-o", tmp_path / "0", "--compression", 0)
    run(file, "-o", tmp_path / "9", "--compression", 9)
    sizes = [(tmp_path / level / "a.npz").stat().st_size for level in "09"]
    assert sizes[1] < sizes[0] / 50


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_done_is_not_done_again(tmp_path: Path, run: Run, form: str) -> None:
    require(form)
    file = audio(tmp_path / "a.wav")
    out = tmp_path / "out"
    arguments = (file, "-o", out, "--format", form)
    run(*arguments)
    assert run(*arguments) == (0, "", "a: done before\n")
    assert "80 segments" in run(*arguments, "--again")[2]
    audio(file, SAMPLES[:WINDOW])
    assert "8 segments" in run(*arguments)[2]
    assert np.array_equal(read(out, "a", form)[0], matrices(SAMPLES[:WINDOW]))
    assert run(*arguments)[2] == "a: done before\n"


def test_another_artifact_makes_it_again(
    tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    file = audio(tmp_path / "a.wav")
    run(file, "-o", tmp_path)
    other = tiny_mel.publish(tmp_path / "models", configuration={"n_mels": 20})
    status = main(["mel", str(file), "-o", str(tmp_path), "--models", str(other)])
    assert status == 0
    assert "80 segments" in capsys.readouterr().err
    assert read(tmp_path, "a", "npz")[1]["configuration"] == {"n_mels": 20}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", None])
def test_a_damaged_result_is_made_again(tmp_path: Path, run: Run, content: bytes | None) -> None:
    file, result = audio(tmp_path / "a.wav"), tmp_path / "a.npz"
    run(file, "-o", tmp_path)
    result.write_bytes(result.read_bytes()[:-100] if content is None else content)
    assert "80 segments" in run(file, "-o", tmp_path)[2]
    assert np.array_equal(read(tmp_path, "a", "npz")[0], matrices(SAMPLES))


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [audio(tmp_path / f"{name}.wav") for name in "abc"]
    out = tmp_path / "out"
    real = NpzStore.append
    appended = []

    def interrupted(self: NpzStore, matrix: Any) -> None:
        appended.append(matrix)
        if len(appended) == 15:
            raise KeyboardInterrupt
        real(self, matrix)

    monkeypatch.setattr(NpzStore, "append", interrupted)
    status, _, err = run(*files, "-o", out)
    assert (status, [path.name for path in out.iterdir()]) == (130, ["a.npz"])
    assert "1 file done, 2 not done" in err
    monkeypatch.undo()
    status, _, err = run(*files, "-o", out)
    assert status == 0
    assert err.startswith("a: done before\nb: 80 segments")
    assert sorted(path.name for path in out.iterdir()) == ["a.npz", "b.npz", "c.npz"]


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, run: Run) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    files = [audio(tmp_path / "a.wav"), tmp_path / "bad.wav", audio(tmp_path / "c.wav")]
    status, _, err = run(*files, "-o", tmp_path / "out")
    assert status == 1
    assert f"voxport: {files[1]}: " in err
    assert err.endswith("2 files done, 1 failed\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.npz", "c.npz"]


def test_a_full_disk_is_said_so(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NpzStore, "append", full)
    status, _, err = run(audio(tmp_path / "a.wav"), "-o", tmp_path / "out")
    assert status == 1
    assert err.endswith("results cannot be written: No space left on device\n")
    assert list((tmp_path / "out").iterdir()) == []


def test_standard_input_is_never_done_before(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = audio(tmp_path / "a.wav")
    for _ in range(2):
        with path.open() as text:
            monkeypatch.setattr(sys, "stdin", text)
            assert "80 segments" in run("-", "-o", tmp_path)[2]
    assert np.array_equal(read(tmp_path, "stdin", "npz")[0], matrices(SAMPLES))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "csv", "-o", "x"], "--format: no format 'csv'; there are npz, hdf5, zarr"),
        ([], "mel matrices cannot be printed: give a folder with -o"),
    ],
)
def test_options_that_cannot_work(
    tmp_path: Path, run: Run, arguments: list[str], message: str
) -> None:
    status, out, err = run(audio(tmp_path / "a.wav"), *arguments)
    assert (status, out) == (1, "")
    assert err == f"voxport mel: {message}\n"


@pytest.mark.parametrize(("form", "package"), [("hdf5", "h5py"), ("zarr", "zarr")])
def test_a_missing_package_is_named_before_any_work(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, form: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(MelStream, "__iter__", lambda _: pytest.fail("worked"))
    out = tmp_path / "out"
    status, _, err = run(audio(tmp_path / "a.wav"), "-o", out, "--format", form)
    assert status == 1
    assert f"needs {package}, which is not installed: pip install 'voxport[{form}]'" in err
