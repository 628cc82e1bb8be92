"""The figures of profiled stages, and what they mean."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from .distribution import OPERATORS, SYNCHRONISED, Basis, OperatorTime

SCHEMA_VERSION = 1
# Shares of the wall time in which the device computes.
OPTIMIZED_ABOVE = 0.8
MIXED_FROM = 0.5
# A call to a card costs the host some 0.1 ms whatever it computes: inputs and outputs are bound
# and copied, and the host waits. What computes for less than twice that cannot gain from a card.
MIN_CALL_S = 0.2e-3
# Launching a kernel takes the host some 5 us: a card that computes for less waits for the next.
MIN_NODE_S = 5e-6
# The share of a call that launching may take before the card is likely to wait for it.
MAX_LAUNCH_SHARE = 0.8


@dataclass(frozen=True)
class Parts:
    """A round's wall time in parts that add up to it, in seconds.

    Attributes:
        audio_s: reading, decoding, mixing and resampling.
        windows_s: cutting windows and putting batches together.
        copies_s: between host and device; 0 on the CPU.
        device_s: computing on the device; on the CPU within operators.
        cpu_operators_s: operators that a session on a card leaves on the CPU.
        host_s: the rest of the calls: checks of inputs, ONNX Runtime's own work, and of a card
            what the host does while it neither computes nor copies, such as launching.
    """

    audio_s: float
    windows_s: float
    copies_s: float
    device_s: float
    cpu_operators_s: float
    host_s: float

    @property
    def wall_s(self) -> float:
        wall_s: float = sum(asdict(self).values())
        return wall_s


@dataclass(frozen=True)
class StageProfile:
    """Where an artifact's time goes on one device, audio to outputs.

    Attributes:
        name, precision: of the artifact.
        device: where it ran: "cpu", "cuda:0".
        basis: what the device's time was taken from: "operator times" on the CPU; on a card
            "kernel events", measured by the card itself, cut to whole microseconds each, or
            "synchronised calls": the calls without the operators on the CPU, which is the *most*
            that the card can have computed (unless both worked at once), with its copies.
        batch_size: windows per call, at most.
        num_windows, num_calls: of a round.
        audio_duration_s: of the audio, or of the arrays' waveform; None if there is none.
        rounds: of which medians are given.
        load_s: finding, checking and opening the artifact.
        first_call_s: of the first call, which allocates and chooses algorithms.
        parts: of a warm round, without ONNX Runtime's profiler, whose parts the profile divides.
            They are timed one after the other; ``run_batched`` prepares a batch while another
            runs, and takes less than their sum.
        operators: of a warm round, what took longest first.
        num_device_nodes: executions of operators on the device in a warm round.
        launch_share: share of ONNX Runtime's calls in which the host launches a card's operators.
        peak_host_bytes: growth of the process's resident memory from before loading to its peak,
            without the profiler; None if the system does not tell.
        peak_device_bytes: the most that the card's allocator gave at a time, weights included; None
            on the CPU, and if ONNX Runtime does not tell.
    """

    name: str
    precision: str
    device: str
    basis: Basis
    batch_size: int
    num_windows: int
    num_calls: int
    audio_duration_s: float | None
    rounds: int
    load_s: float
    first_call_s: float
    parts: Parts
    operators: tuple[OperatorTime, ...]
    num_device_nodes: int
    launch_share: float
    peak_host_bytes: int | None
    peak_device_bytes: int | None

    @property
    def on_gpu(self) -> bool:
        return self.basis != OPERATORS

    @property
    def wall_s(self) -> float:
        """A warm round."""
        return self.parts.wall_s

    @property
    def device_s(self) -> float:
        return self.parts.device_s

    @property
    def cold_s(self) -> float:
        """From a started process to the first result; the card itself may have been started."""
        return self.load_s + self.first_call_s

    @property
    def efficiency(self) -> float:
        """Device time over wall time, from 0 to 1; at most that for "synchronised calls"."""
        return self.parts.device_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def share_of_copies(self) -> float:
        """Copies between host and device over wall time, from 0 to 1."""
        return self.parts.copies_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def rtfx(self) -> float | None:
        """Seconds of audio per second; None without audio."""
        if self.audio_duration_s is None or self.wall_s <= 0:
            return None
        return self.audio_duration_s / self.wall_s

    @property
    def windows_per_s(self) -> float:
        return self.num_windows / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def status(self) -> str:
        """The efficiency as a word.

        On a card "GPU OPTIMIZED" above 80 %, "MIXED" from 50 %, "CPU BOTTLENECK" below; on the CPU,
        where there is nothing to hand work to, "CPU: COMPUTING", "CPU: MIXED", "CPU: OVERHEAD".
        """
        words = (
            ("GPU OPTIMIZED", "MIXED", "CPU BOTTLENECK")
            if self.on_gpu
            else ("CPU: COMPUTING", "CPU: MIXED", "CPU: OVERHEAD")
        )
        if self.efficiency > OPTIMIZED_ABOVE:
            return words[0]
        return words[1] if self.efficiency >= MIXED_FROM else words[2]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What speaks against a card, with figures; empty if nothing does."""
        found = [self._small_call(), self._small_nodes(), self._launches()]
        return tuple(text for text in found if text)

    def _small_call(self) -> str:
        per_call_s = self.parts.device_s / self.num_calls
        if per_call_s >= MIN_CALL_S:
            return ""
        most = "at most " if self.basis == SYNCHRONISED else ""
        return (
            f"too small to be worth a GPU: a call computes for {most}{per_call_s * 1e3:.3f} ms; "
            f"below {MIN_CALL_S * 1e3:g} ms, launching and copying cost more. Use larger batches, "
            "or the CPU"
        )

    def _small_nodes(self) -> str:
        if not self.on_gpu or not self.num_device_nodes:
            return ""
        per_node_s = self.parts.device_s / self.num_device_nodes
        if per_node_s >= MIN_NODE_S:
            return ""
        return (
            f"too small to be worth a GPU: an operator computes for {per_node_s * 1e6:.1f} us on "
            f"average; below {MIN_NODE_S * 1e6:g} us, the GPU waits for its launch. Use larger "
            "batches, CUDA graphs, or the CPU"
        )

    def _launches(self) -> str:
        if self.basis != SYNCHRONISED or self.launch_share <= MAX_LAUNCH_SHARE:
            return ""
        return (
            f"launching operators takes the host {self.launch_share:.0%} of the calls: the GPU may "
            "be waiting for it, and compute much less than given here"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields and the figures derived from them, for JSON."""
        names = ("wall_s", "device_s", "cold_s", "efficiency", "share_of_copies", "rtfx")
        derived = (*names, "windows_per_s", "status", "warnings")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}


@dataclass(frozen=True)
class Unavailable:
    """A stage that could not run on a device, and why."""

    name: str
    device: str
    reason: str


@dataclass(frozen=True)
class Profile:
    """Profiled stages, in the order in which they ran."""

    stages: tuple[StageProfile, ...]
    unavailable: tuple[Unavailable, ...] = ()

    def to_json(self) -> str:
        data = {
            "schema_version": SCHEMA_VERSION,
            "stages": [stage.to_dict() for stage in self.stages],
            "unavailable": [asdict(entry) for entry in self.unavailable],
        }
        return json.dumps(data, indent=1) + "\n"
