"""The DER of pyannote.metrics: pairs of (reference, hypothesis) turns in, a list of rates out."""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any


def main() -> None:
    warnings.filterwarnings("ignore")
    from pyannote.core import Annotation, Segment  # noqa: PLC0415 -- after the filter
    from pyannote.metrics.diarization import DiarizationErrorRate  # noqa: PLC0415

    def annotation(turns: list[tuple[float, float, str]]) -> Any:
        found = Annotation()
        for track, (start_s, end_s, speaker) in enumerate(turns):
            found[Segment(start_s, end_s), track] = speaker
        return found

    rates = []
    for pair in json.load(sys.stdin):
        # A metric of its own for each: it adds up what it has seen.
        metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
        rates.append(metric(*map(annotation, pair)))
    json.dump(rates, sys.stdout)


if __name__ == "__main__":
    main()
