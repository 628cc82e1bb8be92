"""``voxport diarize`` with a stand-in for the networks: what it survives."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest
from diarize_fixtures import fake, run
from fake_diarizer import TURNS, FakeDiarizer, Run, audio, names
from voxport.runtime.annotation.rttm import read_rttm

__all__ = ["fake", "run"]


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
    assert read_rttm(tmp_path / "a.rttm") == {"a": TURNS}


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


class HalfWritten(io.BytesIO):
    """An interrupt comes when some of the content is in the file."""

    def __init__(self, file: IO[Any]) -> None:
        super().__init__()
        self._file = file

    def write(self, content: Any) -> int:
        with self._file as file:
            file.write(content[: len(content) // 2])
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
        "from fake_diarizer import FakeDiarizer\n"
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
