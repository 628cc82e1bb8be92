"""What every worker holds, whichever engine started it."""

from __future__ import annotations

from contextlib import ExitStack

from ..closing import Closing
from ..recordings.files import Recording
from ..recordings.outcome import Opened, Outcome, attempt
from ..recordings.progress_bar import ProgressBar


class Held(Closing):
    """An opened work, entered once and used for many recordings, from several threads too.

    Raises:
        VoxportError: what ``opened()`` raises.
    """

    def __init__(self, opened: Opened) -> None:
        self._stack = ExitStack()
        self._work = self._stack.enter_context(opened())

    def attempt(self, recording: Recording) -> Outcome:
        """Do the work; whatever is wrong with this recording is in the outcome."""
        # Nobody watches a worker: its bar draws nothing.
        return attempt(self._work, recording, ProgressBar(None))

    def close(self) -> None:
        """Give back the networks."""
        self._stack.close()
