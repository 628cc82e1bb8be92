"""``Highlighter``: audio, and the chat that came with it, to highlights."""

from __future__ import annotations

import os

import numpy as np

from ..audio import mono_stream
from ..audio_source import AudioSource
from ..closing import Closing
from ..diarization.progress import Hook, Progress, Stopwatch
from ..in_order import timed
from ..options import DEFAULT_OPTIONS, Options
from .chat import NO_CHAT, ChatCounts
from .graphs import FloatArray, HighlightGraphs
from .levels import FILE_BLOCK_SAMPLES, LevelMeter
from .result import HighlightResult, judged
from .selection import DEFAULT_SELECTION, Selection
from .stream import HighlightStream


class Highlighter(Closing):
    """Finds where a stream is louder, and its chat livelier, than the whole of it.

    A long file is streamed: but for a minute of audio, only its levels are held, 40 bytes for
    each second with the default hop. The scores of all frames are computed in one call and leave
    the device once.
    """

    def __init__(
        self,
        *,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        fallback: bool = False,
        options: Options = DEFAULT_OPTIONS,
    ) -> None:
        """Load the graphs.

        Args:
            models: folder with the artifacts; see ``load``.
            device: see ``load``.
            precision: see ``load``.
            fallback: see ``load``.
            options: see ``load``.

        Raises:
            ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError,
                OptionsError: as ``load``.
        """
        self._graphs = HighlightGraphs(
            models=models, device=device, precision=precision, fallback=fallback, options=options
        )

    @property
    def sample_rate_hz(self) -> int:
        """What audio is resampled to."""
        return self._graphs.sample_rate_hz

    def __call__(
        self,
        audio: AudioSource,
        chat: ChatCounts = NO_CHAT,
        *,
        source_rate_hz: int | None = None,
        selection: Selection = DEFAULT_SELECTION,
        progress: Hook | None = None,
    ) -> HighlightResult:
        """Find the highlights of a file, a file object or samples.

        Args:
            audio: see ``read_audio``; long files are streamed, whatever their length. Audio
                shorter than a frame is measured as if silence followed.
            chat: messages and their times; those after the end do not count.
            source_rate_hz: of samples given as an array.
            selection: which moments are given.
            progress: called after every piece of audio, with the stage "levels".

        Raises:
            AudioError: the audio cannot be used.
            VoxportError: a graph failed.
        """
        watch = Stopwatch()
        rms, num_samples = self._levels(audio, source_rate_hz, progress, watch)
        with watch.stage("scores"):
            result = judged(
                self._graphs,
                rms,
                chat.per_frame(len(rms), self._graphs.hop_s),
                num_samples / self.sample_rate_hz,
                selection,
                watch.seconds,
            )
        watch.add("total", watch.elapsed_s)
        return result

    def stream(self, *, source_rate_hz: int = 16000, num_channels: int = 1) -> HighlightStream:
        """Begin with live audio; several streams may share the graphs.

        Args:
            source_rate_hz: of what will be pushed.
            num_channels: of what will be pushed.

        Raises:
            AudioError: a rate or number of channels that no audio has.
        """
        return HighlightStream(self._graphs, source_rate_hz, num_channels)

    def _levels(
        self,
        audio: AudioSource,
        source_rate_hz: int | None,
        progress: Hook | None,
        watch: Stopwatch,
    ) -> tuple[FloatArray, int]:
        """(T,) levels, and the number of samples."""
        found = []
        with mono_stream(audio, self.sample_rate_hz, source_rate_hz=source_rate_hz) as coming:
            meter = LevelMeter(self._graphs, coming.name, FILE_BLOCK_SAMPLES)
            for chunk in timed(coming.chunks, lambda: watch.stage("reading")):
                with watch.stage("levels"):
                    found.append(meter.push(chunk))
                self._tell(progress, meter.num_samples, coming.num_samples, watch)
        with watch.stage("levels"):
            found.append(meter.finish())
        return np.concatenate(found), meter.num_samples

    def _tell(self, progress: Hook | None, done: int, total: int | None, watch: Stopwatch) -> None:
        if progress is not None:
            rate = self.sample_rate_hz
            total_s = None if total is None else total / rate
            progress(Progress("levels", done / rate, total_s, watch.elapsed_s))

    def close(self) -> None:
        """Give back the graphs' memory."""
        self._graphs.close()
