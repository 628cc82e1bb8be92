"""``HighlightStream``: highlights of live audio, provisional until its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import AudioError, SessionClosedError
from ..streaming.incoming import IncomingAudio
from .chat import NO_CHAT, ChatCounts
from .graphs import FloatArray, HighlightGraphs
from .levels import LevelMeter
from .result import HighlightResult, judged
from .selection import DEFAULT_SELECTION, Moment, Selection
from .statistics import RunningStatistics


@dataclass(frozen=True)
class HighlightUpdate:
    """What a piece of live audio added.

    Attributes:
        now_s: seconds of audio so far.
        start_s: when the first new frame begins; the others follow in hops.
        rms: (t,) float32, root mean squares of the frames that the piece ended.
        z: (t,) float64, their z-scores by the statistics of everything up to the piece's end.
        peaks: (t,) bool, whether z is above the peak threshold: provisional.
    """

    now_s: float
    start_s: float
    rms: FloatArray
    z: npt.NDArray[np.float64]
    peaks: npt.NDArray[np.bool_]


class HighlightStream:
    """Highlights while a stream goes on; make one with ``Highlighter.stream``.

    Levels do not change any more once a frame has been heard. What stands out depends on the
    whole stream: ``push`` judges by running statistics, ``moments`` by all frames so far, and
    ``finish`` gives what a ``Highlighter`` gives for the same samples, however they were cut:
    levels up to their last bit, scores within 2e-6. (Where channels cancel each other out, they
    are mixed down in other blocks than a file's.) Only levels and chat counts are kept: 40 bytes
    for each second with the default hop. For one thread at a time.

    Args:
        graphs: the loaded artifacts.
        source_rate_hz: of what will be pushed.
        num_channels: of what will be pushed.

    Raises:
        AudioError: a rate or number of channels that no audio has.
    """

    def __init__(self, graphs: HighlightGraphs, source_rate_hz: int, num_channels: int) -> None:
        self._graphs = graphs
        self._incoming = IncomingAudio(source_rate_hz, graphs.sample_rate_hz, num_channels)
        self._meter = LevelMeter(graphs, "live audio")
        self._levels: list[FloatArray] = []
        self._num_frames = 0
        self._chat = NO_CHAT
        self.statistics = RunningStatistics(graphs.min_relative_deviation)
        self._finished = False

    @property
    def now_s(self) -> float:
        """Seconds of audio that the graphs have been given."""
        return self._meter.num_samples / self._graphs.sample_rate_hz

    def push(self, samples: npt.NDArray[Any]) -> HighlightUpdate:
        """Hear the next piece of audio.

        Args:
            samples: (n,), or (n, num_channels), of any length, also none: float of full scale 1,
                or integers, which are scaled by their type's full scale. They are copied.

        Raises:
            AudioError: another type or shape, NaN or infinite samples; nothing of them is taken,
                and the stream goes on.
            SessionClosedError: after ``finish``, or after the highlighter was closed.
            VoxportError: a graph failed.
        """
        self._check_open()
        first_frame = self._num_frames
        rms = self._take(self._meter.push(self._incoming.push(samples).copy()))
        z = self.statistics.z(rms)
        return HighlightUpdate(
            now_s=self.now_s,
            start_s=first_frame * self._graphs.hop_s,
            rms=rms,
            z=z,
            peaks=z > self._graphs.peak_threshold,
        )

    def push_chat(self, chat: ChatCounts) -> None:
        """Add messages, with times from the start of the audio, in any order.

        Raises:
            SessionClosedError: after ``finish``.
        """
        self._check_open()
        self._chat = ChatCounts(
            np.concatenate([self._chat.times_s, chat.times_s]),
            np.concatenate([self._chat.counts, chat.counts]),
        )

    def moments(self, selection: Selection = DEFAULT_SELECTION) -> tuple[Moment, ...]:
        """The highlights if the stream ended now: all may change, or vanish, as it goes on.

        It takes time in proportion to the length of the stream: ask every few seconds.

        Raises:
            VoxportError: the graph failed.
        """
        return self._judged(selection).moments if self._num_frames else ()

    def finish(self, selection: Selection = DEFAULT_SELECTION) -> HighlightResult:
        """End the stream: its highlights, as for a file.

        Raises:
            AudioError: nothing was pushed.
            SessionClosedError: it was finished before.
            VoxportError: the graph failed.
        """
        self._check_open()
        self._finished = True
        self._take(self._meter.push(self._incoming.finish()))
        self._take(self._meter.finish())
        if not self._num_frames:
            raise AudioError("live audio: the stream was finished before any sample came")
        return self._judged(selection)

    def _take(self, rms: FloatArray) -> FloatArray:
        if len(rms):
            self._levels.append(rms)
            self._num_frames += len(rms)
            self.statistics.update(rms)
        return rms

    def _judged(self, selection: Selection) -> HighlightResult:
        # One array again, so that a long stream is not held in tiny ones.
        self._levels = [np.concatenate(self._levels)]
        (rms,) = self._levels
        chat = self._chat.per_frame(len(rms), self._graphs.hop_s)
        return judged(self._graphs, rms, chat, self.now_s, selection, {})

    def _check_open(self) -> None:
        if self._finished:
            raise SessionClosedError("the stream was finished: begin another one")
