"""What runs an artifact on numpy arrays, whatever the engine behind it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from .batching import Batcher, BatchPlan, Item, batch_plan, is_batched
from .closing import Closing
from .device_plan import DevicePlan, device_kind
from .errors import OutOfMemoryError, SessionClosedError, VoxportError
from .inputs import Arrays, checked_inputs
from .manifest import Description
from .several.shared_calls import SharedCalls
from .synthetic import example_inputs


class Session(Closing):
    """A loaded artifact. Close it, or use it as a context manager, to give its memory back.

    Calls do not share state, so one session may serve several threads.

    Attributes:
        description: its inputs, outputs and recipe.
        plan: where it was meant to run, and why.
        device: where it runs: "cpu", "cuda:0", "coreml"; see ``DevicePlan``.
        remarks: what is not as planned; empty if all is.
        identity: what tells artifacts apart: the SHA-256 of the file or package.
        batch_size: items per call of ``run_batched``.
    """

    # Batches of ``run_batched`` under way at once: two where copies to a card overlap with
    # computing on it.
    _workers = 1
    # Calls of a shape until it is as fast as it will be.
    _warmup_calls = 1

    def __init__(
        self, description: Description, plan: DevicePlan, identity: str, batch: BatchPlan
    ) -> None:
        self.description = description
        self.plan = plan
        self.device = plan.device
        self.remarks: tuple[str, ...] = ()
        self.identity = identity
        self._batch = batch
        self._shared: SharedCalls | None = None
        self._closed = False

    @property
    def batch_size(self) -> int:
        return self._batch.size

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on this machine's processors, in one session or several."""
        return device_kind(self.device) == "cpu"

    @property
    def concurrency(self) -> int:
        """Calls that are worth having under way at once: more only wait for each other.

        On the CPU as many as its threads leave room for, one for a session of all cores; two on a
        card, where copies overlap with computing; the sum for several sessions.
        """
        return self._workers

    def run(self, **arrays: Any) -> Arrays:
        """Run the graph on named numpy arrays; returns its outputs by name.

        Dtypes must match exactly (nothing is cast silently) and values must be finite. The outputs
        are the caller's: no later call changes them.

        Raises:
            InputError: names, dtypes, shapes or values do not fit the declared inputs.
            OutOfMemoryError: the call does not fit into the device's memory.
            SessionClosedError: the session was closed.
            VoxportError: the graph failed although its inputs are as declared.
        """
        if self._closed:
            raise SessionClosedError(f"{self.description.name}: the session was closed")
        inputs = checked_inputs(self.description, arrays)
        try:
            return self._compute(inputs) if self._shared is None else self._shared(inputs)
        except VoxportError as error:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise type(error)(f"{self.description.name} failed on {shapes}: {error}") from error

    def run_batched(
        self,
        items: Iterable[Item],
        *,
        batch_size: int | None = None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Iterator[Arrays]:
        """Run any number of items, in batches of fixed sizes with a padded tail.

        Args:
            items: dicts of input arrays without their batch axis, or plain arrays for an artifact
                with one input. Taken as they are needed, a batch ahead of the one that runs.
            batch_size: items per call, instead of ``self.batch_size``.
            around: entered around each call, on the thread that makes it, such as a stopwatch.

        Returns:
            An iterator over the outputs of each item by name, without batch axis, in order. Out of
            memory halves the batch, for good, with a warning of the logger ``voxport``; no item is
            lost.

        Raises:
            InputError: the artifact has no batch axis, or, while iterating, an item does not fit.
            OutOfMemoryError: a single item does not fit into memory.
        """
        wanted = self._batch.size if batch_size is None else batch_size
        plan = self._planned(wanted)

        def run(inputs: Arrays) -> Arrays:
            with around():
                return self.run(**inputs)

        batcher = Batcher(self.description, run, plan, workers=self._workers)
        return self._batched(batcher, items, remember=batch_size is None)

    def _batched(
        self, batcher: Batcher, items: Iterable[Item], *, remember: bool
    ) -> Iterator[Arrays]:
        try:
            yield from batcher.outputs(items)
        finally:
            if remember and batcher.plan.size < self._batch.size:
                self._batch = batcher.plan

    def warmup(self, batch_sizes: Iterable[int] | None = None) -> Self:
        """Run synthetic inputs in each batch size, so that no later call is a first one.

        Args:
            batch_sizes: by default the sizes that ``run_batched`` uses.
        """
        sizes = self._batch.call_sizes() if batch_sizes is None else batch_sizes
        with self.everywhere():
            for size in sizes:
                inputs = example_inputs(self.description, size)
                for _ in range(self._warmup_calls):
                    self.run(**inputs)
        return self

    def optimize_for_gpu(self, batch_size: int | None = None) -> Self:
        """Use this batch size, or the automatic one, and warm up; on the CPU without warming up.

        Raises:
            InputError: the artifact does not take that batch.
        """
        if batch_size is not None:
            self.use_batch_size(batch_size)
        return self if self.on_cpu else self.warmup()

    def everywhere(self) -> AbstractContextManager[None]:
        """Calls within it run on every device behind the session, which warms all of them up."""
        return nullcontext()

    def share_calls(self) -> Self:
        """Put calls of several threads together; see ``Options.batch_across_calls``.

        Nothing changes for an artifact in which not everything has a batch axis.
        """
        if is_batched(self.description):
            self._shared = SharedCalls(
                self.description, self._compute, lambda: self._batch, lambda: self.concurrency
            )
        return self

    def use_batch_size(self, batch_size: int) -> Self:
        """Let ``run_batched`` use this batch size from now on.

        Raises:
            InputError: the artifact does not take it.
        """
        self._batch = self._planned(batch_size)
        return self

    def _planned(self, size: int) -> BatchPlan:
        return batch_plan(size, self.description, self._batch.buckets, pads=self._batch.pads)

    @abstractmethod
    def _compute(self, inputs: Arrays) -> Arrays:
        """Outputs by name for inputs that have been checked; raises VoxportError."""

    @abstractmethod
    def _release(self) -> None:
        """Give back what the session holds."""

    def close(self) -> None:
        """Give back the session's memory; it cannot run any more. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._release()

    def __repr__(self) -> str:
        inputs, outputs = (
            ", ".join(map(str, specs))
            for specs in (self.description.inputs, self.description.outputs)
        )
        name, precision = self.description.name, self.description.precision
        return f"<{name} {precision} on {self.device}: ({inputs}) -> ({outputs})>"


def memory_error(message: str) -> OutOfMemoryError | None:
    """The typed error for an engine's message, if it is about memory."""
    lowered = message.lower()
    if any(sign in lowered for sign in _MEMORY_SIGNS):
        return OutOfMemoryError(f"out of memory: {message[:300]}")
    return None


# Of ONNX Runtime's arena, CUDA, cuDNN and cuBLAS, C++ and numpy.
_MEMORY_SIGNS = (
    "out of memory",
    "failed to allocate memory",
    "is smaller than requested bytes",
    "alloc_failed",
    "allocation_failed",
    "bad_alloc",
    "bad allocation",
    "unable to allocate",
)
