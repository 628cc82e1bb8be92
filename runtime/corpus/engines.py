"""Which engine works on a corpus, and how it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..errors import OptionsError
from ..recordings.files import Recording
from ..recordings.outcome import Opened, Outcome, attempt
from ..recordings.progress_bar import ProgressBar
from ..several.processors import allowed_cpus
from .dispatch import OnLost, outcomes

EngineName = Literal["local", "ray"]
Done = Callable[[Iterable[Recording]], Iterator[Outcome]]


@dataclass(frozen=True)
class Crew:
    """Workers that have been asked for: how many, and what gives the outcomes of recordings."""

    num_workers: int
    outcomes: Done


@dataclass(frozen=True)
class Engine:
    """How work is spread.

    Attributes:
        name: "local", this machine, or "ray".
        jobs: processes of the local engine; with one that takes one file at a time there is no
            process but this.
        files_at_once: recordings that each worker takes at the same time; None: 1, or what suits
            the work.
        address: of a Ray cluster, "auto" for the one that this machine belongs to; None starts
            one here.
        workers: of Ray; None: as many as the cluster has room for.
        cpus_per_worker: processors of each, of Ray.
        gpus_per_worker: cards of each, of Ray; 0.25 puts four workers on a card.

    Raises:
        OptionsError: a number that is out of range.
    """

    name: EngineName = "local"
    jobs: int = 1
    files_at_once: int | None = None
    address: str | None = None
    workers: int | None = None
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in ("local", "ray"):
            raise OptionsError(f"engine must be 'local' or 'ray', got {self.name!r:.40}")
        for name in ("jobs", "files_at_once", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionsError(f"{name} must be 1 or more, got {value}")
        for name in ("cpus_per_worker", "gpus_per_worker"):
            if not 0 <= getattr(self, name) < 1e6:
                raise OptionsError(f"{name} must be 0 or more, got {getattr(self, name)}")

    @property
    def at_once(self) -> int:
        """``files_at_once``, which is 1 unless somebody said otherwise."""
        return self.files_at_once or 1

    def threads_per_worker(self) -> int | None:
        """What a worker may use of this machine, or takes of a node; None for all there is."""
        if self.name == "ray":
            return max(1, int(self.cpus_per_worker))
        return max(1, len(allowed_cpus()) // self.jobs) if self.jobs > 1 else None

    def described(self) -> dict[str, Any]:
        """What concerns it, for a report."""
        own = ("jobs",) if self.name == "local" else tuple(asdict(self).keys() - {"jobs"})
        return {name: getattr(self, name) for name in sorted({"name", "files_at_once", *own})}

    @contextmanager
    def started(self, opened: Opened, on_lost: OnLost) -> Iterator[Crew]:
        """What gives the outcomes of recordings, as they end, while the block lasts.

        In this process an error that may be its own is a recording's as any other: there is no
        process to take its place.

        Raises:
            VoxportError: what ``opened()`` raises.
            WorkersError: no worker lives, or the engine is gone.
            MissingDependencyError: Ray is not installed.
        """
        if self.name == "local" and self.jobs == self.at_once == 1:
            with opened() as work:
                yield Crew(1, lambda given: (attempt(work, r, ProgressBar(None)) for r in given))
            return
        with closing(self._workers(opened)) as workers:
            yield Crew(workers.count, lambda given: outcomes(workers, given, on_lost))

    def _workers(self, opened: Opened) -> Any:
        if self.name == "local":
            from .processes import LocalProcesses  # noqa: PLC0415 -- only where there are several

            return LocalProcesses(opened, self.jobs, self.at_once)
        from .ray_workers import RayWorkers  # noqa: PLC0415 -- needs Ray

        return RayWorkers(
            opened,
            address=self.address,
            workers=self.workers,
            cpus_per_worker=self.cpus_per_worker,
            gpus_per_worker=self.gpus_per_worker,
            files_at_once=self.at_once,
        )
