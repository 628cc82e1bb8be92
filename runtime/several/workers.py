"""How many blocks of audio to work on at once."""

from __future__ import annotations

from ..session import Session

_CARDS = ("cuda", "tensorrt")


def workers_for(session: Session, threads: int | None = None) -> int:
    """Blocks under way at once: on cards one for each, elsewhere the session's ``concurrency``.

    A block fills a card; two on one would need twice the memory. On the CPU ``threads`` says it
    where it is given.
    """
    if session.plan.kind in _CARDS:
        return len(session.plan.parts) or 1
    return (threads if session.on_cpu else None) or session.concurrency


def regions_at_once(session: Session, workers: int) -> int:
    """Regions that workers may embed at once: on each card one, elsewhere half of the workers.

    Embedding takes most of the memory, and others have windows to segment meanwhile.
    """
    return workers if session.plan.kind in _CARDS else max(1, workers // 2)
