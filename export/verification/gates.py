"""The gates: structure, numbers, decisions. Their results go into the manifest and the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...runtime.probe import TOLERANCES, probe_error, probe_record
from ...runtime.synthetic import probe_inputs
from . import measures
from .cases import Case
from .figures import FIGURES, Comparison, counted, deciding
from .limits import ARTIFACT, EXACT, PAIR_MARGIN, REAUTHORED, Limits
from .measures import EmbeddingDecisions, Mismatch
from .references import Reference

if TYPE_CHECKING:
    from ..networks import Networks
    from ..specs import ExportSpec

Arrays = dict[str, npt.NDArray[Any]]
Runner = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class GateResult:
    """One gate: its figures, the limits they were held to, and what failed."""

    gate: str
    output: str
    figures: dict[str, float] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """For the manifest; figures rounded to what they mean."""
        figures = {
            # Counts are told exactly.
            name: float(value) if float(value).is_integer() else float(f"{value:.4g}")
            for name, value in self.figures.items()
        }
        return {
            "gate": self.gate,
            "output": self.output,
            "figures": figures,
            "limits": self.limits,
            "passed": self.passed,
        }

    def __str__(self) -> str:
        figures = ", ".join(f"{name} {value:.3g}" for name, value in self.figures.items())
        verdict = "ok" if self.passed else "FAILED: " + "; ".join(self.problems)
        return f"{self.gate} / {self.output}: {figures or '-'}: {verdict}"


def one_thread() -> None:
    """Run PyTorch on one thread from here on, in the calling thread.

    Figures then do not depend on the machine's cores, and recurrent layers do not stall at their
    thousands of barriers where other processes compete for the cores.
    """
    torch.set_num_threads(1)


def run_module(module: nn.Module, inputs: Arrays) -> tuple[torch.Tensor, ...]:
    """The outputs of a torch module on numpy inputs, always as a tuple."""
    with torch.inference_mode():
        outputs = module(*(torch.from_numpy(array) for array in inputs.values()))
    return outputs if isinstance(outputs, tuple) else (outputs,)


@dataclass
class Verifier:
    """Runs one spec's cases through original, module and artifacts, and judges the results.

    What does not depend on the artifact is computed once for all its precisions. ``module`` runs
    in ``dtype``, which is float64 where a program's structure is judged.
    """

    spec: ExportSpec
    networks: Networks
    module: nn.Module
    cases: list[Case]
    dtype: type[np.floating[Any]] = np.float32
    outputs_by_case: dict[str, Arrays] = field(default_factory=dict)

    @cached_property
    def probe_outputs(self) -> Arrays:
        """The module's answer to a synthetic question."""
        return self._run_module(probe_inputs(self.spec.probe_shapes()))

    @cached_property
    def probe(self) -> dict[str, Any]:
        """The question and its answer, for the manifest."""
        return probe_record(self.spec.probe_shapes(), self.probe_outputs)

    @cached_property
    def original(self) -> list[GateResult]:
        """Stage one: the module that is exported against the original implementation."""
        comparisons = self._each(self._against_original)
        return self._judge("original", comparisons, REAUTHORED, PAIR_MARGIN["fp32"])

    def _against_original(self, case: Case) -> Comparison:
        original = self.spec.reference(self.networks, case.inputs)
        return Comparison(case, original, self._outputs(case))

    def artifact(self, precision: str, run: Runner, gate: str = "pytorch") -> list[GateResult]:
        """Stage two: what a session computes against the module, to the precision's limits."""
        comparisons = self._each(lambda case: self._against_module(case, run))
        return self._judge(gate, comparisons, ARTIFACT[precision], PAIR_MARGIN[precision])

    def exact(self, run: Runner) -> list[GateResult]:
        """A program without rounding against the module in float64: the same computation?"""
        comparisons = self._each(lambda case: self._against_module(case, run))
        return self._judge("exact", comparisons, EXACT, PAIR_MARGIN["fp32"])

    def probes(self, precision: str, run: Runner) -> GateResult:
        """Stage three: the answer that users' sessions are checked by."""
        outputs = run(probe_inputs(self.spec.probe_shapes()))
        limits = {"relative_error": TOLERANCES[precision]}
        figures = {"relative_error": probe_error(self.probe, outputs, self.spec.name)}
        return GateResult("probe", "all", figures, limits, tuple(_exceeded(figures, limits)))

    def _against_module(self, case: Case, run: Runner) -> Comparison:
        reference: Reference = self.spec.reference
        observed = run(case.inputs)
        given = reference.given(self.module, self._cast(case.inputs), observed)
        return counted(Comparison(case, {**self._outputs(case), **given}, observed))

    def _each(self, compare: Callable[[Case], Comparison]) -> list[Comparison]:
        """One case per core at a time, each on one thread (see ``one_thread``)."""

        def compare_without_gradients(case: Case) -> Comparison:
            with torch.inference_mode():
                return compare(case)

        with ThreadPoolExecutor(os.cpu_count(), initializer=one_thread) as pool:
            return list(pool.map(compare_without_gradients, self.cases))

    def _outputs(self, case: Case) -> Arrays:
        if case.name not in self.outputs_by_case:
            self.outputs_by_case[case.name] = self._run_module(case.inputs)
        return self.outputs_by_case[case.name]

    def _run_module(self, inputs: Arrays) -> Arrays:
        names = [spec.name for spec in self.spec.outputs]
        outputs = run_module(self.module, self._cast(inputs))
        return {name: tensor.numpy() for name, tensor in zip(names, outputs, strict=True)}

    def _cast(self, inputs: Arrays) -> Arrays:
        return {
            name: array.astype(self.dtype, copy=False) if array.dtype.kind == "f" else array
            for name, array in inputs.items()
        }

    def _judge(
        self,
        gate: str,
        comparisons: list[Comparison],
        limits: Mapping[str, Limits],
        pair_margin: float,
    ) -> list[GateResult]:
        results = []
        for name, kind in self.spec.kinds.items():
            problems = list(_incomparable(name, comparisons))
            figures: dict[str, float] = {}
            if not problems:
                figures = FIGURES[kind](name, comparisons)
                if kind == "embeddings":
                    figures |= self._embedding_decisions(name, comparisons, pair_margin)
                problems = _exceeded(figures, limits[kind])
            results.append(GateResult(gate, name, figures, dict(limits[kind]), tuple(problems)))
        return results

    def _embedding_decisions(
        self, name: str, comparisons: list[Comparison], pair_margin: float
    ) -> dict[str, float]:
        decisions = EmbeddingDecisions()
        for item in deciding(comparisons):
            decisions.add(item.expected[name], item.observed[name], _activity(item))
        recipe = self.spec.recipe(self.networks)
        threshold = recipe.get("embedding", recipe)["same_speaker_distance"]
        return decisions.judge(threshold, pair_margin)


def _activity(item: Comparison) -> npt.NDArray[Any]:
    """(B, S) frames of each speaker: of the masks given, or of the clean masks found."""
    if "masks" in item.case.inputs:
        given: npt.NDArray[Any] = item.case.inputs["masks"].sum(axis=-1)
        return given
    found: npt.NDArray[Any] = item.observed["clean_masks"].sum(axis=1)
    return found


def _incomparable(name: str, comparisons: list[Comparison]) -> Iterable[str]:
    for item in comparisons:
        try:
            measures.check_comparable(name, item.expected[name], item.observed[name])
        except Mismatch as mismatch:
            yield f"case '{item.case.name}': {mismatch}"
        if item.observed[name].dtype != np.float32:
            yield f"case '{item.case.name}': {name} is {item.observed[name].dtype}"


def _exceeded(figures: Mapping[str, float], limits: Limits) -> list[str]:
    """Figures beyond their limits; a limit without its figure fails too."""
    return [
        f"{name} is {figures.get(name, float('nan')):.4g}, at most {limit:g} allowed"
        for name, limit in limits.items()
        if not figures.get(name, float("nan")) <= limit
    ]
