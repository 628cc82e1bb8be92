"""Highlights, what they were found by, and how both are written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..diarization.result import Used
from .graphs import FloatArray, HighlightGraphs
from .selection import FrameTimes, Moment, Selection, select_moments

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class HighlightResult:
    """The answer of a ``Highlighter``. Arrays are (T,) float32, a value for each frame.

    Attributes:
        moments: the highlights, in the order of time.
        rms: root mean square of the frame, 1 for full scale.
        z: how far it is from the stream's mean, in standard deviations.
        peak_mask: 1 where z is above the peak threshold.
        chat_smoothed: moving average of the messages per frame.
        score: weighted sum of z and the chat's z-score.
        highlight_mask: 1 where the score is above the score threshold.
        frame_s: what one frame spans.
        hop_s: from one frame to the next.
        duration_s: length of the audio.
        score_threshold: of the artifact.
        artifacts: what was used.
        seconds: by stage; "total" is wall time. Empty for live audio.
    """

    moments: tuple[Moment, ...]
    rms: FloatArray
    z: FloatArray
    peak_mask: FloatArray
    chat_smoothed: FloatArray
    score: FloatArray
    highlight_mask: FloatArray
    frame_s: float
    hop_s: float
    duration_s: float
    score_threshold: float
    artifacts: tuple[Used, ...]
    seconds: dict[str, float]

    @property
    def rtfx(self) -> float:
        """Audio seconds per second; 0 where nothing was measured."""
        total = self.seconds.get("total", 0.0)
        return self.duration_s / total if total > 0 else 0.0


def judged(  # noqa: PLR0913, PLR0917 -- all that a result is made of
    graphs: HighlightGraphs,
    rms: FloatArray,
    chat: FloatArray,
    duration_s: float,
    selection: Selection,
    seconds: dict[str, float],
) -> HighlightResult:
    """The result for the levels and the chat, (T,) each, of a whole stream.

    Raises:
        VoxportError: the graph failed.
    """
    outputs = graphs.scores(rms, chat)
    times = FrameTimes(graphs.frame_s, graphs.hop_s, duration_s)
    return HighlightResult(
        moments=select_moments(outputs["highlight_mask"], outputs["score"], times, selection),
        rms=rms,
        **outputs,
        frame_s=graphs.frame_s,
        hop_s=graphs.hop_s,
        duration_s=duration_s,
        score_threshold=graphs.score_threshold,
        artifacts=tuple(map(Used.of, graphs.sessions)),
        seconds=seconds,
    )


def write_json(result: HighlightResult, file_id: str) -> str:
    """JSON, floats as they are::

        {"schema_version": 1, "file": "stream", "duration_s": 5400.0,
         "moments": [{"start_s": 61.2, "end_s": 66.5, "score": 5.31}]}

    Moments are sorted by time. Readers should ignore keys that they do not know.
    """
    moments = [
        {"start_s": each.start_s, "end_s": each.end_s, "score": each.score}
        for each in result.moments
    ]
    document = {
        "schema_version": SCHEMA_VERSION,
        "file": file_id,
        "duration_s": result.duration_s,
        "moments": moments,
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def write_csv(result: HighlightResult, _file_id: str) -> str:
    """CSV with a header; milliseconds, and three digits of the score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("start_s", "end_s", "score"))
    for each in result.moments:
        writer.writerow((f"{each.start_s:.3f}", f"{each.end_s:.3f}", f"{each.score:.3f}"))
    return text.getvalue()


Writer = Callable[[HighlightResult, str], str]

# By name, which is also the ending of a file's name.
FORMATS: Mapping[str, Writer] = MappingProxyType({"json": write_json, "csv": write_csv})
