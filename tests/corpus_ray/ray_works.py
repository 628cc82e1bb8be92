"""What workers of tests do: files of text that say what is to happen."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxport.runtime.errors import AudioError, DeviceError
from voxport.runtime.recordings.files import Recording
from voxport.runtime.recordings.outcome import Answer, Work


def recording(path: Path) -> Recording:
    return Recording(str(path), path.stem, path.stem, path)


@contextmanager
def obeying(log: str) -> Iterator[Work]:
    """A work that obeys a file: ``poison``, ``bad``, ``wait SECONDS``, ``until FILE``, ``cards``,
    ``lost FILE``: unless there is FILE, make it and fail as with a card that is lost.

    Anything else is echoed. Every beginning leaves a file NAME.PID in the folder ``log``.
    """

    def work(recording: Recording, audio: object, bar: object) -> Answer:
        assert recording.path is not None
        Path(log, f"{recording.stem}.{os.getpid()}").touch()
        order, *values = recording.path.read_text().split() or [""]
        if order == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "bad":
            raise AudioError("it is bad")
        if order == "lost" and not Path(values[0]).exists():
            Path(values[0]).touch()
            raise DeviceError("CUDA failure 719")
        if order == "wait":
            time.sleep(float(values[0]))
        while order == "until" and not Path(values[0]).exists():
            time.sleep(0.05)
        if order == "cards":
            order = f"cards {os.environ.get('CUDA_VISIBLE_DEVICES')!r}"
        return Answer({"txt": f"{recording.stem}: {order}\n"})

    yield work


@contextmanager
def refusing() -> Iterator[Work]:
    """What a node without a usable device does."""
    raise DeviceError("no such device here; choose another")
    yield


@contextmanager
def broken() -> Iterator[Work]:
    """A defect."""
    raise ValueError("odd")
    yield


@contextmanager
def dying() -> Iterator[Work]:
    """What a node without memory does."""
    os.kill(os.getpid(), signal.SIGKILL)
    yield
