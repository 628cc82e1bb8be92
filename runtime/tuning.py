"""The batch size that is fastest here: measured once, remembered for artifact and device."""

from __future__ import annotations

import json
import logging
import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .batching import BATCH, is_batched
from .cache import cache_dir
from .environment import known_environment
from .errors import OutOfMemoryError, VoxportError
from .onnx_runtime import import_onnxruntime
from .serving.address import is_server
from .session import Session
from .synthetic import example_inputs

_LOG = logging.getLogger("voxport")
_FILE_NAME = "batch-sizes.json"
_CANDIDATES = (1, 2, 4, 8, 16, 32, 64, 128)
# A damaged file must not make a batch of all there is.
_MAX_REMEMBERED = 4096
_ROUNDS = 3
# A larger batch must gain this much: what is within noise of it is not worth its memory.
_GAIN = 1.05


@dataclass(frozen=True)
class Tuning:
    """What was measured: seconds per item by batch size, and the size chosen."""

    seconds_per_item: dict[int, float]
    batch_size: int


def tune(session: Session, candidates: Sequence[int] = _CANDIDATES) -> Tuning:
    """Measure batch sizes on synthetic inputs, let the session use the best one, and remember it.

    The smallest size that is within 5 % of the fastest is taken. Sizes that do not fit into
    memory end the search. Later sessions on the same artifact, device and ONNX Runtime start with
    what was found.

    Raises:
        InputError: the artifact has no batch axis.
        OutOfMemoryError: not even one item fits.
    """
    measured: dict[int, float] = {}
    for wanted in sorted(session.description.sizes.get(BATCH, candidates)):
        size = session.use_batch_size(wanted).batch_size
        if size in measured:  # another one of the same bucket
            continue
        try:
            measured[size] = _seconds_per_item(session, size)
        except OutOfMemoryError:
            if not measured:
                raise
            _LOG.info("%s: a batch of %d does not fit", session.description.name, size)
            break
    fastest = min(measured.values())
    chosen = min(size for size, seconds in measured.items() if seconds <= fastest * _GAIN)
    session.use_batch_size(chosen)
    _remember(session, chosen)
    return Tuning(measured, chosen)


def remembered_batch_size(session: Session) -> int | None:
    """What ``tune`` found for this artifact on this device; None if it has not been asked."""
    try:
        size = _read(_path()).get(_key(session))
    except VoxportError:  # no cache folder
        return None
    allowed = session.description.sizes.get(BATCH)
    if type(size) is not int or not 1 <= size <= _MAX_REMEMBERED:
        return None
    fits = is_batched(session.description) and (allowed is None or size in allowed)
    return size if fits else None


def _seconds_per_item(session: Session, size: int) -> float:
    inputs = example_inputs(session.description, size)
    session.run(**inputs)
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        session.run(**inputs)
        times.append(time.perf_counter() - started)
    return statistics.median(times) / size


def _key(session: Session) -> str:
    # What a server runs is not known; neither Core ML nor a client needs ONNX Runtime here.
    elsewhere = session.device == "coreml" or is_server(session.device)
    engine = session.plan.kind if elsewhere else import_onnxruntime().__version__
    return f"{session.identity} {session.device} {_hardware(session.device)} {engine}"


def _hardware(device: str) -> str:
    """The cards' names: a home folder may serve machines with different ones."""
    kind, _, indices = device.rpartition(":")
    listed = indices.split(",") if kind in ("cuda", "tensorrt") else ()
    cards = {str(card.index): card.name for card in known_environment().cuda.cards}
    return ",".join(cards.get(index, "") for index in listed)


def _path() -> Path:
    return cache_dir() / _FILE_NAME


def _read(path: Path) -> dict[str, Any]:
    """The remembered sizes; none where the file is missing or damaged: it is only a cache."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _remember(session: Session, size: int) -> None:
    try:
        path = _path()
        sizes = {**_read(path), _key(session): size}
        draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(sizes, indent=1, sort_keys=True), encoding="utf-8")
        draft.replace(path)
    except (OSError, VoxportError) as error:
        _LOG.warning("the batch size is not remembered: %s", error)
