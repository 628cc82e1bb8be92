"""Core ML packages in a diarizer, off a Mac: executed as stored, by voxport's own evaluator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from voxport.export.evaluator import Program, load_program
from voxport.runtime import loading
from voxport.runtime.batching import BatchPlan
from voxport.runtime.devices import DevicePlan
from voxport.runtime.environment import known_environment
from voxport.runtime.inputs import Arrays
from voxport.runtime.manifest import ArtifactRow
from voxport.runtime.session import Session


class EvaluatedSession(Session):
    """A stored Core ML program behind the interface of a session, executed window by window."""

    def __init__(self, folder: Path, row: ArtifactRow, plan: DevicePlan) -> None:
        super().__init__(row.description, plan, row.sha256, BatchPlan(1, (1,)))
        self._program: Program = load_program(folder / row.path)

    def _compute(self, inputs: Arrays) -> Arrays:
        outputs = self._program.run(inputs, "stored")
        return {
            spec.name: np.asarray(outputs[spec.name], spec.dtype)
            for spec in self.description.outputs
        }

    def _release(self) -> None:
        """It lives as long as the process."""


@contextmanager
def evaluated_packages() -> Iterator[None]:
    """Let ``device="coreml"`` load as on a Mac, with the evaluator in place of Apple's runtime.

    All else is what happens there, up to the question that the manifest holds for each package.
    """
    mac = replace(
        known_environment(),
        system="Darwin",
        machine="arm64",
        macos_version="15.1",
        coremltools_version="9.0",
    )

    def opened_package(
        folder: Path, row: ArtifactRow, *_: object, plan: DevicePlan
    ) -> EvaluatedSession:
        return EvaluatedSession(folder, row, plan)

    with (
        patch.object(loading, "require_macos", lambda: None),
        patch.object(loading, "known_environment", lambda: mac),
        patch.object(loading, "open_package", opened_package),
    ):
        yield
