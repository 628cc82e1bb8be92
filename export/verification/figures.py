"""The figures by which an output of each kind is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from . import measures
from .cases import Arrays, Case


@dataclass(frozen=True)
class Comparison:
    """Expected and observed outputs of one case."""

    case: Case
    expected: Arrays
    observed: Arrays


def counted(item: Comparison) -> Comparison:
    """A comparison of the rows that count."""
    rows = item.case.counted
    if rows is None:
        return item
    case, expected, observed = item.case, item.expected, item.observed
    inputs, expected, observed = (
        {name: array[:rows] for name, array in arrays.items()}
        for arrays in (case.inputs, expected, observed)
    )
    return Comparison(replace(case, inputs=inputs), expected, observed)


def deciding(comparisons: list[Comparison]) -> list[Comparison]:
    """Those whose decisions count."""
    return [item for item in comparisons if item.case.decides]


def _worst(measure: Callable[[Any, Any], float], name: str, comparisons: list[Comparison]) -> float:
    gated = [item for item in comparisons if item.case.numbers]
    return max((measure(item.expected[name], item.observed[name]) for item in gated), default=0.0)


def _share(
    count: Callable[[Any, Any], tuple[int, int]], name: str, comparisons: list[Comparison]
) -> tuple[int, int]:
    counts = [count(item.expected[name], item.observed[name]) for item in deciding(comparisons)]
    return sum(part for part, _ in counts), sum(whole for _, whole in counts)


def _log_probs(name: str, comparisons: list[Comparison]) -> dict[str, float]:
    flipped, frames = _share(measures.flipped_frames, name, comparisons)
    return {
        "max_abs": _worst(measures.max_abs, name, comparisons),
        "frames": frames,
        "flipped": flipped,
        "flipped_share": flipped / max(1, frames),
    }


def _masks(name: str, comparisons: list[Comparison]) -> dict[str, float]:
    changed, frames = _share(measures.changed_frames, name, comparisons)
    return {"frames": frames, "changed": changed, "changed_share": changed / max(1, frames)}


def _cosine(expected: npt.NDArray[Any], observed: npt.NDArray[Any]) -> float:
    return float(measures.cosine_distances(expected, observed).max(initial=0.0))


def _embeddings(name: str, comparisons: list[Comparison]) -> dict[str, float]:
    return {
        "relative_max_abs": _worst(measures.relative_max_abs, name, comparisons),
        "cosine_distance": _worst(_cosine, name, deciding(comparisons)),
        "any_cosine_distance": _worst(_cosine, name, comparisons),
    }


def _numbers(name: str, comparisons: list[Comparison]) -> dict[str, float]:
    return {
        "max_abs": _worst(measures.max_abs, name, comparisons),
        "mean_abs": _worst(measures.mean_abs, name, comparisons),
    }


def _powers(name: str, comparisons: list[Comparison]) -> dict[str, float]:
    return {"relative_max_abs": _worst(measures.relative_max_abs, name, comparisons)}


def _decibels(name: str, comparisons: list[Comparison]) -> dict[str, float]:
    return {
        "max_abs": _worst(measures.loud_max_abs, name, comparisons),
        "quiet_max_abs": _worst(measures.max_abs, name, comparisons),
    }


def _vectors(name: str, comparisons: list[Comparison]) -> dict[str, float]:
    return {
        "relative_max_abs": _worst(measures.relative_max_abs, name, comparisons),
        "cosine_distance": _worst(_cosine, name, comparisons),
    }


def _quantised(name: str, comparisons: list[Comparison]) -> dict[str, float]:
    return {
        "max_abs": _worst(measures.max_abs, name, comparisons),
        "changed_share": _worst(measures.changed_share, name, comparisons),
    }


FIGURES: Mapping[str, Callable[[str, list[Comparison]], dict[str, float]]] = {
    "log_probs": _log_probs,
    "masks": _masks,
    "embeddings": _embeddings,
    "features": _numbers,
    "distances": _numbers,
    "levels": _numbers,
    "scores": _numbers,
    "exact": _numbers,
    "log_mel": _numbers,
    "vectors": _vectors,
    "quantised": _quantised,
    "power": _powers,
    "decibels": _decibels,
}
