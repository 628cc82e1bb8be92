"""Sessions that take calls in turn: who is free, who is out of service, and why."""

from __future__ import annotations

import logging
import threading
from collections.abc import Container, Sequence
from dataclasses import dataclass

from ..errors import SessionClosedError
from ..session import Session

_LOG = logging.getLogger("voxport")


@dataclass(eq=False)
class Member:
    """A session and how it stands.

    Attributes:
        session: what runs.
        slots: calls that it may have under way at once.
        busy: calls that it has.
        taken: calls that it has had.
        in_service: it takes calls.
        suspect: it is being checked, and takes none meanwhile.
    """

    session: Session
    slots: int
    busy: int = 0
    taken: int = 0
    in_service: bool = True
    suspect: bool = False

    def __str__(self) -> str:
        return self.session.device


class Members:
    """Hands calls to whichever session is free; its methods may be called from any thread."""

    def __init__(self, name: str, sessions: Sequence[Session]) -> None:
        """``name``: of the artifact, for the log."""
        self._name = name
        self.all = tuple(Member(session, session.concurrency) for session in sessions)
        self.reports: tuple[str, ...] = ()
        self._changed = threading.Condition()
        self._closed = False

    @property
    def in_service(self) -> list[Member]:
        return [member for member in self.all if member.in_service]

    def take(self, tried: Container[Member]) -> Member | None:
        """The least busy session that is free, waited for if all are busy.

        Of equally busy ones that with the fewest calls so far: one call at a time goes round.
        ``tried`` are not asked again. None if no other one is in service.

        Raises:
            SessionClosedError: they were closed.
        """
        with self._changed:
            while not self._closed:
                candidates = [member for member in self.in_service if member not in tried]
                if not candidates:
                    return None
                ready = [each for each in candidates if not each.suspect and each.busy < each.slots]
                if ready:
                    chosen = min(ready, key=lambda each: (each.busy / each.slots, each.taken))
                    chosen.busy += 1
                    chosen.taken += 1
                    return chosen
                self._changed.wait()
        raise SessionClosedError("the session was closed")

    def give_back(self, member: Member) -> None:
        """A call of this session has ended."""
        with self._changed:
            member.busy -= 1
            self._changed.notify_all()

    def suspect(self, member: Member, suspected: bool) -> None:
        with self._changed:
            member.suspect = suspected
            self._changed.notify_all()

    def retire(self, member: Member, report: str, *, keep_last: bool = False) -> None:
        """Take a session out of service, with a warning; with ``keep_last`` not the last one."""
        with self._changed:
            if not member.in_service or (keep_last and len(self.in_service) == 1):
                return
            member.in_service = False
            self.reports = (*self.reports, f"{member} is out of service: {report}")
            self._changed.notify_all()
        _LOG.warning("%s: %s is out of service: %s", self._name, member, report)

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
