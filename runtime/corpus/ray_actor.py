"""What runs in each actor of a Ray cluster."""

from __future__ import annotations

import os
import pickle
import threading
from importlib.metadata import version

from ..errors import VoxportError, WorkersError
from ..recordings.files import Recording
from ..recordings.outcome import Outcome
from .held import Held


class RayWorker:
    """The actor: a process somewhere that holds one opened work.

    ``opened`` comes pickled, and is made here: what is wrong with it is then an answer, which says
    more than an actor that could not be created.
    """

    def __init__(self, opened: bytes, drivers_version: str, takes_gpus: bool) -> None:
        self._opened = opened
        self._drivers_version = drivers_version
        self._takes_gpus = takes_gpus
        self._held: Held | None = None

    def start(self) -> VoxportError | None:
        """Open the work; what it raised on purpose."""
        own = version("voxport")
        if own != self._drivers_version:
            return WorkersError(
                f"a node of the cluster has voxport {own}, this machine {self._drivers_version}: "
                "results would differ; install the same version on all nodes"
            )
        if not self._takes_gpus:
            # Ray leaves all cards visible to those who asked for none.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        try:
            self._held = Held(pickle.loads(self._opened))  # noqa: S301 -- of our own driver
        except VoxportError as error:
            return error
        return None

    def attempt(self, recording: Recording) -> Outcome:
        if self._held is None:
            raise WorkersError("a recording was handed to a worker that has not started")
        return self._held.attempt(recording)

    def stay(self) -> None:
        """Never return: the call fails when the actor dies, however idle it is."""
        threading.Event().wait()
