"""``voxport stream``: raw PCM in, turns out, and all the ways in which a pipe ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tiny_artifacts import RATE_HZ
from tiny_diarization import dialogue, silence, speech
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.cli import main
from voxport.runtime.streaming.command import _ENCODINGS
from voxport.runtime.streaming.pcm import ENCODINGS

Run = Callable[..., tuple[int, str, str]]
TINY = ("--rate", RATE_HZ, "--step", 0.1, "--latency", 0.5, "--device", "cpu")
EXPECTED = [
    "[00:00:00.005 --> 00:00:03.005] SPEAKER_00",
    "[00:00:04.005 --> 00:00:07.005] SPEAKER_01",
    "[00:00:08.005 --> 00:00:09.000] SPEAKER_00",
]


def pcm(samples: np.ndarray, dtype: str = "<i2") -> bytes:
    scale = 2**15 if dtype == "<i2" else 1
    return (samples * scale).astype(dtype).tobytes()


class Pipe(io.BytesIO):
    """Bytes that come in small pieces, and perhaps an error after them."""

    def __init__(self, content: bytes, error: BaseException | None = None, size: int = 701) -> None:
        super().__init__(content)
        self._error, self._size = error, size

    def read1(self, _: int | None = -1, /) -> bytes:
        content = self.read(self._size)
        if not content and self._error is not None:
            raise self._error
        return content


@pytest.fixture
def run(
    tiny_stream_models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    def act(content: bytes | io.BytesIO, *arguments: object) -> tuple[int, str, str]:
        stream = Pipe(content) if isinstance(content, bytes) else content
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        chosen = ["stream", "--models", tiny_stream_models, *TINY, *arguments]
        status = main(list(map(str, chosen)))
        return status, *capsys.readouterr()

    return act


@pytest.mark.parametrize(("encoding", "dtype"), [("s16le", "<i2"), ("f32le", "<f4")])
def test_a_dialogue(run: Run, encoding: str, dtype: str) -> None:
    status, out, err = run(pcm(dialogue(), dtype), "--encoding", encoding)
    assert (status, out.splitlines(), err) == (0, EXPECTED, "")


def test_the_encodings_of_the_help_are_those_that_are_read() -> None:
    assert tuple(ENCODINGS) == _ENCODINGS


def test_channels(run: Run) -> None:
    stereo = np.stack([dialogue(), dialogue()], axis=1)
    assert run(pcm(stereo), "--channels", 2) == (0, "\n".join([*EXPECTED, ""]), "")


def test_json(run: Run) -> None:
    status, out, _ = run(pcm(dialogue()), "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [line["type"] for line in lines] == ["final"] * 3
    first = {"type": "final", "start_s": 0.005, "end_s": 3.005, "speaker": "SPEAKER_00"}
    assert lines[0] == pytest.approx(first)


def test_provisional_turns(run: Run) -> None:
    status, out, _ = run(pcm(dialogue()), "--provisional")
    lines = out.splitlines()
    assert [line for line in lines if not line.startswith("~")] == EXPECTED
    # The first read brings two steps.
    assert lines[0] == "~ [00:00:00.005 --> 00:00:00.205] SPEAKER_00"
    # No line twice in a row, although most reads complete no step.
    assert all(one != other for one, other in pairwise(lines))
    status, out, _ = run(pcm(dialogue()), "--provisional", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    changing = [line for line in lines if line["type"] == "provisional"]
    assert set(changing[0]) == {"type", "now_s", "final_until_s", "turns"}
    assert changing[0]["turns"][0]["speaker"] == "SPEAKER_00"
    assert (changing[-1]["turns"], changing[-1]["final_until_s"]) == ([], 9)


def test_rttm_is_written_in_the_end(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "my talk.rttm"
    assert run(pcm(dialogue()), "-o", file)[0] == 0
    (turns,) = read_rttm(file).values()
    assert [turn.speaker for turn in turns] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]
    assert [path.name for path in tmp_path.iterdir()] == ["my talk.rttm"]
    assert run(pcm(silence(2)), "-o", tmp_path / "silence.rttm") == (0, "", "")
    assert (tmp_path / "silence.rttm").read_text() == ""


def test_nothing_at_all(run: Run) -> None:
    assert run(b"") == (0, "", "")
    assert run(b"\0\0") == (0, "", "")


@pytest.mark.parametrize("rest", [1, 3])
def test_a_last_sample_that_is_not_whole(run: Run, rest: int) -> None:
    stereo = np.stack([dialogue(), dialogue()], axis=1)
    status, out, err = run(pcm(stereo) + b"abc"[:rest], "--channels", 2)
    assert (status, out.splitlines()) == (0, EXPECTED)
    assert err.startswith("voxport stream: standard input ends within a sample: the last")
    assert f"the last {rest} bytes are left out" in err


@pytest.mark.parametrize("header", [b"RIFF", b"fLaC", b"OggS", b"ID3\x04"])
def test_files_are_no_raw_pcm(run: Run, header: bytes) -> None:
    status, out, err = run(Pipe(header + pcm(dialogue()), size=3))
    assert (status, out) == (1, "")
    assert "an audio file, not raw PCM" in err
    assert "ffmpeg" in err


def test_nan_ends_it_after_what_was_heard(run: Run, tmp_path: Path) -> None:
    content = pcm(dialogue(), "<f4") + pcm(np.full(9, np.nan), "<f4")
    status, out, err = run(content, "--encoding", "f32le", "-o", tmp_path / "a.rttm")
    assert status == 1
    assert out.splitlines()[:2] == EXPECTED[:2]
    assert "NaN" in err
    assert len(read_rttm(tmp_path / "a.rttm")["a"]) == 3
    assert run(pcm(np.full(9, np.nan), "<f4"), "--encoding", "f32le", "-o", tmp_path / "b")[0] == 1
    assert not (tmp_path / "b").exists()


def test_a_pipe_that_cannot_be_read(run: Run) -> None:
    status, out, err = run(Pipe(pcm(dialogue()), OSError(5, "Input/output error")))
    assert (status, out.splitlines()) == (1, EXPECTED)
    assert err == "voxport stream: standard input: cannot be read: Input/output error\n"


def test_an_interrupt_while_waiting_prints_the_last_turns(run: Run, tmp_path: Path) -> None:
    pipe = Pipe(pcm(speech(2, 0)), KeyboardInterrupt())
    status, out, err = run(pipe, "-o", tmp_path / "a.rttm")
    assert (status, err) == (0, "")
    assert out == "[00:00:00.005 --> 00:00:02.000] SPEAKER_00\n"
    assert len(read_rttm(tmp_path / "a.rttm")["a"]) == 1


def test_a_closed_pipe_ends_without_a_word(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: str) -> int:
        raise BrokenPipeError

    pipe = Pipe(pcm(dialogue()))
    monkeypatch.setattr(sys.stdout, "write", closed)
    assert run(pipe) == (141, "", "")
    # It has not read on to the end.
    assert pipe.read()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--latency", 0.05], "latency_s must be from step_s"),
        (["--step", 0], "step_s must be a number above 0"),
        (["--step", 2, "--latency", 2], "step_s must be from a frame to a window"),
        (["--rate", 5], "live audio: has 5 samples per second"),
        (["--channels", 99], "live audio: has 99 channels"),
        (["--embedding", "none"], "none"),
        (["-o", "none/a.rttm"], "-o none/a.rttm: there is no folder none"),
        (["-o", "."], "-o .: is a folder"),
    ],
)
def test_options_that_cannot_work(run: Run, arguments: list[object], message: str) -> None:
    pipe = Pipe(pcm(dialogue()))
    status, out, err = run(pipe, *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert pipe.tell() == 0


def test_a_terminal_is_no_pipe(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = Pipe(b"")
    monkeypatch.setattr(pipe, "isatty", lambda: True)
    status, _, err = run(pipe)
    assert status == 1
    assert "is a terminal: pipe it in" in err


# Real processes


def started(models: Path, *arguments: str) -> subprocess.Popen[bytes]:
    code = "import sys; from voxport.runtime.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "stream", "--models", str(models), *map(str, TINY)]
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes of a POSIX system")
def test_turns_come_while_it_is_fed_and_an_interrupt_ends_it(
    tiny_stream_models: Path, tmp_path: Path
) -> None:
    output = tmp_path / "a.rttm"
    with started(tiny_stream_models, "-o", str(output)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pcm(np.concatenate([speech(2, 0), silence(1), speech(0.7, 0)])))
        process.stdin.flush()
        # The pipe is open, and the first turn there.
        first = process.stdout.readline().decode()
        assert first == "[00:00:00.005 --> 00:00:02.005] SPEAKER_00\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert b"SPEAKER_00" in process.stdout.read()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert len(read_rttm(output)["a"]) == 2


@pytest.mark.skipif(os.name != "posix", reason="signals and pipes of a POSIX system")
def test_a_reader_that_goes_away(tiny_stream_models: Path) -> None:
    with started(tiny_stream_models) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(pcm(np.concatenate([dialogue()] * 2)))
        process.stdin.close()
        assert process.wait(60) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""
