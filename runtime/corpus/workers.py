"""What an engine must offer: workers that take recordings, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ..errors import VoxportError
from ..recordings.files import Recording
from ..recordings.outcome import Outcome


@dataclass(frozen=True)
class Started:
    """A worker holds its opened work and can be given recordings."""

    worker: int


@dataclass(frozen=True)
class Finished:
    """A worker is done with a recording, whatever came of it."""

    worker: int
    ticket: int
    outcome: Outcome


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with all that it had under way: a process died, a node, ``opened()``.

    Attributes:
        worker: which one. After this it tells nothing until it is restarted.
        reason: one line, e.g. "killed by SIGKILL".
        error: what ``opened()`` raised on purpose.
        is_given_up: it is not started again. Engines leave that to whoever hands out recordings.
    """

    worker: int
    reason: str
    error: VoxportError | None = None
    is_given_up: bool = False


Event: TypeAlias = Started | Finished | Lost


class Workers(Protocol):
    """Processes somewhere, each holding one opened work for as long as it lives.

    They start by themselves. ``Finished`` of a worker comes before its ``Lost``; what was handed
    to a lost worker and not finished is gone, and the caller knows what that was.
    """

    @property
    def count(self) -> int:
        """Workers are numbered 0 to count - 1."""

    @property
    def files_at_once(self) -> int:
        """Recordings that a worker takes at the same time."""

    def submit(self, worker: int, ticket: int, recording: Recording) -> None:
        """Hand a recording to a worker that has started; never blocks for its work.

        A worker that has died meanwhile is no error here: its ``Lost`` follows.
        """

    def next_event(self) -> Event:
        """Block until something happens.

        Raises:
            WorkersError: the engine as a whole is gone, or no worker can ever start.
        """

    def restart(self, worker: int) -> None:
        """Begin to start a worker again; at once, without waiting for it.

        One that lives is killed first, whatever it has under way, and tells nothing more.
        """

    def stop(self, worker: int) -> None:
        """End a worker, if it lives; it tells nothing more."""

    def close(self) -> None:
        """End all workers, whatever they have under way; may be called twice."""
