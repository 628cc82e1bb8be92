"""Ray, imported when it is needed and kept quiet."""

from __future__ import annotations

import importlib
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import MissingDependencyError, OptionsError, WorkersError

# Results are a few kB and audio never passes through Ray: about the least that Ray takes.
_STORE_BYTES = 100 << 20
# Read when ray is imported. Without it a Ray of this machine alone listens to the network, where
# whoever reaches it may run what they like; the name is of the systems that have no clusters.
_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# What reports count by must not differ from actor to actor.
_IDS = re.compile(r"\b[0-9a-f]{32,} ")


def import_ray() -> Any:
    """The ``ray`` package.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingDependencyError(
            "the engine ray needs Ray, which is not installed: pip install 'voxport[ray]'"
        ) from error


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """``ray``, connected to a cluster; to the one that this process is connected to, if any.

    Args:
        address: ``host:port`` of a cluster's head, "auto" for the one that this machine is a node
            of, None to start a Ray of this machine alone, which ends with the block.

    Raises:
        MissingDependencyError: Ray is not installed.
        OptionsError: an address of another kind.
        WorkersError: there is no such cluster, or one of another version.
    """
    if address is not None and "://" in address:
        raise OptionsError(
            f"--address {address}: give host:port of a Ray cluster, or auto, on a machine that is "
            "one of its nodes"
        )
    if address is None:
        os.environ.setdefault(_CLUSTERS, "0")
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    with _without_raylet_messages():
        try:
            _connect(ray, address)
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    common = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
    try:
        with _own_sigterm():
            # Not None, which would follow RAY_ADDRESS.
            ray.init(address=address or "local", **common, **(own if address is None else {}))
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        where = "here" if address is None else f"at the address {address}"
        raise WorkersError(
            f"no Ray cluster {where}: {first_line(error)}. Start one with `ray start --head`, "
            "with the same versions of Ray and Python on all machines"
        ) from error


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Whoever handled SIGTERM before does so afterwards, and handles what came meanwhile.

    ``ray.init`` puts a handler of its own there for good, ``sys.exit(signum)``; in the main thread
    only, as Python has it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    came = False
    try:
        yield
    except SystemExit as error:
        came = error.code == signal.SIGTERM and callable(before)
        raise
    finally:
        if before is not None:  # a handler that was not set from Python cannot be
            signal.signal(signal.SIGTERM, before)
        if came:
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def _without_raylet_messages() -> Iterator[None]:
    """Ray prints the end of a node's log, 25 lines, to standard output when a node dies.

    No option keeps it from that. Workers that are lost tell why themselves.
    """
    module = importlib.import_module("ray._private.worker")
    printed: Callable[..., None] | None = getattr(module, "print_to_stdstream", None)
    if printed is None:
        yield
        return
    module.print_to_stdstream = lambda *_args, **_known: None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.print_to_stdstream = printed  # type: ignore[attr-defined]


def first_line(error: object) -> str:
    """What an error says first, without its full stop."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")


def reason(error: Exception) -> str:
    """In one line why an actor is lost: Ray's own words, without the advice that follows them."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("The actor is dead because")]
    if getattr(error, "actor_init_failed", False):
        # A traceback, whose last line is the error itself.
        causes = lines[-1:]
    text = (causes or lines or [type(error).__name__])[0]
    for advice in (" Some common causes", " The task may or may not"):
        text = text.split(advice)[0]
    text = _IDS.sub("", text.removeprefix("The actor is dead because "))
    address = next((line for line in lines if line.startswith("ip: ")), "")
    where = f" (node {address.removeprefix('ip: ')})" if address else ""
    return f"{text.rstrip('.')[:300]}{where}"
