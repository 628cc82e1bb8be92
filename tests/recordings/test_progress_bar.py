"""The line on a terminal that says how far the work is."""

from __future__ import annotations

import io

import pytest
from voxport.runtime.diarization import Progress
from voxport.runtime.recordings import progress_bar


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
        (
            Progress("embedding", 900, 3600, 90),
            "embedding [#####---------------]  25%  10.0x  ETA 4:30",
        ),
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
