"""``voxport score``: how far RTTM files are from the truth."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..commands import Command

if TYPE_CHECKING:
    from .comparison import Comparison
    from .scoring import Score

_COLUMNS = ("DER %", "miss %", "false alarm %", "confusion %", "JER %", "speech s")


def _collar(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", type=Path, help="the truth: an .rttm file or a folder of them")
    parser.add_argument("hypothesis", type=Path, help="what is judged: a file or a folder")
    parser.add_argument(
        "--collar",
        type=_collar,
        default=0.0,
        metavar="S",
        help="seconds not scored around each boundary of the reference, half on either side "
        "(md-eval and dscore give that half: their 0.25 is 0.5 here)",
    )
    parser.add_argument(
        "--skip-overlap", action="store_true", help="do not score where the reference overlaps"
    )
    parser.add_argument("--uem", type=Path, help="score only what this file names")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(options: argparse.Namespace) -> int:
    from .comparison import compare  # noqa: PLC0415 -- loads numpy and scipy

    compared = compare(
        options.reference,
        options.hypothesis,
        options.uem,
        collar_s=options.collar,
        skip_overlap=options.skip_overlap,
    )
    if options.json:
        sys.stdout.write(json.dumps(_as_json(compared), indent=1, allow_nan=False) + "\n")
    else:
        sys.stdout.write(_table(compared))
    return 0


def _figures(score: Score) -> dict[str, float]:
    return {
        "der": score.der,
        "miss": score.share(score.miss_s),
        "false_alarm": score.share(score.false_alarm_s),
        "confusion": score.share(score.confusion_s),
        "jer": score.jer,
        "speech_s": score.speech_s,
        "miss_s": score.miss_s,
        "false_alarm_s": score.false_alarm_s,
        "confusion_s": score.confusion_s,
        "num_speakers": score.num_speakers,
    }


def _as_json(compared: Comparison) -> dict[str, Any]:
    return {
        "files": [{"file": name, **_figures(one)} for name, one in compared.scores.items()],
        "total": _figures(compared.total),
        "only_in_reference": compared.only_in_reference,
        "only_in_hypothesis": compared.only_in_hypothesis,
        "not_in_uem": compared.not_in_uem,
    }


def _table(compared: Comparison) -> str:
    rows = [*compared.scores.items(), ("total", compared.total)]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'file':{width}}  {'  '.join(_COLUMNS)}"]
    lines += [f"{name:{width}}  {_cells(one)}" for name, one in rows]
    notes = (
        ("no hypothesis, all missed", compared.only_in_reference),
        ("no reference, not scored", compared.only_in_hypothesis),
        ("not in the UEM, not scored", compared.not_in_uem),
    )
    lines += [f"{what}: {', '.join(names)}" for what, names in notes if names]
    return "".join(f"{line}\n" for line in lines)


def _cells(score: Score) -> str:
    shares = (score.miss_s, score.false_alarm_s, score.confusion_s)
    rates = (score.der, *map(score.share, shares), score.jer)
    figures = (*(f"{100 * rate:.2f}" for rate in rates), f"{score.speech_s:.1f}")
    cells = zip(_COLUMNS, figures, strict=True)
    return "  ".join(f"{figure:>{len(column)}}" for column, figure in cells)


SCORE = Command("diarization error rate of RTTM files against references", _configure, _run)
