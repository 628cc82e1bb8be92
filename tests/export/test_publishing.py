"""All or nothing: whatever interrupts a publication, the folder stays whole."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from voxport.export import publishing
from voxport.export.errors import ExportError
from voxport.export.publishing import Staged, existing_manifest, locked, publish, sha256_hex
from voxport.runtime import ArtifactRow, Description, Manifest


def _staged(name: str, content: bytes) -> Staged:
    description = Description(name, "fp32", (), ())
    row = ArtifactRow(
        description=description,
        format="onnx",
        path=f"{name}.fp32.onnx",
        sha256=sha256_hex(content),
        size_bytes=len(content),
        opset=17,
        ops={},
        tools={},
        gates=(),
        verified_on="test",
    )
    return Staged(row, content)


def _publish(folder: Path, *staged: Staged) -> None:
    with locked(folder):
        manifest = existing_manifest(folder).merged(tuple(item.row for item in staged))
        publish(folder, list(staged), manifest, "report")


def _assert_whole(folder: Path, expected: dict[str, bytes]) -> None:
    """The folder holds exactly these artifacts, and its manifest says so."""
    manifest = Manifest.read(folder / "manifest.json")
    listed = {row.path: row.sha256 for row in manifest.artifacts}
    files = {path.name: path.read_bytes() for path in folder.glob("*.onnx")}
    assert files == {f"{name}.fp32.onnx": content for name, content in expected.items()}
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_publishing_adds_replaces_and_keeps(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "models"
    _publish(folder, _staged("a", b"1"), _staged("b", b"2"))
    _publish(folder, _staged("b", b"3"))
    _assert_whole(folder, {"a": b"1", "b": b"3"})
    assert (folder / "REPORT.md").read_text() == "report"


def test_files_that_the_manifest_does_not_list_are_removed(tmp_path: Path) -> None:
    _publish(tmp_path, _staged("a", b"1"))
    (tmp_path / "stray.fp32.onnx").write_bytes(b"?")
    _publish(tmp_path, _staged("a", b"1"))
    _assert_whole(tmp_path, {"a": b"1"})


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_dying_while_staging_leaves_the_old_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    _publish(tmp_path, _staged("a", b"old"), _staged("b", b"old"))
    write, done = publishing._write, []

    def dies(path: Path, content: bytes) -> None:
        if len(done) == writes:
            raise KeyboardInterrupt
        done.append(path)
        write(path, content)

    monkeypatch.setattr(publishing, "_write", dies)
    with pytest.raises(KeyboardInterrupt):
        _publish(tmp_path, _staged("a", b"new"), _staged("b", b"new"))
    _assert_whole(tmp_path, {"a": b"old", "b": b"old"})
    monkeypatch.undo()
    _publish(tmp_path, _staged("b", b"newer"))
    _assert_whole(tmp_path, {"a": b"old", "b": b"newer"})


@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_dying_while_moving_is_completed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    _publish(tmp_path, _staged("a", b"old"), _staged("b", b"old"))
    replace, done = Path.replace, []

    def dies(path: Path, target: Path) -> Path:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(path)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        _publish(tmp_path, _staged("a", b"new"), _staged("b", b"new"))
    monkeypatch.undo()
    with locked(tmp_path):
        _assert_whole(tmp_path, {"a": b"new", "b": b"new"})


def test_two_processes_take_turns(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from voxport.export.publishing import locked
        with locked(Path(sys.argv[1])):
            print("in", flush=True)
            time.sleep(0.5)
            print("out", flush=True)
        """
    )
    log = tmp_path / "log"
    with log.open("w") as out:
        processes = [
            subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "m")], stdout=out)
            for _ in range(2)
        ]
        assert [process.wait(60) for process in processes] == [0, 0]
    assert log.read_text().split() == ["in", "out", "in", "out"]


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with (
        pytest.raises(ExportError, match="cannot be written"),
        locked(tmp_path / "file" / "models"),
    ):
        pytest.fail("a file was locked as a folder")
