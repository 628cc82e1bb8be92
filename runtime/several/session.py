"""One session interface over several sessions."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..device_plan import DevicePlan
from ..errors import (
    DeviceError,
    InputError,
    OutOfMemoryError,
    SessionClosedError,
    VoxportError,
)
from ..inputs import Arrays
from ..session import Session
from ..synthetic import example_inputs
from .members import Member, Members

# Never a sign that the device is broken.
_NOT_THE_DEVICE = (InputError, OutOfMemoryError, SessionClosedError)


class SeveralSessions(Session):
    """An artifact on several devices, or in several sessions on one, behind one interface.

    A call goes to the session that is least busy, and waits while all are busy: each takes as many
    calls at once as its ``concurrency`` says. ``run_batched`` keeps all of them busy, with as many
    batches under way as they take together and one more collected, and returns in order.

    Batches have the size of the session that takes the smallest ones. Where a batch does not fit
    into one device's memory they are halved for all: any batch may go to any device.

    **A session that fails**, with an error that is neither the input's nor one of memory, is asked
    a synthetic question of one item, and the call goes to another one.

    - It fails that too: it is out of service, for good.
    - It answers, and another one answers the call: it was not the call's fault. It is out of
      service, unless it is the last one left.
    - It answers, and a second session fails the call and then answers the question as well (or
      there is no second one): the call's inputs are at fault. Its error is raised, and no session
      goes out of service for it.

    Being out of service is a warning of the logger ``voxport`` and in ``remarks``. With the last
    session goes the interface: its error is raised, with what was reported before. A device that
    hangs is not noticed.
    """

    def __init__(
        self, sessions: Sequence[Session], plan: DevicePlan, reports: Sequence[str] = ()
    ) -> None:
        """``sessions``: of one artifact, one or more, which are closed with this one; ``plan``:
        the common one; ``reports``: remarks on what is not as planned."""
        first = min(sessions, key=lambda session: session.batch_size)
        super().__init__(first.description, plan, first.identity, first._batch)
        self._members = Members(first.description.name, sessions)
        self._workers = sum(session._workers for session in sessions)
        self._warmup_calls = max(session._warmup_calls for session in sessions)
        self._everywhere = 0
        self._lock = threading.Lock()
        self.remarks = self._first_remarks = (
            *reports,
            *(f"{session.device}: {remark}" for session in sessions for remark in session.remarks),
        )

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Those in service."""
        return tuple(member.session for member in self._members.in_service)

    @property
    def concurrency(self) -> int:
        return sum(member.slots for member in self._members.in_service) or 1

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        with self._lock:
            self._everywhere += 1
        try:
            yield
        finally:
            with self._lock:
                self._everywhere -= 1

    def _compute(self, inputs: Arrays) -> Arrays:
        if self._everywhere and self.sessions:
            *_, outputs = [session._compute(inputs) for session in self.sessions]
            return outputs
        failed: dict[Member, VoxportError] = {}
        while (member := self._members.take(failed)) is not None:
            try:
                outputs = member.session._compute(inputs)
            except _NOT_THE_DEVICE:
                raise
            except VoxportError as error:
                failed[member] = error
                self._check(member, error)
            else:
                self._blame(failed, member)
                return outputs
            finally:
                self._members.give_back(member)
            if len(_sound(failed)) > 1:
                break
        raise self._verdict(failed) from next(reversed(failed.values()), None)

    def _check(self, member: Member, error: VoxportError) -> None:
        """Ask a session that failed what any sound one answers."""
        self._members.suspect(member, True)
        try:
            member.session._compute(example_inputs(self.description, self._batch.padded(1)))
        except _NOT_THE_DEVICE:
            pass  # that others need the memory says nothing of the device
        except VoxportError:
            self._retire(member, str(error))
        finally:
            self._members.suspect(member, False)

    def _blame(self, failed: Mapping[Member, VoxportError], answered: Member) -> None:
        for member, error in failed.items():
            self._retire(member, f"{error} ({answered} answered the same)", keep_last=True)

    def _retire(self, member: Member, report: str, *, keep_last: bool = False) -> None:
        self._members.retire(member, report, keep_last=keep_last)
        with self._lock:
            self.remarks = (*self._first_remarks, *self._members.reports)

    def _verdict(self, failed: Mapping[Member, VoxportError]) -> VoxportError:
        """What to raise for a call that nobody answered."""
        sound = _sound(failed)
        if sound:
            error = failed[sound[-1]]
            tried = " and ".join(map(str, sound))
            return type(error)(f"{error} (on {tried}, which answer other inputs)")
        return DeviceError(
            f"no session is left in service: {'; '.join(self._members.reports) or 'none'}"
        )

    def _release(self) -> None:
        self._members.close()
        for member in self._members.all:
            member.session.close()


def _sound(failed: Mapping[Member, VoxportError]) -> list[Member]:
    """Those that failed a call and answered the synthetic question."""
    return [member for member in failed if member.in_service]
