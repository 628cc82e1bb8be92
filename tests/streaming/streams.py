"""Streams of the tiny diarization: pushed in pieces, collected, and checked on the way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tiny_artifacts import RATE_HZ
from tiny_diarization import FRAME_S
from voxport.runtime import StreamingDiarizer, StreamingSettings, StreamingUpdate
from voxport.runtime.stages import Turn

# Windows of 1 s overlap by nine tenths, as in the real pipeline.
STEP_S = 0.1


def streaming(
    models: Path, *, rate_hz: int = RATE_HZ, num_channels: int = 1, **settings: Any
) -> StreamingDiarizer:
    chosen = StreamingSettings(**{"step_s": STEP_S, "latency_s": 0.5, **settings})
    return StreamingDiarizer(
        models=models,
        device="cpu",
        settings=chosen,
        source_rate_hz=rate_hz,
        num_channels=num_channels,
    )


def pieces(samples: Any, sizes: Iterable[int]) -> list[Any]:
    """The samples in pieces of these sizes; the last one holds the rest."""
    found, start = [], 0
    for size in sizes:
        found.append(samples[start : start + size])
        start += size
    return [*found, samples[start:]]


def even(samples: Any, size: int) -> list[Any]:
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def updates(loaded: StreamingDiarizer, parts: Iterable[Any]) -> list[StreamingUpdate]:
    """All updates of a new stream, the last one of ``finish``."""
    loaded.reset()
    return [*(loaded.push(part) for part in parts), loaded.finish()]


def final_turns(loaded: StreamingDiarizer, parts: Iterable[Any]) -> list[Turn]:
    return [turn for update in updates(loaded, parts) for turn in update.final]


def frames(turns: Iterable[Turn], until_s: float) -> dict[str, set[int]]:
    """By speaker, the numbers of the frames in which it speaks, up to a time."""
    found: dict[str, set[int]] = {}
    for turn in turns:
        span = np.round(np.array([turn.start_s, min(turn.end_s, until_s)]) / FRAME_S - 0.5)
        found.setdefault(turn.speaker, set()).update(range(*span.astype(int).tolist()))
    return {speaker: spoken for speaker, spoken in found.items() if spoken}
