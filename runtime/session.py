"""What runs an artifact on numpy arrays, whatever the engine behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from .errors import VoxportError
from .inputs import Arrays, checked_inputs
from .manifest import Description


class Session(ABC):
    """A loaded artifact.

    ``description`` tells its inputs, outputs and recipe; ``device`` where it runs. Calls do not
    share state, so one session may serve several threads.
    """

    def __init__(self, description: Description, device: str) -> None:
        self.description = description
        self.device = device

    def run(self, **arrays: Any) -> Arrays:
        """Run the graph on named numpy arrays; returns its outputs by name.

        Dtypes must match exactly (nothing is cast silently) and values must be finite.

        Raises:
            InputError: names, dtypes, shapes or values do not fit the declared inputs.
            VoxportError: the graph failed although its inputs are as declared.
        """
        inputs = checked_inputs(self.description, arrays)
        try:
            return self._compute(inputs)
        except VoxportError as error:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise VoxportError(f"{self.description.name} failed on {shapes}: {error}") from error

    @abstractmethod
    def _compute(self, inputs: Arrays) -> Arrays:
        """Outputs by name for inputs that have been checked; raises VoxportError."""

    def __repr__(self) -> str:
        inputs, outputs = (
            ", ".join(map(str, specs))
            for specs in (self.description.inputs, self.description.outputs)
        )
        name, precision = self.description.name, self.description.precision
        return f"<{name} {precision} on {self.device}: ({inputs}) -> ({outputs})>"
