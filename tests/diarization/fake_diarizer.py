"""A stand-in for the networks of ``voxport diarize``, and what runs the command with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.diarization import DiarizationResult, Progress
from voxport.runtime.errors import AudioError, DeviceError

Run = Callable[..., tuple[int, str, str]]

TURNS = Turns([Turn(0.5, 3.0, "SPEAKER_00"), Turn(2.0, 4.0, "SPEAKER_01")])
EXCLUSIVE = Turns([Turn(0.5, 2.5, "SPEAKER_00"), Turn(2.5, 4.0, "SPEAKER_01")])


def result() -> DiarizationResult:
    counts = np.zeros(1, np.uint8)
    return DiarizationResult(TURNS, EXCLUSIVE, {}, counts, 0.1, 5.0, "fast", (), {"total": 1.0})


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


def audio(path: Path, content: bytes = b"good") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
