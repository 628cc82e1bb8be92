"""``voxport score``: files and folders, what is named, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from voxport.runtime.annotation.rttm import write_rttm
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.cli import main

_TRUTH = {
    "one": Turns([Turn(0, 10, "a")]),
    "two": Turns([Turn(0, 5, "a"), Turn(5, 10, "b")]),
}
_JUDGED = {
    "one": Turns([Turn(0, 8, "x")]),
    "two": Turns([Turn(0, 5, "x"), Turn(5, 12, "y")]),
}


def write(folder: Path, files: dict[str, Turns]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, turns in files.items():
        (folder / f"{name}.rttm").write_text(write_rttm(turns, name), encoding="utf-8")
    return folder


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write(tmp_path / "truth", _TRUTH)


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    return write(tmp_path / "judged", _JUDGED)


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["score", "--json", *map(str, arguments)]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["score", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_folders(truth: Path, judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(truth), str(judged)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "file   DER %  miss %  false alarm %  confusion %  JER %  speech s"
    assert [line.split() for line in lines[1:]] == [
        ["one", "20.00", "20.00", "0.00", "0.00", "20.00", "10.0"],
        ["two", "20.00", "0.00", "20.00", "0.00", "14.29", "10.0"],
        ["total", "20.00", "10.00", "10.00", "0.00", "16.19", "20.0"],
    ]


def test_json(truth: Path, judged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, truth, judged)
    assert [(row["file"], row["der"], row["miss_s"]) for row in found["files"]] == [
        *(("one", 0.2, 2), ("two", 0.2, 0)),
    ]
    jer = pytest.approx((0.2 + 2 / 7) / 3)
    seconds = {"speech_s": 20.0, "miss_s": 2.0, "false_alarm_s": 2.0, "confusion_s": 0.0}
    shares = {"der": 0.2, "miss": 0.1, "false_alarm": 0.1, "confusion": 0.0, "jer": jer}
    assert found["total"] == {**shares, **seconds, "num_speakers": 3}


def test_a_file_may_hold_several_recordings(
    tmp_path: Path, judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    together = tmp_path / "all.rttm"
    together.write_text("".join(write_rttm(turns, name) for name, turns in _TRUTH.items()))
    assert as_json(capsys, together, judged)["total"]["der"] == 0.2


def test_what_is_on_one_side_only_is_named(
    truth: Path, judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (judged / "one.rttm").unlink()
    write(judged, {"three": _TRUTH["one"]})
    found = as_json(capsys, truth, judged)
    assert (found["only_in_reference"], found["only_in_hypothesis"]) == (["one"], ["three"])
    assert [row["der"] for row in found["files"]] == [1.0, 0.2]
    assert main(["score", str(truth), str(judged)]) == 0
    text = capsys.readouterr().out
    assert "no hypothesis, all missed: one\n" in text
    assert "no reference, not scored: three\n" in text


def test_files_without_turns_are_recordings_without_speech(
    truth: Path, judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (truth / "silent.rttm").write_text("")
    write(judged, {"silent": _TRUTH["one"]})
    found = as_json(capsys, truth, judged)
    silent = next(row for row in found["files"] if row["file"] == "silent")
    assert (silent["der"], silent["false_alarm_s"], silent["speech_s"]) == (1.0, 10.0, 0.0)
    # An empty hypothesis is a bad one, not an error.
    empty = judged / "nothing.rttm"
    empty.write_text("")
    assert as_json(capsys, truth / "one.rttm", empty)["total"]["miss"] == 1.0


def test_options(
    tmp_path: Path, truth: Path, judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uem = tmp_path / "all.uem"
    uem.write_text("one 1 0 9\n")
    found = as_json(capsys, truth, judged, "--uem", uem)
    assert found["total"]["der"] == pytest.approx(1 / 9)
    assert found["not_in_uem"] == ["two"]
    assert as_json(capsys, truth, judged, "--collar", 2)["total"]["speech_s"] == 8 + 6
    write(truth, {"two": Turns([Turn(0, 5, "a"), Turn(3, 10, "b")])})
    assert as_json(capsys, truth, judged, "--skip-overlap")["total"]["speech_s"] == 10 + 8


def test_what_is_refused(
    tmp_path: Path, truth: Path, judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "cannot be read" in refused(capsys, truth, tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no .rttm file" in refused(capsys, empty, judged)
    mismatched = refused(capsys, truth / "one.rttm", judged / "two.rttm")
    assert "no file id is in both: the reference has one, the hypothesis two" in mismatched
    (tmp_path / "x.uem").write_text("other 1 0 9\n")
    assert "names no file" in refused(capsys, truth, judged, "--uem", tmp_path / "x.uem")
    (truth / "copy.rttm").write_text(write_rttm(_TRUTH["one"], "one"))
    assert "one is in copy.rttm and in one.rttm" in refused(capsys, truth, judged)
    (judged / "one.rttm").write_text("SPEAKER one 1 0 -1 <NA> <NA> x <NA> <NA>\n")
    assert "one.rttm:1: duration must be" in refused(capsys, truth / "two.rttm", judged)


@pytest.mark.parametrize("collar", ["-1", "nan", "inf", "x"])
def test_impossible_collars_are_refused(
    truth: Path, judged: Path, collar: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["score", str(truth), str(judged), f"--collar={collar}"])
    assert "--collar" in capsys.readouterr().err
