"""``voxport diarize`` with a stand-in for the networks: what it takes and gives."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from diarize_fixtures import fake, run
from fake_diarizer import EXCLUSIVE, TURNS, FakeDiarizer, Run, audio, names
from voxport.runtime import Options
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.cli import main
from voxport.runtime.diarization import diarizer
from voxport.runtime.recordings.files import SUFFIXES, find_recordings

__all__ = ["fake", "run"]
_ENDINGS = ("rttm", "json", "srt", "vtt", "csv", "txt")


# Printed


def test_one_file_is_printed_as_rttm(tmp_path: Path, run: Run) -> None:
    status, out, err = run(audio(tmp_path / "a.wav"))
    assert (status, err) == (0, "")
    assert read_rttm(io.StringIO(out)) == {"a": TURNS}


@pytest.mark.parametrize("ending", _ENDINGS)
def test_one_file_is_printed_in_any_format(tmp_path: Path, run: Run, ending: str) -> None:
    status, out, err = run(audio(tmp_path / "a.wav"), "--format", ending)
    assert (status, err) == (0, "")
    assert "SPEAKER_01" in out
    assert out.endswith("\n")


def test_many_files_are_printed_as_rttm_under_their_ids(tmp_path: Path, run: Run) -> None:
    files = [audio(tmp_path / name) for name in ("b.wav", "a b.wav", "c.flac")]
    status, out, err = run(*files)
    assert (status, err) == (0, "3 files done\n")
    assert read_rttm(io.StringIO(out)) == {"b": TURNS, "a_b": TURNS, "c": TURNS}


def test_exclusive_turns(tmp_path: Path, run: Run) -> None:
    _, out, _ = run(audio(tmp_path / "a.wav"), "--exclusive")
    assert read_rttm(io.StringIO(out)) == {"a": EXCLUSIVE}


def test_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"RIFF")))
    status, out, err = run("-")
    assert (status, err) == (0, "")
    assert read_rttm(io.StringIO(out)) == {"stdin": TURNS}
    assert FakeDiarizer.heard[0][0] == b"RIFF"


def test_bad_standard_input_is_called_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"bad")))
    expected = "voxport: stdin: cannot be read as audio: it is bad\n"
    assert run("-") == (1, "", expected)


# Written


def test_written_in_several_formats(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "new" / "out"
    files = [audio(tmp_path / "a b.wav"), audio(tmp_path / "c.wav")]
    assert run(*files, "-o", out, "--format", "rttm,json, TXT,rttm") == (0, "", "2 files done\n")
    endings = ("json", "rttm", "txt")
    assert names(out) == [f"{stem}.{ending}" for stem in ("a b", "c") for ending in endings]
    assert read_rttm(out / "a b.rttm") == {"a_b": TURNS}
    assert json.loads((out / "c.json").read_text())["file"] == "c"


def test_plot(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run(audio(tmp_path / "a&b.wav"), "-o", out, "--plot") == (0, "", "")
    assert names(out) == ["a&b.rttm", "a&b.svg"]
    picture = (out / "a&b.svg").read_text()
    assert picture.startswith("<svg")
    assert "a&amp;b" in picture
    assert "<title>overlap</title>" in picture


def test_standard_input_is_written(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"RIFF")))
    assert run("-", "-o", tmp_path) == (0, "", "")
    assert names(tmp_path) == ["stdin.rttm"]


def test_results_get_the_permissions_of_any_file(tmp_path: Path, run: Run) -> None:
    source, out = audio(tmp_path / "a.wav"), tmp_path / "out"
    run(source, "-o", out)
    assert (out / "a.rttm").stat().st_mode == source.stat().st_mode


# Folders


def test_folders_are_searched(tmp_path: Path, run: Run) -> None:
    wanted = ("b.wav", "sub/a.FLAC", "sub/deep/c.m4a", "sub/d.webm")
    others = ("notes.txt", "b.rttm", ".hidden.wav", ".cache/e.wav")
    for name in (*wanted, *others):
        audio(tmp_path / name)
    status, out, _ = run(tmp_path)
    assert status == 0
    assert list(read_rttm(io.StringIO(out))) == ["b", "a", "d", "c"]


def test_a_file_may_have_any_ending(tmp_path: Path, run: Run) -> None:
    assert run(audio(tmp_path / "a.recording"))[0] == 0


def test_a_recording_that_is_named_twice_is_done_once(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = audio(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path, file, "a.wav", "./x/../a.wav")[0] == 0
    assert len(FakeDiarizer.heard) == 1


def test_links_to_folders_do_not_lead_in_circles(tmp_path: Path) -> None:
    file = audio(tmp_path / "a.wav")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    assert [each.path for each in find_recordings([str(tmp_path)]).recordings] == [file]


def test_a_folder_without_audio_fails_and_the_others_go_on(tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    status, out, err = run(tmp_path / "empty", audio(tmp_path / "a.wav"))
    assert status == 1
    assert list(read_rttm(io.StringIO(out))) == ["a"]
    reason = f"voxport: {tmp_path / 'empty'}: no audio file in this folder\n"
    assert err == f"{reason}1 file done, 1 failed\n"


def test_only_a_folder_without_audio_loads_no_network(tmp_path: Path, run: Run) -> None:
    assert run(tmp_path) == (1, "", f"voxport: {tmp_path}: no audio file in this folder\n")
    assert FakeDiarizer.made == []


def test_folders_are_searched_for_what_libsndfile_reads() -> None:
    assert {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a", ".mp4", ".mkv", ".webm"} <= SUFFIXES


# Refused before any work


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "rttm,json"], "one format can be printed"),
        (["--format", "xml"], "--format: no format 'xml'; there are rttm, json"),
        (["--format", ""], "--format: no format ''"),
        (["--plot"], "--plot writes a picture"),
        (["--min-speakers", "3", "--max-speakers", "2"], "min_speakers must be at most"),
        (["--step", "0"], "step_s must be "),
        (["--threshold", "nan"], "threshold must be "),
    ],
)
def test_options_that_cannot_work(
    tmp_path: Path, run: Run, arguments: list[str], message: str
) -> None:
    status, out, err = run(audio(tmp_path / "a.wav"), *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"voxport diarize: {message}")
    assert FakeDiarizer.made == []


def test_many_files_in_another_format_need_a_folder(tmp_path: Path, run: Run) -> None:
    files = [audio(tmp_path / f"{name}.wav") for name in "ab"]
    status, _, err = run(*files, "--format", "json")
    assert status == 1
    assert "give a folder with -o" in err
    assert FakeDiarizer.made == []


@pytest.mark.parametrize("other", ["y/a.wav", "a.flac", "y/A.wav"])
def test_two_files_of_one_name_are_refused(tmp_path: Path, run: Run, other: str) -> None:
    first, second = audio(tmp_path / "a.wav"), audio(tmp_path / other)
    for extra in ([], ["-o", tmp_path / "out"]):
        status, out, err = run(first, second, *extra)
        assert (status, out) == (1, "")
        assert err.startswith(f"voxport diarize: {first} and {second} would both be called ")
    assert FakeDiarizer.made == []
    assert not (tmp_path / "out").exists()


def test_a_folder_for_results_that_is_a_file(tmp_path: Path, run: Run) -> None:
    file = audio(tmp_path / "a.wav")
    status, _, err = run(file, "-o", file)
    assert status == 1
    assert err.startswith(f"voxport diarize: {file}: cannot be made a folder: ")
    assert FakeDiarizer.made == []


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--num-speakers", "x"]])
def test_numbers_that_are_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["diarize", "a.wav", *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


# What the networks are told


def test_networks_are_loaded_once_with_what_was_asked_for(tmp_path: Path, run: Run) -> None:
    files = [audio(tmp_path / f"{name}.wav") for name in "ab"]
    networks = ("--models", "m", "--device", "cpu", "--precision", "int8", "--fallback")
    method = ("--mode", "exact", "--step", "2", "--threshold", "0.7", "--threads", "3")
    known = ("--num-speakers", "2", "--min-speakers", "1", "--max-speakers", "4")
    assert run(*files, *networks, *method, *known, "--embedding", "e")[0] == 0
    (made,) = FakeDiarizer.made
    settings = made.pop("settings")
    assert (settings.mode, settings.step_s, settings.threshold) == ("exact", 2.0, 0.7)
    told = {"device": "cpu", "precision": "int8", "embedding": "e", "fallback": True, "threads": 3}
    assert made == {"models": Path("m"), "options": Options(), **told}
    bounds = {"num_speakers": 2, "min_speakers": 1, "max_speakers": 4}
    assert [each for _, each in FakeDiarizer.heard] == [bounds, bounds]


def test_defaults_are_those_of_the_library(tmp_path: Path, run: Run) -> None:
    run(audio(tmp_path / "a.wav"))
    (made,) = FakeDiarizer.made
    assert made.pop("settings") == diarizer.Settings()
    assert made == {
        "models": None,
        "device": "auto",
        "precision": "auto",
        "embedding": None,
        "fallback": False,
        "threads": None,
        "options": Options(),
    }


# The bar


def test_a_terminal_gets_a_bar(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    status, out, err = run(audio(tmp_path / "a.wav"), audio(tmp_path / "b.wav"))
    assert status == 0
    assert "windows" not in out
    drawn = [line.rstrip() for line in err.split("\r")]
    assert "[1/2] a  windows [##########----------]  50%  5.0x  ETA 0:00" in drawn
    assert {"[2/2] b  reading", "[2/2] b  clustering"} <= set(drawn)
    # The last drawing is taken away before anything else is written.
    assert re.search(r"\r +\r2 files done\n$", err)


def test_quiet_leaves_errors_only(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    missing = tmp_path / "none.wav"
    status, _, err = run(audio(tmp_path / "a.wav"), missing, "--quiet")
    assert (status, err) == (1, f"voxport: {missing}: no such file\n")
