"""A work that costs nothing, and does what the content of a recording says; picklable."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxport.runtime import ArtifactNotFoundError, AudioError, VoxportError
from voxport.runtime.annotation.rttm import write_rttm
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.recordings.files import Recording
from voxport.runtime.recordings.outcome import Answer, Work
from voxport.runtime.recordings.progress_bar import ProgressBar

_PATIENCE_S = 60.0


def turns_of(content: bytes) -> Turns:
    """Three turns that depend on every byte."""
    shift = sum(content) / 1000
    spans = ((0.5, 2.25, "A"), (2.0, 3.5, "B"), (4.0, 6.0, "A"))
    return Turns(Turn(start + shift, end + shift, who) for start, end, who in spans)


@dataclass(frozen=True)
class StandIn:
    """Its ``opened`` fails as ``problem`` says: "models", "defect" or "exit".

    With "card FILE" the one process that makes FILE answers everything with an error of its card.
    """

    problem: str = ""

    @contextmanager
    def opened(self) -> Iterator[Work]:
        if self.problem == "models":
            raise ArtifactNotFoundError("no models here")
        if self.problem == "defect":
            raise ZeroDivisionError("while it was opened")
        if self.problem == "exit":
            os._exit(7)
        yield lost_card if self._is_first() else answer

    def _is_first(self) -> bool:
        kind, _, marker = self.problem.partition(" ")
        if kind != "card":
            return False
        try:
            Path(marker).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def lost_card(recording: Recording, audio: Any, bar: ProgressBar) -> Answer:
    raise VoxportError("CUDA failure 719")


def answer(recording: Recording, audio: Any, _bar: ProgressBar) -> Answer:
    content = _content(audio)
    command, _, argument = content.decode().partition(" ")
    _obey(recording, command, argument)
    turns = turns_of(content)
    record = {
        "duration_s": 10.0,
        "seconds": {"reading": 0.25, "thinking": 0.75, "total": 1.0},
        "turns": [(turn.start_s, turn.end_s, turn.speaker) for turn in turns],
        "artifacts": [],
    }
    contents = {"rttm": write_rttm(turns, recording.file_id)}
    if command == "large":
        contents["txt"] = "x" * int(argument)
    return Answer(contents, record=record)


def _content(audio: Any) -> bytes:
    if isinstance(audio, Path):
        return audio.read_bytes()
    audio.seek(0)
    return bytes(audio.read())


def _obey(recording: Recording, command: str, argument: str) -> None:
    if command == "bad":
        raise AudioError(f"{recording.path or recording.url}: cannot be read as audio: it is bad")
    if command == "defect":
        raise ZeroDivisionError("by a file")
    if command == "exit":
        os._exit(3)
    if command == "interrupt":
        raise KeyboardInterrupt
    if command == "kill-once" and not Path(argument).exists():
        Path(argument).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if command == "wait":
        _wait(Path(argument))


def _wait(marker: Path) -> None:
    """Say who waits, and go on when somebody removes that."""
    marker.with_suffix(".draft").write_text(str(os.getpid()))
    marker.with_suffix(".draft").replace(marker)
    end_s = time.monotonic() + _PATIENCE_S
    while marker.exists() and time.monotonic() < end_s:
        time.sleep(0.01)


def waiting(marker: Path) -> int:
    """The process that waits at a marker."""
    end_s = time.monotonic() + _PATIENCE_S
    while not marker.exists():
        assert time.monotonic() < end_s, "nobody came"
        time.sleep(0.01)
    return int(marker.read_text())
