"""y = 2 x: as a session without an engine, in a memory that holds a given number of items; and as
a graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tiny_artifacts
from onnx import helper
from voxport.runtime import Description, OutOfMemoryError, Session, TensorSpec
from voxport.runtime.batching import BatchPlan
from voxport.runtime.devices import DevicePlan
from voxport.runtime.inputs import Arrays
from voxport.runtime.onnx_session import CPU_PLAN

DOUBLING = tiny_artifacts.description(
    "doubling",
    [TensorSpec("x", "float32", ("batch", 2))],
    [TensorSpec("y", "float32", ("batch", 2))],
)


class FakeSession(Session):
    """``sizes`` lists the batch of every call; ``on_call`` is told it before the answer."""

    def __init__(
        self,
        description: Description = DOUBLING,
        *,
        plan: DevicePlan = CPU_PLAN,
        identity: str = "abc",
        batch: BatchPlan = BatchPlan(8),  # noqa: B008 -- frozen
        fits: int = 1000,
        on_call: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__(description, plan, identity, batch)
        self.sizes: list[int] = []
        self.released = 0
        self._fits, self._on_call = fits, on_call

    def _compute(self, inputs: Arrays) -> Arrays:
        (x,) = inputs.values()
        self.sizes.append(len(x))
        self._on_call(len(x))
        if len(x) > self._fits:
            raise OutOfMemoryError("the card is full")
        return {self.description.outputs[0].name: np.asarray(2 * x)}

    def _release(self) -> None:
        self.released += 1


def twice() -> bytes:
    """y = 2 x: (batch, 3) -> (batch, 3)."""
    described = tiny_artifacts.description(
        "twice",
        [TensorSpec("x", "float32", ("batch", 3))],
        [TensorSpec("y", "float32", ("batch", 3))],
    )
    return tiny_artifacts.graph(described, [helper.make_node("Add", ["x", "x"], ["y"])])
