"""A line on a terminal that says how far the work on a recording is."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from ..diarization.progress import Progress

_CELLS = 20
_MAX_TITLE = 40
# Seconds between two drawings: faster than this nobody reads, and a slow terminal would wait.
_PAUSE_S = 0.1


class ProgressBar:
    """One line that is drawn over itself; nothing at all where ``stream`` is None."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._title = ""
        self._stage = ""
        self._drawn_s = 0.0
        self._width = 0

    def begin(self, title: str) -> None:
        """Start with another file; nothing is known of it yet."""
        self._title, self._stage = title[:_MAX_TITLE], ""
        self._draw(f"{self._title}  reading")

    def __call__(self, progress: Progress) -> None:
        """Show how far it is: the ``progress`` of a ``Diarizer``. A new stage shows at once."""
        now_s = time.perf_counter()
        if progress.stage == self._stage and now_s - self._drawn_s < _PAUSE_S:
            return
        self._stage, self._drawn_s = progress.stage, now_s
        self._draw(f"{self._title}  {described(progress)}")

    def show(self, text: str) -> None:
        """Show any text in its place."""
        now_s = time.perf_counter()
        if now_s - self._drawn_s >= _PAUSE_S:
            self._drawn_s = now_s
            self._draw(text)

    def clear(self) -> None:
        """Take the line away, for other text."""
        if self._stream is not None and self._width:
            self._stream.write(f"\r{' ' * self._width}\r")
            self._stream.flush()
            self._width = 0

    def _draw(self, text: str) -> None:
        if self._stream is None:
            return
        # One column stays free: a full line would wrap. The end matters more than the name.
        room = max(1, shutil.get_terminal_size().columns - 1)
        shown = text[-room:]
        self._stream.write(f"\r{shown:{self._width}}")
        self._stream.flush()
        self._width = len(shown)


def described(progress: Progress) -> str:
    """Stage, bar, share, speed and time to go, as far as each is known."""
    if progress.stage == "clustering":
        # It has no measure of its own: it is done, or it is not.
        return progress.stage
    speed = f"{progress.rtfx:.1f}x"
    if not progress.total_s:
        return f"{progress.stage}  {clock(progress.done_s)}  {speed}"
    share = min(1.0, progress.done_s / progress.total_s)
    filled = int(share * _CELLS)
    bar = "#" * filled + "-" * (_CELLS - filled)
    remaining_s = progress.remaining_s
    eta = "" if remaining_s is None else f"  ETA {clock(remaining_s)}"
    return f"{progress.stage} [{bar}] {share:4.0%}  {speed}{eta}"


def clock(seconds: float) -> str:
    """``m:ss``, ``h:mm:ss`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
