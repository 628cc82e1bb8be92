"""What people see of a run: a line on a terminal, and failures as they happen."""

from __future__ import annotations

import sys

from ..recordings.progress_bar import ProgressBar, clock
from .report import CorpusReport, Tally
from .workers import Lost


class Display:
    """The ``Watcher`` of a command line; only failures where it is ``quiet``."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar = ProgressBar(sys.stderr if sys.stderr.isatty() and not quiet else None)

    def ended(self, tally: Tally, total: int) -> None:
        self._bar.show(described(tally, total))

    def failed(self, problem: str, trace: str) -> None:
        self._bar.clear()
        sys.stderr.write(f"{trace}voxport: {problem}\n")

    def lost(self, lost: Lost) -> None:
        self._bar.clear()
        end = "; it is given up" if lost.is_given_up else ""
        sys.stderr.write(f"voxport: worker {lost.worker}: {lost.reason}{end}\n")

    def concluded(self, report: CorpusReport) -> None:
        """How many were done and how many were not, how fast, and how well."""
        self._bar.clear()
        if not self._quiet:
            sys.stderr.write(f"{summarised(report)}\n")


def described(tally: Tally, total: int) -> str:
    """Files, hours, speed, time to go and failures of a run that goes on."""
    worked = tally.num_done + tally.num_failed
    left = total - tally.num_ended
    parts = [
        f"{tally.num_ended}/{total} files",
        f"{tally.audio_s / 3600:.1f} h",
        f"{tally.audio_s / max(tally.elapsed_s, 1e-9):.1f}x",
    ]
    if worked and left:
        parts.append(f"ETA {clock(tally.elapsed_s / worked * left)}")
    if tally.num_failed:
        parts.append(f"{tally.num_failed} failed")
    return "  ".join(parts)


def summarised(report: CorpusReport) -> str:
    """A run in a line."""
    counts = {
        "done": report.num_done,
        "done before": report.num_skipped,
        "failed": report.num_failed,
        "not done": report.num_not_done,
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count or what == "done"]
    hours = f"{report.audio_s / 3600:.2f} h at {report.rtfx:.1f}x"
    error = "" if report.score is None else f", DER {report.score.der:.1%}"
    return f"{', '.join(parts)}; {hours}{error}"
