"""Threads that keep to some processors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import DeviceError
from .processors import cpulist

# Of ONNX Runtime: one entry for each thread of a session's pool. The calling thread is not in it.
AFFINITIES = "session.intra_op_thread_affinities"


def can_pin() -> bool:
    """Whether this system lets a process say where its threads run: Linux does."""
    return hasattr(os, "sched_setaffinity")


@contextmanager
def kept_to(cpus: Sequence[int]) -> Iterator[None]:
    """The calling thread keeps to these processors, and afterwards to those that it had before.

    What it begins meanwhile inherits that: threads of a pool, and memory, which Linux takes from
    the node of the thread that first writes to it. Nothing happens where ``cpus`` is empty or the
    system cannot pin.

    Raises:
        DeviceError: none of them may be used any more.
    """
    if not cpus or not can_pin():
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        raise DeviceError(
            f"no thread may run on the processors {cpulist(cpus)} any more: {error}"
        ) from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pool_affinities(cpus: Sequence[int], threads: int) -> str:
    """ONNX Runtime's ``AFFINITIES`` for a session of ``threads`` threads, the caller's included.

    Each thread of the pool has a processor of its own, from the second one; with more threads than
    processors they share them in turn. ONNX Runtime counts processors from 1. Source of the
    format: ``onnxruntime_session_options_config_keys.h``.
    """
    return ";".join(str(cpus[thread % len(cpus)] + 1) for thread in range(1, threads))


def caller_cpus(cpus: Sequence[int], threads: int) -> tuple[int, ...]:
    """Where a thread that calls such a session runs: on what its pool leaves over."""
    return (*cpus[:1], *cpus[threads:])
