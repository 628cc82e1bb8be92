"""Run an artifact on an inference server: Triton, or whatever else speaks KServe v2."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..batching import BatchPlan, is_batched
from ..devices import DevicePlan
from ..errors import ArtifactError, ServerError, VoxportError
from ..inputs import Arrays
from ..manifest import ArtifactRow, TensorSpec
from ..options import DEFAULT_OPTIONS, Options
from ..session import Session
from .address import parse_address
from .client import connect
from .failures import Kind, RequestError
from .metadata import BINARY_EXTENSION, CONFIG_EXTENSION, Config, check_tensors, extensions
from .names import model_name
from .retries import Retries

_Answer = TypeVar("_Answer")
# Items per request: enough that a request's own costs are small beside them, few enough that a
# dynamic batcher can put those of several clients together.
BATCH_SIZE = 8
# Requests under way: while one is computed, others are on their way there and back.
_AT_ONCE = 4
_POLL_S = 0.25


class ServerSession(Session):
    """An artifact on an inference server.

    Attributes:
        model: its name there.
    """

    _workers = _AT_ONCE

    def __init__(
        self, row: ArtifactRow, plan: DevicePlan, options: Options = DEFAULT_OPTIONS
    ) -> None:
        """Find the model on the server that ``plan.device`` names, and compare what it says of
        itself with the manifest's row. What it computes is not looked at: ``check_probe`` does.

        Raises:
            ArtifactError: the server has another model of that name, or none.
            ServerError: the server does not answer, or its model does not become ready in time.
            MissingDependencyError: tritonclient is not installed.
        """
        self.model = model_name(row.name, row.precision)
        self._retries = Retries(plan.device, options)
        self._client = connect(parse_address(plan.device), options.request_timeout_s, _AT_ONCE)
        try:
            can = extensions(self._asked(self._client.server_metadata))
            self._await_model(plan.device, options.request_timeout_s)
            config = self._config(row, f"{plan.device}, model {self.model}", can)
        except BaseException:
            self._client.close()
            raise
        self._client.binary = BINARY_EXTENSION in can
        self._most = config.max_batch_size
        batch = BatchPlan(BATCH_SIZE, options.batch_buckets, pads=True)
        super().__init__(row.description, plan, row.sha256, batch)
        self._batch = self._planned(BATCH_SIZE) if is_batched(row.description) else BatchPlan(1)

    def _await_model(self, server: str, timeout_s: float) -> None:
        """Return when the model is ready; a server that is ready without it will not have it."""
        deadline = time.monotonic() + timeout_s
        while not self._is_ready():
            if self._asked(self._client.server_ready) and not self._is_ready():
                raise ArtifactError(
                    f"{server} has no model {self.model}, or could not load it (its log tells): "
                    "serve what `voxport export --triton` writes"
                )
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{server}: its model {self.model} was not ready within {timeout_s:g} s; its "
                    "log may tell why, and a higher request_timeout_s waits for longer"
                )
            self._retries.pause(_POLL_S)

    def _is_ready(self) -> bool:
        def ask() -> bool:
            try:
                return self._client.model_ready(self.model)
            except RequestError as failure:
                # Servers refuse to tell of what they do not have, each with words of its own.
                if failure.kind in (Kind.AWAY, Kind.REFUSED):
                    return False
                raise

        return self._asked(ask)

    def _config(self, row: ArtifactRow, where: str, can: frozenset[str]) -> Config:
        """What the server tells of its model, which must be the artifact."""
        metadata = self._asked(lambda: self._client.model_metadata(self.model))
        check_tensors(row, metadata, where)
        if CONFIG_EXTENSION not in can:
            return Config()
        config = Config.of(self._asked(lambda: self._client.model_config(self.model)))
        config.check(row, where)
        return config

    def _asked(self, ask: Callable[[], _Answer]) -> _Answer:
        return self._retries(self.model, ask)

    def _planned(self, size: int) -> BatchPlan:
        return super()._planned(size if self._most is None else min(size, self._most))

    def _compute(self, inputs: Arrays) -> Arrays:
        names = [spec.name for spec in self.description.outputs]
        found = self._asked(lambda: self._client.infer(self.model, inputs, names))
        sizes = {
            axis: size
            for spec in self.description.inputs
            for axis, size in zip(spec.axes, inputs[spec.name].shape, strict=True)
            if isinstance(axis, str)
        }
        return {spec.name: _output(spec, found, sizes) for spec in self.description.outputs}

    def _release(self) -> None:
        self._retries.close()
        self._client.close()


def _output(spec: TensorSpec, found: Arrays, sizes: Mapping[str, int]) -> npt.NDArray[Any]:
    """An output as a writable array of its own; ``sizes`` of the axes that an input has too."""
    value = found[spec.name]
    expected = [axis if isinstance(axis, int) else sizes.get(axis) for axis in spec.axes]
    fits = value.ndim == len(expected) and all(
        size in (None, actual) for size, actual in zip(expected, value.shape, strict=True)
    )
    if not fits or value.dtype != np.dtype(spec.dtype):
        raise VoxportError(f"the server gave {value.dtype}{list(value.shape)} for {spec}")
    return np.array(value, order="C")
