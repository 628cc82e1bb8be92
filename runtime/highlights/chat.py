"""Chat activity: how many messages came when."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from ..errors import ChatError

# Beyond real files: a day of a thousand messages per second is 86 million, in far fewer rows.
_MAX_ROWS = 10_000_000
# Longer than any stream: a time in milliseconds shows here.
_MAX_TIME_S = 1e7
_MAX_COUNT = 1e9
_MAX_SHOWN = 60


@dataclass(frozen=True)
class ChatCounts:
    """Messages by the time at which they came.

    Attributes:
        times_s: (M,) float64, seconds from the start of the stream, 0 or more, in any order.
        counts: (M,) float64, messages at these times, 0 or more; those of equal times add up.

    Raises:
        ChatError: other shapes, or values that are out of range.
    """

    times_s: npt.NDArray[np.float64]
    counts: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.times_s.ndim != 1 or self.times_s.shape != self.counts.shape:
            raise ChatError(
                f"chat: expected as many counts as times, got shapes {self.times_s.shape} and "
                f"{self.counts.shape}"
            )
        # NaN compares as False.
        if not ((self.times_s >= 0) & (self.times_s <= _MAX_TIME_S)).all():
            raise ChatError(f"chat: times must be from 0 to {_MAX_TIME_S:g} seconds")
        if not ((self.counts >= 0) & (self.counts <= _MAX_COUNT)).all():
            raise ChatError(f"chat: counts must be from 0 to {_MAX_COUNT:g}")

    @classmethod
    def of_messages(cls, times_s: npt.ArrayLike) -> ChatCounts:
        """One message at each of these times.

        Raises:
            ChatError: times that are out of range.
        """
        times = np.atleast_1d(np.asarray(times_s, np.float64))
        return cls(times, np.ones_like(times))

    def per_frame(self, num_frames: int, hop_s: float) -> npt.NDArray[np.float32]:
        """(num_frames,) messages from the start of each frame to that of the next.

        What came later than the last frame's hop is left out.
        """
        # What is at the start of a frame but for rounding belongs to it: 0.3 / 0.1 is below 3.
        frames = np.floor(self.times_s / hop_s + 1e-6)
        within = frames < num_frames
        counts = np.bincount(
            frames[within].astype(np.int64), self.counts[within], minlength=num_frames
        )
        return counts.astype(np.float32)


NO_CHAT = ChatCounts(np.zeros(0), np.zeros(0))


def read_chat(source: str | os.PathLike[str] | TextIO) -> ChatCounts:
    """Read CSV with rows ``time_s,count``, in any order; seconds without a row have no message.

    A header is skipped if its first row has one, and so are blank lines. Rows of one time add up.
    An empty file is a chat in which nobody wrote.

    Raises:
        ChatError: a file that cannot be read, or a row with other columns, or with a number that
            is not finite, negative or out of range; the message names the line.
    """
    name = _name(source)
    try:
        if isinstance(source, str | os.PathLike):
            with Path(source).open(encoding="utf-8-sig", newline="") as file:
                rows = list(_rows(file, name))
        else:
            rows = list(_rows(source, name))
    except ChatError:
        raise
    except OSError as error:
        raise ChatError(f"{name}: cannot be read: {error.strerror or error}") from error
    # A zero byte in the path, bytes that are no text, a field beyond the reader's limit.
    except (ValueError, csv.Error) as error:
        raise ChatError(f"{name}: is not CSV: {error}") from error
    table = np.array(rows, np.float64).reshape(-1, 2)
    return ChatCounts(table[:, 0].copy(), table[:, 1].copy())


def _name(source: object) -> str:
    if isinstance(source, str | os.PathLike):
        return str(os.fspath(source))
    return str(getattr(source, "name", "chat"))


def _rows(file: TextIO, name: str) -> Iterator[tuple[float, float]]:
    reader = csv.reader(file)
    count = 0
    for cells in reader:
        place = f"{name}:{reader.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        count += 1
        if count == 1 and not any(map(_is_number, cells)):
            continue  # a header
        if count > _MAX_ROWS:
            raise ChatError(f"{place}: more than {_MAX_ROWS} rows; sum them by the second")
        if len(cells) != 2:
            raise ChatError(f"{place}: expected time_s,count, got {_shown(cells)}")
        time_s = _number(cells[0], "time_s", _MAX_TIME_S, place)
        yield time_s, _number(cells[1], "count", _MAX_COUNT, place)


def _shown(cells: list[str]) -> str:
    return ascii(",".join(cells))[:_MAX_SHOWN]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, column: str, most: float, place: str) -> float:
    value = float(cell) if _is_number(cell) else math.nan
    if not 0 <= value <= most:
        raise ChatError(
            f"{place}: {column} must be a number from 0 to {most:g}, got {_shown([cell])}"
        )
    return value
