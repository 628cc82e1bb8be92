"""Devices that break, hang back or refuse what they are given, around ``FakeSession``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from fake_session import FakeSession
from voxport.runtime import VoxportError
from voxport.runtime.batching import BatchPlan
from voxport.runtime.inputs import Arrays
from voxport.runtime.onnx_session import CPU_PLAN
from voxport.runtime.several.session import SeveralSessions

POISON = 99.0
Samples = npt.NDArray[np.float32]


class FakeDevice(FakeSession):
    """y = 2 x on a card. ``seen`` are the first values of the rows of every call that began.

    Args:
        index: of the card.
        breaks_at: the call, from 0, with which it breaks for good; None: never.
        fails_at: calls that fail, though it is sound.
        refuses: this value in any row makes a call fail, though it is sound.
        hold: waited for within each call.
        delay_s: how long a call takes.
        calls_at_once: its concurrency.
    """

    def __init__(
        self,
        index: int = 0,
        *,
        breaks_at: int | None = None,
        fails_at: frozenset[int] = frozenset(),
        refuses: float | None = None,
        hold: threading.Event | None = None,
        delay_s: float = 0.0,
        calls_at_once: int = 1,
        batch: BatchPlan = BatchPlan(4),  # noqa: B008 -- frozen
        fits: int = 1000,
        on_call: Callable[[int], None] = lambda _: None,
    ) -> None:
        plan = replace(CPU_PLAN, requested="cuda:*", device=f"cuda:{index}")
        super().__init__(plan=plan, batch=batch, fits=fits, on_call=on_call)
        self.seen: list[list[float]] = []
        self.at_once = self.most_at_once = 0
        self.broken = False
        self._workers = calls_at_once
        self._breaks_at, self._fails_at, self._refuses = breaks_at, fails_at, refuses
        self._hold, self._delay_s = hold, delay_s
        self._lock = threading.Lock()

    def _compute(self, inputs: Arrays) -> Arrays:
        with self._lock:
            number = len(self.seen)
            self.seen.append([float(value) for value in inputs["x"][:, 0]])
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self._answer(inputs, number)
        finally:
            with self._lock:
                self.at_once -= 1

    def _answer(self, inputs: Arrays, number: int) -> Arrays:
        if self._hold is not None:
            assert self._hold.wait(10)
        time.sleep(self._delay_s)
        self.broken |= self._breaks_at is not None and number >= self._breaks_at
        if self.broken:
            raise VoxportError(f"{self.device} fell off the bus")
        if number in self._fails_at:
            raise VoxportError(f"{self.device} stumbled")
        if self._refuses is not None and self._refuses in inputs["x"]:
            raise VoxportError(f"{self.device} cannot divide by zero")
        return super()._compute(inputs)


def together(*devices: FakeDevice) -> SeveralSessions:
    parts = tuple(device.plan for device in devices)
    joined = "cuda:" + ",".join(device.device.partition(":")[2] for device in devices)
    return SeveralSessions(devices, replace(CPU_PLAN, device=joined, providers=(), parts=parts))


def items(count: int) -> list[Samples]:
    """Numbered from 1: a synthetic question has no such values."""
    return [np.full(2, number + 1, np.float32) for number in range(count)]


def batch(*values: float) -> Samples:
    return np.array([[value, value] for value in values], np.float32)


def answers(session: Any, count: int, **chosen: Any) -> list[float]:
    """The numbers of ``items(count)`` as they come out of a batched run."""
    return [float(output["y"][0]) / 2 for output in session.run_batched(items(count), **chosen)]


def until(condition: Callable[[], object]) -> None:
    """Wait for other threads to bring something about."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.0002)
