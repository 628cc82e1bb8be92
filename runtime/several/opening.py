"""Opening the sessions of a plan that has several."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..device_plan import DevicePlan
from ..errors import DeviceError, MissingDependencyError
from ..session import Session
from .requests import common_device
from .session import SeveralSessions

_LOG = logging.getLogger("voxport")


def opened_together(
    plan: DevicePlan, name: str, open_one: Callable[[DevicePlan], Session]
) -> Session:
    """One session over those of a plan's parts; the session itself where it is the only one.

    Where the plan is not strict, devices that fail are left out with a warning of the logger
    ``voxport`` and a remark. After an error no session stays open.

    Args:
        plan: with ``parts``.
        name: of the artifact, for the log.
        open_one: opens the session of one part.

    Raises:
        DeviceError: the plan is strict and a device cannot be used, or none of them can.
        VoxportError: whatever else ``open_one`` raises.
    """
    sessions: list[Session] = []
    try:
        reports = _opened(plan, name, open_one, sessions)
    except BaseException:
        for session in sessions:
            session.close()
        raise
    if not sessions:
        raise DeviceError("; ".join(reports))
    if len(sessions) > 1:
        return SeveralSessions(sessions, _common_plan(plan, sessions, reports), reports)
    (alone,) = sessions
    alone.remarks = (*alone.remarks, *reports)
    return alone


def _opened(
    plan: DevicePlan,
    name: str,
    open_one: Callable[[DevicePlan], Session],
    sessions: list[Session],
) -> list[str]:
    """Adds to ``sessions`` what could be opened; returns what was left out, and why."""
    reports = []
    for part in plan.parts:
        try:
            session = open_one(part)
        except (DeviceError, MissingDependencyError) as error:
            if plan.strict:
                raise
            reports.append(f"{part.device} was left out: {error}")
        else:
            if session.device == part.device:
                sessions.append(session)
                continue
            # Beside sound cards a session that fell back to the CPU would only hold them up.
            reports.append(f"{part.device} was left out: {'; '.join(session.remarks)}")
            session.close()
        _LOG.warning("%s: %s", name, reports[-1])
    return reports


def _common_plan(
    plan: DevicePlan, sessions: Sequence[Session], reports: Sequence[str]
) -> DevicePlan:
    """The plan as it came out."""
    if not reports:
        return plan
    return replace(
        plan,
        device=common_device([session.device for session in sessions]),
        parts=tuple(session.plan for session in sessions),
        reasons=(*reports, *plan.reasons),
        is_fallback=True,
    )
