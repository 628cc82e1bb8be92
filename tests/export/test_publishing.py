"""All or nothing: whatever interrupts a publication, the folder stays whole."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from voxport.export import publishing
from voxport.export.errors import ExportError
from voxport.export.publishing import (
    complete_interrupted,
    existing_manifest,
    locked,
    merged,
    publish,
    staging,
)
from voxport.runtime import ArtifactRow, Description, Manifest


@dataclass(frozen=True)
class Made:
    """An artifact to publish: a file, or a folder with two files in it."""

    name: str
    content: bytes
    format: str = "onnx"

    @property
    def row(self) -> ArtifactRow:
        return ArtifactRow(
            description=Description(self.name, "fp32", (), ()),
            format=self.format,
            path=f"{self.name}.fp32.{'onnx' if self.format == 'onnx' else 'mlpackage'}",
            sha256=self.content.hex(),
            size_bytes=len(self.content),
            target="any",
            ops={},
            tools={},
            gates=(),
            probe={},
            verified_on="test",
        )

    def write(self, folder: Path) -> None:
        path = folder / self.row.path
        if self.format == "onnx":
            path.write_bytes(self.content)
            return
        for name in ("Manifest.json", "Data/model.mlmodel"):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(self.content)


def _silent(_: str) -> None:
    return


def _publish(folder: Path, *made: Made, omitted: tuple[tuple[str, str, str], ...] = ()) -> None:
    with locked(folder, _silent), staging(folder) as stage:
        old = existing_manifest(folder)
        manifest = merged(old, [item.row for item in made], omitted)
        for item in made:
            item.write(stage)
        publish(folder, stage, manifest=manifest, report="report")


def _content(path: Path) -> bytes:
    """Of a file, or of all files of a folder, which must agree."""
    if path.is_file():
        return path.read_bytes()
    (content,) = {each.read_bytes() for each in path.rglob("*") if each.is_file()}
    return content


def _assert_whole(folder: Path, *expected: Made) -> None:
    """The folder holds exactly these artifacts, and its manifest says so."""
    manifest = Manifest.read(folder / "manifest.json")
    files = {p.name: _content(p) for p in folder.iterdir() if p.suffix in (".onnx", ".mlpackage")}
    assert files == {item.row.path: item.content for item in expected}
    listed = {row.path: row.sha256 for row in manifest.artifacts}
    assert listed == {item.row.path: item.row.sha256 for item in expected}


@pytest.mark.parametrize("form", ["onnx", "coreml"])
def test_publishing_adds_replaces_and_keeps(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "new" / "models"
    _publish(folder, Made("a", b"1", form), Made("b", b"2", form))
    _publish(folder, Made("b", b"3", form))
    _assert_whole(folder, Made("a", b"1", form), Made("b", b"3", form))
    assert (folder / "REPORT.md").read_text() == "report"
    assert not (folder / ".staging").exists()


def test_formats_lie_side_by_side(tmp_path: Path) -> None:
    _publish(tmp_path, Made("a", b"1"))
    _publish(tmp_path, Made("a", b"2", "coreml"))
    _assert_whole(tmp_path, Made("a", b"1"), Made("a", b"2", "coreml"))


def test_what_was_staged_and_left_out_is_not_published(tmp_path: Path) -> None:
    with locked(tmp_path, _silent), staging(tmp_path) as stage:
        Made("a", b"1").write(stage)
        Made("b", b"2", "coreml").write(stage)
        manifest = Manifest((Made("a", b"1").row,))
        publish(tmp_path, stage, manifest=manifest, report="report")
    _assert_whole(tmp_path, Made("a", b"1"))


def test_a_failed_export_leaves_nothing_staged(tmp_path: Path) -> None:
    def fails() -> None:
        with staging(tmp_path) as stage:
            Made("a", b"1", "coreml").write(stage)
            raise ExportError("a gate")

    with pytest.raises(ExportError, match="a gate"):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"?")
    _publish(tmp_path, Made("a", b"1"))
    _publish(tmp_path, Made("b", b"1"))
    assert (tmp_path / "mine.onnx").read_bytes() == b"?"


@pytest.mark.parametrize("form", ["onnx", "coreml"])
def test_what_was_left_out_this_time_is_removed(tmp_path: Path, form: str) -> None:
    _publish(tmp_path, Made("a", b"1", form), Made("b", b"2"))
    _publish(tmp_path, Made("b", b"3"), omitted=(("a", form, "fp32"),))
    _assert_whole(tmp_path, Made("b", b"3"))


def _of(made: Made, **changes: object) -> ArtifactRow:
    return replace(made.row, description=replace(made.row.description, **changes))  # type: ignore[arg-type]


def test_a_folder_holds_one_set_of_checkpoints() -> None:
    ours = ({"network": "segmentation", "sha256": "1"},)
    other = ({"network": "segmentation", "sha256": "2"},)
    voice = ({"network": "campplus", "sha256": "3"},)
    a, b, c, d = (Made(name, b"") for name in "abcd")
    old = Manifest((_of(a, checkpoints=ours), _of(b, checkpoints=voice), c.row))
    replaced = merged(old, [_of(d, checkpoints=other)], ())
    assert {row.name for row in replaced.artifacts} == {"b", "c", "d"}
    added = merged(old, [_of(d, checkpoints=ours)], ())
    assert {row.name for row in added.artifacts} == {"a", "b", "c", "d"}


def test_precisions_of_one_artifact_stay_alike() -> None:
    fp32 = Made("a", b"").row
    other = _of(Made("a", b""), precision="fp16", recipe={"classes": 7})
    assert merged(Manifest((other,)), [fp32], ()).artifacts == (fp32,)
    alike = _of(Made("a", b""), precision="fp16")
    assert merged(Manifest((alike,)), [fp32], ()).artifacts == (alike, fp32)


def test_formats_of_one_artifact_may_differ_in_sizes_alone() -> None:
    fp32 = Made("a", b"").row
    package = _of(Made("a", b"", "coreml"), sizes={"batch": (1,)})
    assert merged(Manifest((package,)), [fp32], ()).artifacts == (package, fp32)
    other = _of(Made("a", b"", "coreml"), recipe={"classes": 7})
    assert merged(Manifest((other,)), [fp32], ()).artifacts == (fp32,)


OLD = (Made("a", b"old"), Made("b", b"old", "coreml"))
NEW = (Made("a", b"new"), Made("b", b"new", "coreml"))


@pytest.mark.parametrize("files", [0, 1, 4])
def test_dying_before_the_commit_leaves_the_old_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    _publish(tmp_path, *OLD)
    flush, done = publishing.flush, []

    def dies(path: Path) -> None:
        if len(done) == files:
            raise KeyboardInterrupt
        done.append(path)
        flush(path)

    monkeypatch.setattr(publishing, "flush", dies)
    with pytest.raises(KeyboardInterrupt):
        _publish(tmp_path, *NEW)
    _assert_whole(tmp_path, *OLD)
    monkeypatch.undo()
    _publish(tmp_path, Made("b", b"newer", "coreml"))
    _assert_whole(tmp_path, OLD[0], Made("b", b"newer", "coreml"))


@pytest.mark.parametrize("moves", [0, 1, 2, 3])
def test_dying_while_moving_is_completed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    _publish(tmp_path, *OLD)
    replace, done = Path.replace, []

    def dies(path: Path, target: Path) -> Path:
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(path)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        _publish(tmp_path, *NEW)
    monkeypatch.undo()
    complete_interrupted(tmp_path, _silent)
    _assert_whole(tmp_path, *NEW)


def test_dying_while_removing_is_completed_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(tmp_path, *OLD)
    remove = publishing._remove

    def dies(path: Path) -> None:
        if path.name == OLD[1].row.path:
            raise KeyboardInterrupt
        remove(path)

    monkeypatch.setattr(publishing, "_remove", dies)
    with pytest.raises(KeyboardInterrupt):
        _publish(tmp_path, NEW[0], omitted=(OLD[1].row.key,))
    monkeypatch.undo()
    complete_interrupted(tmp_path, _silent)
    _assert_whole(tmp_path, NEW[0])


def test_dying_after_a_folder_was_taken_away_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(tmp_path, *OLD)
    remove = publishing._remove

    def dies(path: Path) -> None:
        remove(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "_remove", dies)
    with pytest.raises(KeyboardInterrupt):
        _publish(tmp_path, *NEW)
    monkeypatch.undo()
    complete_interrupted(tmp_path, _silent)
    _assert_whole(tmp_path, *NEW)


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
