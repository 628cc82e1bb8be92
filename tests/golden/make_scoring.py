"""Make ``scoring.npz``: what pyannote.metrics says of real and of random turns.

Nothing of voxport is imported. Run it only to add cases or to check that the committed ones
reproduce (``--check``):

    python -m venv original && . original/bin/activate
    pip install pyannote.metrics==4.2.0 'pyannote.database>=6.1'
    python tests/golden/make_scoring.py FOLDER_OF_RTTM

The folder's turns are not stored, only what comes of every ordered pair of its files; the random
ones are stored with theirs.

- ``rules`` (rules, 2): collar in seconds, 1 to leave out overlap;
- ``figures`` (7,): the names of the last axis of what is expected;
- ``names`` (files,), ``pairs`` (files, files, rules, 7): reference, hypothesis;
- ``turns`` (turns, 5): case, 0 for the reference or 1 for the hypothesis, start, end, speaker;
- ``uem`` (spans, 3): case, start, end; cases without spans are scored whole;
- ``random`` (cases, rules, 7);
- ``total`` (rules, 2): DER and JER of all random cases together.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

Arrays = dict[str, npt.NDArray[Any]]
Metrics = tuple[DiarizationErrorRate, JaccardErrorRate]

PATH = Path(__file__).resolve().parent / "scoring.npz"
RULES = ((0.0, False), (0.5, False), (0.0, True), (0.25, True))
COMPONENTS = ("total", "correct", "confusion", "missed detection", "false alarm")
FIGURES = ("speech_s", "correct_s", "confusion_s", "miss_s", "false_alarm_s", "der", "jer")
CASES = 60


def main() -> int:
    arguments = parse_arguments()
    # An evaluation map that is not given is the extent of both: what is meant.
    warnings.filterwarnings("ignore", message="'uem' was approximated")
    files = {path.stem: load(path) for path in sorted(arguments.folder.glob("*.rttm"))}
    pairs = [
        [figures(first, second, None) for second in files.values()] for first in files.values()
    ]
    arrays = {
        "rules": np.array(RULES, np.float64),
        "figures": np.array(FIGURES),
        "names": np.array(list(files)),
        "pairs": np.array(pairs),
        **random_cases(),
    }
    if arguments.check:
        return check(arrays)
    np.savez_compressed(PATH, **arrays)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="RTTM files, of one recording each")
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    return parser.parse_args()


def check(arrays: Arrays) -> int:
    with np.load(PATH) as committed:
        same = committed.files == list(arrays) and all(
            np.array_equal(committed[name], array) for name, array in arrays.items()
        )
    print("reproduced" if same else f"{PATH.name} differs")
    return int(not same)


def load(path: Path) -> Annotation:
    (annotation,) = load_rttm(path).values()
    return annotation


def metrics() -> list[Metrics]:
    """A pair for each of the rules."""
    return [
        tuple(
            kind(collar=collar, skip_overlap=skip)
            for kind in (DiarizationErrorRate, JaccardErrorRate)
        )
        for collar, skip in RULES
    ]


def figures(
    reference: Annotation,
    hypothesis: Annotation,
    uem: Timeline | None,
    judges: list[Metrics] | None = None,
) -> list[list[float]]:
    """(rules, 7). ``judges`` sum what they have seen."""
    rows = []
    for der, jer in judges or metrics():
        detail = der(reference, hypothesis, uem=uem, detailed=True)
        error = jer(reference, hypothesis, uem=uem)
        rows.append([*(detail[name] for name in COMPONENTS), detail[der.name], error])
    return rows


def random_cases() -> Arrays:
    judges = metrics()
    turns, uem, expected = [], [], []
    for case in range(CASES):
        random = np.random.default_rng(case)
        sides = [list(random_turns(random)) for _ in range(2)]
        spans = list(random_spans(random)) if case % 3 == 0 else []
        timeline = Timeline([Segment(*span) for span in spans]) if spans else None
        expected.append(figures(*map(annotation, sides), timeline, judges))
        turns += [(case, side, *turn) for side in range(2) for turn in sides[side]]
        uem += [(case, *span) for span in spans]
    return {
        "turns": np.array(turns, np.float64),
        "uem": np.array(uem, np.float64),
        "random": np.array(expected),
        "total": np.array([[abs(metric) for metric in pair] for pair in judges]),
    }


def random_turns(random: np.random.Generator) -> Iterator[tuple[float, float, int]]:
    """0 to 40 turns of 1 to 6 speakers in a minute, on milliseconds in half of the cases.

    Turns of one speaker may overlap too.
    """
    decimals = 3 if random.random() < 0.5 else 12
    num_speakers = random.integers(1, 7)
    for _ in range(random.choice((0, 1, 5, 20, 40), p=(0.05, 0.1, 0.2, 0.4, 0.25))):
        start = round(random.uniform(0, 60), decimals)
        end = round(start + random.exponential(3.0) + 0.01, decimals)
        yield start, end, int(random.integers(num_speakers))


def random_spans(random: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Two spans that may overlap."""
    for _ in range(2):
        start = round(random.uniform(0, 50), 3)
        yield start, round(start + random.uniform(1, 20), 3)


def annotation(turns: list[tuple[float, float, int]]) -> Annotation:
    result = Annotation()
    for track, (start, end, speaker) in enumerate(turns):
        result[Segment(start, end), track] = f"{speaker}"
    return result


if __name__ == "__main__":
    sys.exit(main())
