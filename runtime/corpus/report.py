"""What became of a corpus: hours, speed, failures, errors against references."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..annotation.scoring import Score, total
from ..recordings.writing import write_whole
from .records import Record

NAME = "report.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Failure:
    """Something that has no result.

    Attributes:
        source: a recording's path or URL, a place without any recording, or the name of a file of
            the run itself.
        reason: why.
        file_id: the recording's; None for what is none.
    """

    source: str
    reason: str
    file_id: str | None = None


@dataclass(frozen=True)
class CorpusReport:
    """How a run went.

    Attributes:
        output: folder with the results.
        status: "complete" (all were tried), "interrupted", or "stopped" (nothing could be
            written any more, or no worker lived).
        num_done: recordings done by this run; ``num_skipped`` were done before, ``num_failed``
            failed, to ``num_not_done`` it did not come.
        audio_s: seconds of audio that this run has done; ``skipped_audio_s`` of those skipped.
        wall_s: seconds that it took.
        failures: recordings that failed, in the order in which they did, and places without any.
        seconds: by stage, summed over recordings and threads, of this run.
        scores: by file id, of those with a reference, skipped ones too; collar 0, with overlap.
        reference_problems: by file id, why there is no score.
        restarts: how often each reason ended a worker that was started again.
        given_up: likewise, of workers that were not started again.
        engine: how the work was spread; ``workers`` of it is how many there were, 0 if there was
            nothing to do.
        configuration: all that results depend on, besides their content.
        configuration_sha256: of it.
        versions: of voxport, Python and what the engine is made of.
    """

    output: Path
    status: str = "complete"
    num_done: int = 0
    num_skipped: int = 0
    num_failed: int = 0
    num_not_done: int = 0
    audio_s: float = 0.0
    skipped_audio_s: float = 0.0
    wall_s: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    reference_problems: dict[str, str] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    given_up: dict[str, int] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    configuration_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def rtfx(self) -> float:
        """Audio seconds per second."""
        return self.audio_s / self.wall_s if self.wall_s > 0 else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every recording has its results."""
        return self.status == "complete" and not self.failures

    @property
    def score(self) -> Score | None:
        """Of all recordings with a reference together; None where there are none."""
        return total(self.scores.values()) if self.scores else None

    @property
    def shares(self) -> dict[str, float]:
        """Of the time of all stages."""
        whole = sum(self.seconds.values())
        return {name: each / whole for name, each in self.seconds.items()} if whole else {}

    def to_json(self) -> str:
        """What ``report.json`` holds."""
        shares = self.shares
        error = self.score
        document = {
            "schema_version": SCHEMA_VERSION,
            "status": self.status,
            "files": {
                "done": self.num_done,
                "skipped": self.num_skipped,
                "failed": self.num_failed,
                "not_done": self.num_not_done,
            },
            "audio_hours": self.audio_s / 3600,
            "skipped_audio_hours": self.skipped_audio_s / 3600,
            "wall_s": self.wall_s,
            "rtfx": self.rtfx,
            "stages": {
                name: {"seconds": each, "share": shares.get(name, 0.0)}
                for name, each in sorted(self.seconds.items())
            },
            "failures": list(map(asdict, self.failures)),
            "der": None if error is None else _described(error),
            "der_by_file": {name: _described(each) for name, each in sorted(self.scores.items())},
            "reference_problems": dict(sorted(self.reference_problems.items())),
            "engine": self.engine,
            "restarts": self.restarts,
            "given_up": self.given_up,
            "configuration": self.configuration,
            "configuration_sha256": self.configuration_sha256,
            "versions": self.versions,
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    def write(self) -> None:
        """Write ``report.json``.

        Raises:
            NoSpaceError, VoxportError: as ``write_whole``.
        """
        write_whole(self.output, {NAME: self.to_json()})


def _described(error: Score) -> dict[str, float]:
    """Seconds as in ``Score``, and shares of the reference's speech in percent."""
    return {
        **asdict(error),
        "der_percent": 100 * error.der,
        "confusion_percent": 100 * error.share(error.confusion_s),
        "miss_percent": 100 * error.share(error.miss_s),
        "false_alarm_percent": 100 * error.share(error.false_alarm_s),
        "jer_percent": 100 * error.jer,
    }


@dataclass
class Tally:
    """What has come together so far."""

    begun_s: float = field(default_factory=time.perf_counter)
    num_done: int = 0
    num_skipped: int = 0
    audio_s: float = 0.0
    skipped_audio_s: float = 0.0
    failures: list[Failure] = field(default_factory=list)
    num_failed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    reference_problems: dict[str, str] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    given_up: dict[str, int] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.begun_s

    @property
    def num_ended(self) -> int:
        return self.num_done + self.num_skipped + self.num_failed

    def add(self, record: Record, facts: dict[str, Any], *, is_skipped: bool) -> None:
        """Count a recording that has its results; ``facts`` are of its reference."""
        if is_skipped:
            self.num_skipped += 1
            self.skipped_audio_s += record.duration_s
        else:
            self.num_done += 1
            self.audio_s += record.duration_s
            for name, seconds in record.seconds.items():
                if name != "total":
                    self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        if "score" in facts:
            self.scores[record.file_id] = Score(**facts["score"])
        if "reference_problem" in facts:
            self.reference_problems[record.file_id] = facts["reference_problem"]
