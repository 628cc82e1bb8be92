"""What becomes of a recording: an answer, or why there is none. It goes between processes."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependencyError, VoxportError
from .files import Recording
from .progress_bar import ProgressBar

if TYPE_CHECKING:
    from ..audio_source import AudioSource

# Of a process that has used up what it has, whichever file it reads.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})


@dataclass(frozen=True)
class Answer:
    """What is to be given for a recording.

    Attributes:
        contents: by the ending of a file's name; text is printed where no folder was named.
        note: what people want to know of it, on standard error.
        record: what a corpus keeps of it besides the contents; JSON can hold it.
    """

    contents: Mapping[str, str | bytes]
    note: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)

    def named(self, recording: Recording) -> dict[str, str | bytes]:
        """The contents by the names of files."""
        return {f"{recording.stem}.{ending}": each for ending, each in self.contents.items()}


Work = Callable[[Recording, "AudioSource", ProgressBar], Answer]
# Makes the work, with its networks loaded; for other processes it must be picklable.
Opened = Callable[[], AbstractContextManager[Work]]


@dataclass(frozen=True)
class Outcome:
    """The end of the work on a recording; picklable.

    Attributes:
        recording: which one.
        answer: None if it failed.
        problem: why it failed, one line that begins with the recording's label.
        trace: of an error that nobody expected, a defect: the traceback's text.
        may_be_workers: the error may be of the process that worked on it: of a device, a server,
            memory, or one that nobody expected. Another process may do better.
    """

    recording: Recording
    answer: Answer | None
    problem: str = ""
    trace: str = ""
    may_be_workers: bool = False


def attempt(work: Work, recording: Recording, bar: ProgressBar) -> Outcome:
    """Do the work. Whatever is wrong with this recording is in the outcome, not raised."""
    try:
        with recording.opened() as audio:
            return Outcome(recording, work(recording, audio, bar))
    except Exception as error:
        return failure(recording, error)


def failure(recording: Recording, error: Exception) -> Outcome:
    """The outcome of an error; one that nobody expected is a defect of voxport, shown in full."""
    may_be_workers = not _is_recordings(error)
    if isinstance(error, VoxportError | OSError):
        return Outcome(recording, None, recording.problem(error), "", may_be_workers)
    what = f"unexpected {type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    return Outcome(recording, None, recording.problem(what), trace, may_be_workers)


def _is_recordings(error: Exception) -> bool:
    """Whether every process would raise it for this recording."""
    if isinstance(error, OSError):
        return error.errno not in _EXHAUSTED
    if isinstance(error, MissingDependencyError):
        # Its format asks for the package.
        return True
    # What is wrong with something given is a ValueError: audio, turns, options, arrays.
    return isinstance(error, VoxportError) and isinstance(error, ValueError)
