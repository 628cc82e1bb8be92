"""All or nothing: whatever interrupts a publication, the folder stays whole."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from voxport.export import publishing
from voxport.export.errors import ExportError
from voxport.export.publishing import (
    Staged,
    complete_interrupted,
    existing_manifest,
    locked,
    merged,
    publish,
    sha256_hex,
)
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


def _silent(_: str) -> None:
    return


def _publish(folder: Path, *staged: Staged, omitted: tuple[tuple[str, str, str], ...] = ()) -> None:
    with locked(folder, _silent):
        old = existing_manifest(folder)
        manifest = merged(old, [item.row for item in staged], omitted)
        publish(folder, list(staged), old, manifest, "report")


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


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"?")
    _publish(tmp_path, _staged("a", b"1"))
    _publish(tmp_path, _staged("b", b"1"))
    assert (tmp_path / "mine.onnx").read_bytes() == b"?"


def test_what_was_left_out_this_time_is_removed(tmp_path: Path) -> None:
    _publish(tmp_path, _staged("a", b"1"), _staged("b", b"2"))
    _publish(tmp_path, _staged("b", b"3"), omitted=(("a", "onnx", "fp32"),))
    _assert_whole(tmp_path, {"b": b"3"})


def _of(staged: Staged, **changes: object) -> ArtifactRow:
    return replace(staged.row, description=replace(staged.row.description, **changes))  # type: ignore[arg-type]


def test_a_folder_holds_one_set_of_checkpoints() -> None:
    ours = ({"network": "segmentation", "sha256": "1"},)
    other = ({"network": "segmentation", "sha256": "2"},)
    voice = ({"network": "campplus", "sha256": "3"},)
    a, b, c, d = (_staged(name, b"") for name in "abcd")
    old = Manifest((_of(a, checkpoints=ours), _of(b, checkpoints=voice), c.row))
    replaced = merged(old, [_of(d, checkpoints=other)], ())
    assert {row.name for row in replaced.artifacts} == {"b", "c", "d"}
    added = merged(old, [_of(d, checkpoints=ours)], ())
    assert {row.name for row in added.artifacts} == {"a", "b", "c", "d"}


def test_precisions_of_one_artifact_stay_alike() -> None:
    fp32 = _staged("a", b"").row
    other = _of(_staged("a", b""), precision="fp16", recipe={"classes": 7})
    assert merged(Manifest((other,)), [fp32], ()).artifacts == (fp32,)
    alike = _of(_staged("a", b""), precision="fp16")
    assert merged(Manifest((alike,)), [fp32], ()).artifacts == (alike, fp32)


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
    complete_interrupted(tmp_path, _silent)
    _assert_whole(tmp_path, {"a": b"new", "b": b"new"})


def test_without_an_interrupted_publication_nothing_is_written(tmp_path: Path) -> None:
    complete_interrupted(tmp_path, _silent)
    complete_interrupted(tmp_path / "none", _silent)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_take_turns(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from voxport.export.publishing import locked
        with locked(Path(sys.argv[1]), lambda line: None):
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
    folder = tmp_path / "file" / "models"
    with pytest.raises(ExportError, match="cannot be written"), locked(folder, _silent):
        pytest.fail("a file was locked as a folder")


def test_errors_of_the_export_itself_are_not_the_folders(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space elsewhere"), locked(tmp_path, _silent):
        raise OSError("no space elsewhere")
