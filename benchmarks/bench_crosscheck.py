"""voxport's scoring of a comparison against pyannote.metrics, in pyannote.audio's environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench_environments import Environment, problem_of
from bench_rows import Material, Results
from voxport.runtime.annotation.scoring import score
from voxport.runtime.annotation.turns import Turns

_SCRIPT = Path(__file__).parent / "peers" / "score_pyannote.py"


def cross_checked(found: Environment | None, results: Sequence[Results], material: Material) -> str:
    """A sentence: how far both are apart at most, or why that is not known."""
    pairs = [
        (each.reference, turns)
        for result in results
        for each in (*material.clips, material.long)
        if not result.row.speed_only and (turns := result.turns(each)) is not None
    ]
    if found is None or found.python is None or not pairs:
        return "Scores are voxport's own; pyannote.metrics was not at hand to check them."
    asked = json.dumps([[_plain(turns) for turns in pair] for pair in pairs])
    command = [str(found.python), str(_SCRIPT)]
    run = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if run.returncode:
        return f"Scores are voxport's own; pyannote.metrics failed: {problem_of(run.stderr)}."
    theirs = json.loads(run.stdout)
    apart = max(
        abs(score(*pair).der - expected) for pair, expected in zip(pairs, theirs, strict=True)
    )
    return (
        f"pyannote.metrics scores the same {len(pairs)} results: the largest difference of a DER "
        f"is {100 * apart:.1g} points."
    )


def _plain(turns: Turns) -> list[tuple[float, float, str]]:
    return [(turn.start_s, turn.end_s, turn.speaker) for turn in turns]
