"""The figures of a benchmark, and what they mean."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Measured:
    """An artifact on a device, in a precision and a batch size.

    Attributes:
        name, precision: of the artifact.
        device: where it ran: "cpu", "cuda:0".
        batch_size: items per call, at most; 1 where nothing can be batched.
        num_calls, num_items: of a round.
        audio_duration_s: audio in a round, real or synthetic; None without a waveform, or if its
            rate is not told.
        rounds: that were counted.
        load_s: finding, checking and opening the artifact.
        first_call_s: of the first call, which allocates and chooses algorithms.
        latency_s, latency_p95_s: median and 95th percentile of a warm call, checks of its inputs
            and copies to and from a card included, over the calls of all rounds.
        round_s: median over rounds of the time in calls.
        speedup: items per second over those of the first that was measured: the median of the
            rounds' ratios.
        peak_host_bytes: growth of the process's resident memory from before loading to its peak;
            None if the system does not tell.
        peak_device_bytes: the most that the card's allocator gave at a time, weights included;
            None on the CPU, and if it is not told.
    """

    name: str
    precision: str
    device: str
    batch_size: int
    num_calls: int
    num_items: int
    audio_duration_s: float | None
    rounds: int
    load_s: float
    first_call_s: float
    latency_s: float
    latency_p95_s: float
    round_s: float
    speedup: float
    peak_host_bytes: int | None
    peak_device_bytes: int | None

    @property
    def items_per_s(self) -> float:
        return self.num_items / self.round_s

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio per second of calls; None without audio."""
        return None if self.audio_duration_s is None else self.audio_duration_s / self.round_s

    def to_dict(self) -> dict[str, Any]:
        """The fields and the figures derived from them, for JSON."""
        return {**asdict(self), "items_per_s": self.items_per_s, "rtfx": self.rtfx}


@dataclass(frozen=True)
class NotRun:
    """What was asked for and could not run, and why; ``batch_size`` None: in any."""

    name: str
    precision: str
    device: str
    batch_size: int | None
    reason: str


@dataclass(frozen=True)
class Benchmark:
    """What was measured of one artifact, in the order in which it was asked for."""

    name: str
    on_audio: bool
    measured: tuple[Measured, ...]
    not_run: tuple[NotRun, ...] = ()


def to_json(benchmarks: Sequence[Benchmark]) -> str:
    """All of them as one document."""
    rows = [
        {
            "name": one.name,
            "on_audio": one.on_audio,
            "measured": [measured.to_dict() for measured in one.measured],
            "not_run": [asdict(entry) for entry in one.not_run],
        }
        for one in benchmarks
    ]
    return json.dumps({"schema_version": SCHEMA_VERSION, "artifacts": rows}, indent=1) + "\n"
