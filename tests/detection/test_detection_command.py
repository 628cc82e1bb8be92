"""``voxport vad`` and ``voxport overlap`` on a tiny network, from files to files."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from test_speech_detector import detected, meeting
from tiny_artifacts import RATE_HZ
from tiny_diarization import Samples
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.cli import main
from voxport.runtime.detection.detector import SpeechDetector

Run = Callable[..., tuple[int, str, str]]
# By the scene itself: 6.5 and 2.5 of 10 s.
SUMMARY = "speech 6.5 s (65.0%), overlap 2.5 s (25.0%) of 10.0 s\n"


def audio(path: Path, samples: Samples | None = None) -> Path:
    soundfile.write(path, meeting() if samples is None else samples, RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture
def run(segmentation_only: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def act(command: str, *arguments: object) -> tuple[int, str, str]:
        networks = ("--models", segmentation_only, "--device", "cpu", "--step", "0.1")
        status = main([command, *map(str, (*arguments, *networks))])
        return status, *capsys.readouterr()

    return act


@pytest.mark.parametrize("command", ["vad", "overlap"])
def test_one_file_is_printed(
    segmentation_only: Path, tmp_path: Path, run: Run, command: str
) -> None:
    status, out, err = run(command, audio(tmp_path / "a.wav"))
    assert status == 0
    found = detected(segmentation_only, meeting())
    expected = found.speech if command == "vad" else found.overlap
    assert read_rttm(io.StringIO(out)) == {"a": expected}
    assert err == f"a: {SUMMARY}"


def test_short_turns_and_pauses(tmp_path: Path, run: Run) -> None:
    file = audio(tmp_path / "a.wav")
    status, out, _ = run("overlap", file, "--min-on", "1", "--format", "json")
    (turn,) = json.loads(out)["turns"]
    assert (status, turn["speaker"]) == (0, "OVERLAP")
    assert turn["start_s"] == pytest.approx(4, abs=0.02)
    _, out, _ = run("vad", file, "--min-off", "3", "--format", "csv")
    assert len(out.splitlines()) == 2


def test_written_with_a_plot(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    files = [audio(tmp_path / "a.wav"), audio(tmp_path / "b.wav")]
    status, printed, err = run("vad", *files, "-o", out, "--format", "rttm,txt", "--plot")
    assert (status, printed) == (0, "")
    assert err == f"a: {SUMMARY}b: {SUMMARY}2 files done\n"
    endings = ("rttm", "svg", "txt")
    assert sorted(path.name for path in out.iterdir()) == [
        f"{name}.{ending}" for name in "ab" for ending in endings
    ]


def test_silence_is_no_failure(tmp_path: Path, run: Run) -> None:
    silent = audio(tmp_path / "a.wav", np.zeros(2 * RATE_HZ, np.float32))
    expected = "a: speech 0.0 s (0.0%), overlap 0.0 s (0.0%) of 2.0 s\n"
    assert run("vad", silent) == (0, "", expected)


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, run: Run) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    files = [audio(tmp_path / "a.wav"), tmp_path / "bad.wav", audio(tmp_path / "c.wav")]
    status, out, err = run("vad", *files, "--quiet")
    assert status == 1
    assert list(read_rttm(io.StringIO(out))) == ["a", "c"]
    assert err.count("\n") == 1
    assert err.startswith(f"voxport: {files[1]}: ")
    assert run("vad", *files)[2].endswith("2 files done, 1 failed\n")


def test_interrupt_leaves_whole_results_only(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SpeechDetector.__call__

    def interrupted(self: SpeechDetector, source: Any, **known: Any) -> Any:
        if source.stem == "b":
            raise KeyboardInterrupt
        return real(self, source, **known)

    monkeypatch.setattr(SpeechDetector, "__call__", interrupted)
    files = [audio(tmp_path / f"{name}.wav") for name in "abc"]
    status, _, err = run("vad", *files, "-o", tmp_path / "out")
    assert status == 130
    assert err == f"a: {SUMMARY}1 file done, 2 not done\nvoxport vad: interrupted\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.rttm"]


def test_a_closed_pipe_ends_without_a_word(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: str) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(sys.stdout, "write", closed)
    assert run("overlap", audio(tmp_path / "a.wav")) == (141, "", "")


def test_standard_input(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO(audio(tmp_path / "a.wav").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    status, out, _ = run("vad", "-")
    assert status == 0
    assert list(read_rttm(io.StringIO(out))) == ["stdin"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "npz"], "--format: no format 'npz'"),
        (["--format", "rttm,json"], "one format can be printed"),
        (["--plot"], "--plot writes a picture"),
        (["--min-on", "-1"], "min_duration_on_s must be"),
        (["--min-off", "nan"], "min_duration_off_s must be"),
    ],
)
def test_options_that_cannot_work(
    tmp_path: Path, run: Run, arguments: list[str], message: str
) -> None:
    status, out, err = run("vad", audio(tmp_path / "a.wav"), *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"voxport vad: {message}")
