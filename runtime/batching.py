"""Batches: how many windows go into one call, and what happens where they do not fit."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InputError, OutOfMemoryError
from .inputs import Arrays
from .manifest import Description, TensorSpec

_LOG = logging.getLogger("voxport")
BATCH = "batch"
_GIB = 2**30
# Windows per call by the memory of a card. A card of "24 GB" reports a little less than 24 GiB.
CUDA_BATCH_SIZES = ((22 * _GIB, 64), (11 * _GIB, 32), (7 * _GIB, 16), (0, 8))
# On the CPU larger batches gain nothing (ONNX Runtime, 2 cores: 15 ms per window at batch 1, 9.4
# from 8 to 32) and cost memory.
CPU_BATCH_SIZE = 8

Run = Callable[[Arrays], Arrays]
# What run_batched takes one of: the inputs by name, or the array of an artifact with one input.
Item = Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any]


def cuda_batch_size(memory_bytes: int) -> int:
    """Windows per call for a card: 24 GB and more: 64, 12: 32, 8: 16, less: 8."""
    return next(size for least, size in CUDA_BATCH_SIZES if memory_bytes >= least)


@dataclass(frozen=True)
class BatchPlan:
    """How items are put together.

    Attributes:
        size: items per call.
        buckets: the sizes that calls may have, ascending; a smaller batch is padded with zeros
            to the next one. None: any size.
        pads: without buckets, pad a smaller batch to the next power of two, or to ``size``: on a
            card each new shape costs a search for algorithms and buffers of its own.
    """

    size: int
    buckets: tuple[int, ...] | None = None
    pads: bool = False

    def padded(self, count: int) -> int:
        """The size of the call for ``count`` items, 1 to ``size``."""
        if self.buckets is not None:
            return next((bucket for bucket in self.buckets if bucket >= count), self.buckets[-1])
        return min(self.size, 1 << (count - 1).bit_length()) if self.pads else count

    def call_sizes(self) -> tuple[int, ...]:
        """The sizes of calls to be ready for, ascending."""
        if self.buckets is None and not self.pads:
            return (self.size,)  # and a tail of whatever size
        return tuple(sorted({self.padded(count) for count in range(1, self.size + 1)}))

    def halved(self) -> BatchPlan | None:
        """The next smaller plan; None if there is none."""
        smaller = [b for b in self.buckets or (self.size // 2,) if 0 < b < self.size]
        return replace(self, size=max(smaller)) if smaller else None


def is_batched(description: Description) -> bool:
    """Whether everything in an artifact has a batch axis."""
    return all(BATCH in spec.axes for spec in (*description.inputs, *description.outputs))


def batch_plan(
    size: int,
    description: Description,
    buckets: tuple[int, ...] | None = None,
    *,
    pads: bool = False,
) -> BatchPlan:
    """A plan within the sizes that an artifact takes.

    Args:
        size: items per call that are wanted; taken down to the next bucket.
        description: of the artifact; where its format fixes batch sizes, these are the buckets.
        buckets: wanted by the user, or None.
        pads: see ``BatchPlan``.

    Raises:
        InputError: not everything in the artifact has a batch axis, it does not take a bucket, or
            ``size`` is no size.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InputError(
            f"{description.name}: a batch size is a whole number from 1, got {size!r:.80}"
        )
    without = [
        spec.name for spec in (*description.inputs, *description.outputs) if BATCH not in spec.axes
    ]
    if without:
        raise InputError(
            f"{description.name}: nothing can be batched, {', '.join(without)} have no batch axis"
        )
    fixed = description.sizes.get(BATCH)
    if fixed and buckets and not set(buckets) <= set(fixed):
        raise InputError(f"{description.name}: takes batches of {fixed}, not of {buckets}")
    allowed = tuple(sorted(buckets or fixed or ())) or None
    if allowed:
        size = max((bucket for bucket in allowed if bucket <= size), default=allowed[0])
    return BatchPlan(size, allowed, pads)


class Batcher:
    """Runs items in batches, in order; a batch that does not fit into memory is halved.

    While batches run, the next one is collected, so that whoever makes the items (reads audio,
    cuts windows) works at the same time.
    """

    def __init__(
        self, description: Description, run: Run, plan: BatchPlan, *, workers: int = 1
    ) -> None:
        """``run``: runs one batch, raises OutOfMemoryError where it does not fit; ``workers``:
        batches under way at once, more than one where copies and computation overlap."""
        self._description, self._run, self._workers = description, run, workers
        self._lock = threading.Lock()
        self.plan = plan

    def outputs(self, items: Iterable[Item]) -> Iterator[Arrays]:
        """The outputs of each item, without batch axis, in order, as they come.

        One batch more than there are workers is held at most. Once halved, batches stay small.
        An error, of ``items`` too, comes as soon as it is known: outputs of batches that are
        under way are lost.

        Raises:
            InputError: an item is not what the artifact takes.
            OutOfMemoryError: a single item does not fit.
        """
        waiting = iter(items)
        pending: deque[Future[list[Arrays]]] = deque()
        pool = ThreadPoolExecutor(self._workers, "voxport-batch")
        try:
            while batch := list(islice(waiting, self.plan.size)):
                pending.append(pool.submit(self._batch, [self._named(item) for item in batch]))
                if len(pending) > self._workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            # Whoever stops early does not wait for batches that have not begun.
            pool.shutdown(cancel_futures=True)

    def _batch(self, items: list[Arrays]) -> list[Arrays]:
        done: list[Arrays] = []
        while len(done) < len(items):
            plan = self.plan
            part = items[len(done) : len(done) + plan.size]
            size = plan.padded(len(part))
            try:
                outputs = self._run(self._stacked(part, size))
            except OutOfMemoryError as error:
                self._shrink(plan, size, error)
                continue
            done += _split(self._description, outputs, len(part))
        return done

    def _shrink(self, plan: BatchPlan, size: int, error: OutOfMemoryError) -> None:
        """Go on below ``size``, which did not fit: a tail is smaller than the plan's batches."""
        smaller = plan.halved()
        while smaller is not None and smaller.size >= size:
            smaller = smaller.halved()
        if smaller is None:
            raise error
        with self._lock:
            if self.plan != plan:  # another worker was first
                return
            self.plan = smaller
        name = self._description.name
        _LOG.warning(
            "%s: %s; going on with batches of %d, not %d", name, error, smaller.size, plan.size
        )

    def _named(self, item: Item) -> Arrays:
        specs = self._description.inputs
        if isinstance(item, Mapping):
            named = dict(item)
        elif len(specs) == 1:
            named = {specs[0].name: item}
        else:
            names = ", ".join(spec.name for spec in specs)
            raise InputError(f"{self._description.name}: each item must be a dict of {names}")
        if set(named) != {spec.name for spec in specs}:
            expected = ", ".join(map(str, specs))
            raise InputError(
                f"{self._description.name}: an item has {sorted(named)}; the inputs, here without "
                f"their batch axis, are: {expected}"
            )
        for spec in specs:
            self._check_item(spec, named[spec.name])
        return named

    def _check_item(self, spec: TensorSpec, value: Any) -> None:
        """What stacking needs; everything else is checked where the whole batch is run."""
        if not isinstance(value, np.ndarray):
            found = type(value).__name__
        elif value.ndim != len(spec.axes) - 1:
            found = f"shape {value.shape}"
        else:
            return
        raise InputError(
            f"{self._description.name}: an item must be an array of {spec} without its batch axis, "
            f"got {found}"
        )

    def _stacked(self, items: list[Arrays], size: int) -> Arrays:
        """One array per input, with zeros where there are fewer items than ``size``."""
        stacked = {}
        for spec in self._description.inputs:
            arrays = [item[spec.name] for item in items]
            kinds = {(array.shape, array.dtype) for array in arrays}
            if len(kinds) > 1:
                found = ", ".join(sorted(f"{dtype}{list(shape)}" for shape, dtype in kinds))
                raise InputError(
                    f"{self._description.name}: {spec.name} of one batch comes as {found}"
                )
            whole = np.zeros((size, *arrays[0].shape), arrays[0].dtype)
            for row, array in enumerate(arrays):
                whole[row] = array
            stacked[spec.name] = np.moveaxis(whole, 0, spec.axes.index(BATCH))
        return stacked


def _split(description: Description, outputs: Arrays, count: int) -> list[Arrays]:
    """The first ``count`` rows, copied: a view would keep the whole batch."""
    axes = {spec.name: spec.axes.index(BATCH) for spec in description.outputs}
    return [
        # np.take alone makes a scalar of what has no other axis.
        {name: np.asarray(np.take(array, row, axes[name])) for name, array in outputs.items()}
        for row in range(count)
    ]
