"""``voxport diarize`` with a stand-in for the networks: what it takes, gives, and survives."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import pytest
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.cli import main
from voxport.runtime.diarization import DiarizationResult, Progress, diarizer, progress_bar
from voxport.runtime.diarization.files import SUFFIXES, find_recordings
from voxport.runtime.errors import AudioError, DeviceError

_TURNS = Turns([Turn(0.5, 3.0, "SPEAKER_00"), Turn(2.0, 4.0, "SPEAKER_01")])
_EXCLUSIVE = Turns([Turn(0.5, 2.5, "SPEAKER_00"), Turn(2.5, 4.0, "SPEAKER_01")])
_ENDINGS = ("rttm", "json", "srt", "vtt", "csv", "txt")


def result() -> DiarizationResult:
    counts = np.zeros(1, np.uint8)
    return DiarizationResult(_TURNS, _EXCLUSIVE, {}, counts, 0.1, 5.0, "fast", (), {"total": 1.0})


class FakeDiarizer:
    """Gives the same turns for every file, unless its bytes say otherwise."""

    made: list[dict[str, Any]]
    heard: list[tuple[bytes, dict[str, Any]]]

    def __init__(self, **options: Any) -> None:
        self.made.append(options)
        if options["device"] == "none":
            raise DeviceError("there is no device 'none'")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, audio: Any, *, progress: Any, **known: Any) -> DiarizationResult:
        if isinstance(audio, Path):
            if not audio.is_file():
                raise AudioError(f"{audio}: no such file")
            content = audio.read_bytes()
        else:
            assert audio.seekable()
            audio.seek(0)
            content = audio.read()
        self.heard.append((content, known))
        if content == b"bad":
            label = audio if isinstance(audio, Path) else f"<{type(audio).__name__}>"
            raise AudioError(f"{label}: cannot be read as audio: it is bad")
        if content == b"defect":
            raise ZeroDivisionError("by a file")
        if content == b"interrupt":
            raise KeyboardInterrupt
        progress(Progress("windows", 2.5, 5.0, 0.5))
        progress(Progress("clustering", 0.0, 5.0, 0.6))
        return result()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeDiarizer]:
    FakeDiarizer.made, FakeDiarizer.heard = [], []
    monkeypatch.setattr(diarizer, "Diarizer", FakeDiarizer)
    return FakeDiarizer


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def act(*arguments: object) -> tuple[int, str, str]:
        status = main(["diarize", *map(str, arguments)])
        return status, *capsys.readouterr()

    return act


def audio(path: Path, content: bytes = b"good") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Printed


def test_one_file_is_printed_as_rttm(tmp_path: Path, run: Run) -> None:
    status, out, err = run(audio(tmp_path / "a.wav"))
    assert (status, err) == (0, "")
    assert read_rttm(io.StringIO(out)) == {"a": _TURNS}


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
    assert read_rttm(io.StringIO(out)) == {"b": _TURNS, "a_b": _TURNS, "c": _TURNS}


def test_exclusive_turns(tmp_path: Path, run: Run) -> None:
    _, out, _ = run(audio(tmp_path / "a.wav"), "--exclusive")
    assert read_rttm(io.StringIO(out)) == {"a": _EXCLUSIVE}


def test_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"RIFF")))
    status, out, err = run("-")
    assert (status, err) == (0, "")
    assert read_rttm(io.StringIO(out)) == {"stdin": _TURNS}
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
    assert read_rttm(out / "a b.rttm") == {"a_b": _TURNS}
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


# Failures


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    good = [audio(tmp_path / f"{name}.wav") for name in "ac"]
    bad, missing = audio(tmp_path / "b.wav", b"bad"), tmp_path / "none.wav"
    status, printed, err = run(good[0], bad, missing, good[1], "-o", out)
    assert (status, printed) == (1, "")
    assert err.splitlines() == [
        f"voxport: {bad}: cannot be read as audio: it is bad",
        f"voxport: {missing}: no such file",
        "2 files done, 2 failed",
    ]
    assert names(out) == ["a.rttm", "c.rttm"]


def test_a_single_bad_file_needs_no_summary(tmp_path: Path, run: Run) -> None:
    missing = tmp_path / "none.wav"
    assert run(missing) == (1, "", f"voxport: {missing}: no such file\n")


def test_a_failure_keeps_the_result_of_before(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.rttm").write_text("before")
    run(audio(tmp_path / "a.wav", b"bad"), "-o", tmp_path)
    assert (tmp_path / "a.rttm").read_text() == "before"
    run(audio(tmp_path / "a.wav"), "-o", tmp_path)
    assert read_rttm(tmp_path / "a.rttm") == {"a": _TURNS}


def test_a_defect_is_shown_in_full_and_does_not_stop_the_others(tmp_path: Path, run: Run) -> None:
    defect, good = audio(tmp_path / "a.wav", b"defect"), audio(tmp_path / "b.wav")
    status, out, err = run(defect, good)
    assert status == 1
    assert list(read_rttm(io.StringIO(out))) == ["b"]
    assert err.startswith("Traceback")
    assert f"voxport: {defect}: unexpected ZeroDivisionError: by a file\n" in err
    assert err.endswith("\n1 file done, 1 failed\n")


def test_a_result_that_cannot_be_written_is_a_failure(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    (out / "a.rttm").mkdir(parents=True)
    files = [audio(tmp_path / f"{name}.wav") for name in "ab"]
    status, _, err = run(*files, "-o", out)
    assert status == 1
    assert err.startswith(f"voxport: {files[0]}: {out}: results cannot be written: ")
    assert names(out) == ["a.rttm", "b.rttm"]


def test_networks_that_cannot_be_loaded(tmp_path: Path, run: Run) -> None:
    files = [audio(tmp_path / f"{name}.wav") for name in "ab"]
    expected = "voxport diarize: there is no device 'none'\n"
    assert run(*files, "--device", "none") == (1, "", expected)


# Interrupts and pipes


def test_interrupt_leaves_whole_results_only(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    contents = {"a": b"good", "b": b"interrupt", "c": b"good"}
    files = [audio(tmp_path / f"{name}.wav", content) for name, content in contents.items()]
    expected = "1 file done, 2 not done\nvoxport diarize: interrupted\n"
    assert run(*files, "-o", out) == (130, "", expected)
    assert names(out) == ["a.rttm"]


@pytest.mark.parametrize("where", ["open", "replace"])
def test_interrupt_while_writing_leaves_nothing(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    drafts = []
    real_open = Path.open

    def half_written(path: Path, *arguments: Any, **options: Any) -> IO[Any]:
        file = real_open(path, *arguments, **options)
        if path.suffix != ".part":
            return file
        drafts.append(path)
        return HalfWritten(file)

    def interrupted(path: Path, _: Path) -> None:
        drafts.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, where, half_written if where == "open" else interrupted)
    file, out = audio(tmp_path / "a.wav"), tmp_path / "out"
    audio(out / "a.rttm", b"before")
    assert run(file, "-o", out)[0] == 130
    assert len(drafts) == 1
    assert names(out) == ["a.rttm"]
    assert (out / "a.rttm").read_text() == "before"


class HalfWritten(io.StringIO):
    """An interrupt comes when some of the text is in the file."""

    def __init__(self, file: IO[Any]) -> None:
        super().__init__()
        self._file = file

    def write(self, text: str) -> int:
        with self._file as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt


def test_a_closed_pipe_ends_without_a_word(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [audio(tmp_path / f"{name}.wav") for name in "ab"]

    def closed(_: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(sys.stdout, "write", closed)
    assert run(*files) == (141, "", "")
    assert len(FakeDiarizer.heard) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_ends_it(tmp_path: Path) -> None:
    status, err = real_process([audio(tmp_path / "a.wav"), audio(tmp_path / "b.wav")], "/dev/full")
    assert status == 1
    assert err.startswith("voxport diarize: the result cannot be printed: No space left")
    assert err.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX shell")
def test_a_closed_pipe_of_a_real_process(tmp_path: Path) -> None:
    status, err = real_process([audio(tmp_path / "a.wav"), audio(tmp_path / "b.wav")], None)
    assert (status, err) == (141, "")


def real_process(files: list[Path], stdout: str | None) -> tuple[int, str]:
    """Status and errors of a process whose output goes to a file, or to nobody."""
    code = (
        "import sys\n"
        "from test_diarize_command import FakeDiarizer\n"
        "from voxport.runtime.cli import main\n"
        "from voxport.runtime.diarization import diarizer\n"
        "FakeDiarizer.made, FakeDiarizer.heard = [], []\n"
        "diarizer.Diarizer = FakeDiarizer\n"
        "sys.exit(main(['diarize', *sys.argv[1:]]))\n"
    )
    if stdout is None:
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(stdout, os.O_WRONLY)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, files)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writing)
    return done.returncode, done.stderr


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
    assert made == {"models": Path("m"), **told}
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


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (Progress("windows", 0, 3600, 0), "windows [--------------------]   0%  0.0x"),
        (
            Progress("windows", 900, 3600, 90),
            "windows [#####---------------]  25%  10.0x  ETA 4:30",
        ),
        (Progress("windows", 4000, None, 100), "windows  1:06:40  40.0x"),
        (Progress("windows", 5, 4, 1), "windows [####################] 100%  5.0x  ETA 0:00"),
        (Progress("clustering", 0, 4, 1), "clustering"),
    ],
)
def test_what_a_bar_says(progress: Progress, text: str) -> None:
    assert progress_bar.described(progress) == text


def test_a_bar_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    stream = io.StringIO()
    bar = progress_bar.ProgressBar(stream)
    bar.begin("x" * 200)
    bar(Progress("windows", 900, 3600, 90))
    assert all(len(line) < 30 for line in stream.getvalue().split("\r"))
    assert "ETA 4:30" in stream.getvalue()


def test_a_bar_is_not_drawn_too_often() -> None:
    stream = io.StringIO()
    bar = progress_bar.ProgressBar(stream)
    bar.begin("a")
    for second in range(1000):
        bar(Progress("windows", second, 1000, 1))
    assert stream.getvalue().count("\r") < 50
