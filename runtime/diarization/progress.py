"""What a diarization tells while it runs, and how long its parts took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """How far a diarization is.

    Attributes:
        stage: "windows" (reading, segmentation and embeddings) or "clustering".
        done_s: seconds of audio done in this stage.
        total_s: seconds of audio in all; None while the end of a stream is not known.
        elapsed_s: seconds since the start.
    """

    stage: str
    done_s: float
    total_s: float | None
    elapsed_s: float

    @property
    def rtfx(self) -> float:
        """Audio seconds per second so far."""
        return self.done_s / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds still to go at this speed; None if it cannot be said."""
        if self.total_s is None or self.rtfx <= 0:
            return None
        return max(0.0, self.total_s - self.done_s) / self.rtfx


Hook = Callable[[Progress], None]


@dataclass
class Stopwatch:
    """Seconds spent in each stage, summed over threads."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a block to a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - begun)

    def add(self, name: str, seconds: float) -> None:
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started
