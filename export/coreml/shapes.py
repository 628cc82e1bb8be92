"""Which shapes a package takes: Core ML wants them fixed where ONNX has named axes.

=================== ================= ============================ ==========================
specs               target iOS 17     target iOS 18                other axes
=================== ================= ============================ ==========================
networks, powerset, batch 1           functions ``batch_1`` and    the traced sizes: windows
fbank                                 ``batch_32`` that share      of 160,000 samples
                                      their weights
embedding_inputs    batch 1           batch 1                      the traced sizes
cosine_distance     ranges            ranges                       speakers 1..64, database
                                                                   1..4096, size 1..1024
post_embedding      ranges            ranges                       database 1..4096, size
                                                                   1..1024; 3 speakers, 589
                                                                   frames
highlights          ranges            ranges                       samples frame..2^24, frames
                                                                   1..2^17
highlights_rms      ranges            ranges                       samples frame..2^24
highlights_score    ranges            ranges                       frames 1..2^21
=================== ================= ============================ ==========================

A range keeps a network off the Neural Engine and doubles the ops of an LSTM (27 to 58), so that
networks have none. Enumerated shapes were considered for iOS 17: they add no ops to the embedding
networks, but two inputs need iOS 18, where functions do better. No axis of a Core ML shape can be
empty, so that callers have to handle an empty database themselves; ranges begin at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...runtime.manifest import TensorSpec
from ..specs import ExportSpec

Target = Literal["iOS17", "iOS18"]
MAIN = "main"


@dataclass(frozen=True)
class Range:
    """Sizes that an axis may take."""

    low: int
    high: int


@dataclass(frozen=True)
class FunctionShapes:
    """The shapes of one function: the size of each named axis, and the axes with a range.

    ``sizes`` holds the default size of axes with a range.
    """

    function: str
    sizes: Mapping[str, int]
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @property
    def bounds(self) -> dict[str, tuple[int, int]]:
        """(lowest, highest) size of each axis with a range."""
        return {axis: (limits.low, limits.high) for axis, limits in self.ranges.items()}

    def shape(self, tensor: TensorSpec) -> tuple[int, ...]:
        """The default shape of an input."""
        return tuple(axis if isinstance(axis, int) else self.sizes[axis] for axis in tensor.axes)

    def feature_ranges(self, tensor: TensorSpec) -> tuple[Range, ...]:
        """The range of each axis of an input; none if all its axes are fixed."""
        if not any(axis in self.ranges for axis in tensor.axes):
            return ()
        fixed = zip(tensor.axes, self.shape(tensor), strict=True)
        return tuple(self.ranges.get(str(axis), Range(size, size)) for axis, size in fixed)


@dataclass(frozen=True)
class _Plan:
    """``batches``: sizes of the batch axis, the default one first; several need functions."""

    batches: tuple[int, ...] = (1, 32)
    ranges: Mapping[str, Range] = field(default_factory=dict)


_DATABASE = {"database": Range(1, 4096), "size": Range(1, 1024)}
# 17 minutes at 16 kHz.
_MINUTES = Range(1, 2**24)
_DEFAULT_PLAN = _Plan()
_PLANS: Mapping[str, _Plan] = {
    "embedding_inputs": _Plan(batches=(1,)),
    "cosine_distance": _Plan(batches=(1,), ranges={"speakers": Range(1, 64), **_DATABASE}),
    "post_embedding": _Plan(batches=(1,), ranges=_DATABASE),
    "highlights": _Plan(batches=(1,), ranges={"samples": _MINUTES, "frames": Range(1, 2**17)}),
    "highlights_rms": _Plan(batches=(1,), ranges={"samples": _MINUTES}),
    "highlights_score": _Plan(batches=(1,), ranges={"frames": Range(1, 2**21)}),
}


def function_shapes(spec: ExportSpec, target: Target) -> tuple[FunctionShapes, ...]:
    """The functions that a spec's package has for a target, the default one first."""
    plan = _PLANS.get(spec.name, _DEFAULT_PLAN)
    batches = plan.batches if target == "iOS18" else plan.batches[:1]
    return tuple(
        FunctionShapes(
            function=f"batch_{batch}" if len(batches) > 1 else MAIN,
            sizes={**spec.traced, **({"batch": batch} if "batch" in spec.traced else {})},
            ranges=_ranges(spec, plan),
        )
        for batch in batches
    )


def _ranges(spec: ExportSpec, plan: _Plan) -> dict[str, Range]:
    """The plan's ranges, none of which begins below the spec's own minimum."""
    return {
        axis: Range(max(limits.low, spec.minimums.get(axis, limits.low)), limits.high)
        for axis, limits in plan.ranges.items()
    }
