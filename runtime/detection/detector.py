"""Voice activity and overlapped speech, from the segmentation network alone."""

from __future__ import annotations

import math
import os
from contextlib import closing
from dataclasses import replace
from itertools import chain

from ..annotation.turns import Turns
from ..audio_source import AudioSource
from ..closing import Closing
from ..diarization.progress import Hook, Progress, Stopwatch
from ..diarization.result import Used
from ..errors import OptionsError
from ..in_order import map_in_order, timed
from ..loading import load_first
from ..options import DEFAULT_OPTIONS, Options
from ..segmenter import SEGMENTATIONS, Segmenter, window_plan
from ..several.workers import workers_for
from ..stages import FrameGrid, rounded, to_turns, within
from ..windows import AudioWindows, WindowBlock
from .counts import Bools, Counts, CountTrack
from .result import OVERLAP, SPEECH, DetectionResult


class SpeechDetector(Closing):
    """Where there is speech, and where several speak at once, in any audio.

    A frame is speech where a ``Diarizer`` counts one speaker or more, and overlap where it counts
    two or more: with the defaults, the answer is exactly the union of its turns, and their
    overlap. Nothing but the count is kept of a long file, a byte for each frame.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        *,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        fallback: bool = False,
        threads: int | None = None,
        options: Options = DEFAULT_OPTIONS,
        step_s: float = 1.0,
        min_duration_on_s: float = 0.0,
        min_duration_off_s: float = 0.0,
    ) -> None:
        """Load the network.

        Pauses are filled first, then turns dropped, as pyannote.audio 4.0.7's ``Binarize`` does.

        Args:
            models: folder with the artifacts; see ``load``.
            device: see ``load``.
            precision: see ``load``.
            fallback: see ``load``.
            threads: blocks at a time on the CPU; None: one for each core. The answer does not
                depend on it.
            options: see ``load``; on the CPU the network runs on one thread for each block unless
                it says otherwise.
            step_s: seconds from one window to the next, from a frame to a window.
            min_duration_on_s: shorter turns are dropped, in seconds.
            min_duration_off_s: shorter pauses are filled, in seconds.

        Raises:
            ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError: as ``load``.
            OptionsError: a number out of range.
        """
        if threads is not None and threads < 1:
            raise OptionsError(f"threads must be 1 or more, got {threads}")
        self._min_on_s = _seconds("min_duration_on_s", min_duration_on_s)
        self._min_off_s = _seconds("min_duration_off_s", min_duration_off_s)
        self._session = load_first(
            SEGMENTATIONS,
            device=device,
            precision=precision,
            models=models,
            fallback=fallback,
            options=replace(options, intra_op_threads=options.intra_op_threads or 1),
        )
        self._workers = workers_for(self._session, threads)
        self.grid = FrameGrid.from_description(self._session.description)
        self._plan = window_plan(self._session, step_s)
        self._segmenter = Segmenter(self._session, self._plan.block_windows)

    @property
    def sample_rate_hz(self) -> int:
        """What audio is resampled to."""
        return self.grid.sample_rate_hz

    def __call__(
        self,
        audio: AudioSource,
        *,
        source_rate_hz: int | None = None,
        progress: Hook | None = None,
    ) -> DetectionResult:
        """Find speech in a file, a file object or samples.

        Args:
            audio: see ``read_audio``; long files are streamed, whatever their length.
            source_rate_hz: of samples given as an array.
            progress: called after every block, with the stage "windows".

        Raises:
            AudioError: the audio cannot be used.
        """
        watch = Stopwatch()
        windows = AudioWindows(
            audio, self.sample_rate_hz, self._plan, source_rate_hz=source_rate_hz, cache_samples=0
        )
        track = CountTrack(self.grid)
        num_samples = 0

        def segmented(block: WindowBlock) -> tuple[WindowBlock, Counts]:
            with watch.stage("segmentation"):
                return block, self._segmenter(block)

        blocks = timed(windows, lambda: watch.stage("reading"))
        parts = chain.from_iterable(map(self._segmenter.parts, blocks))
        with closing(map_in_order(segmented, parts, self._workers)) as coming:
            for block, masks in coming:
                track.add(masks, block.starts)
                num_samples = int(block.starts[-1] + block.num_valid[-1])
                self._tell(progress, num_samples, windows.num_samples, watch)
        return self._result(track.result(), num_samples, watch)

    def _result(self, counts: Counts, num_samples: int, watch: Stopwatch) -> DetectionResult:
        duration_s = num_samples / self.sample_rate_hz
        speech, overlap = (
            self._turns(counts >= least, label, duration_s)
            for least, label in ((1, SPEECH), (2, OVERLAP))
        )
        return DetectionResult(
            speech=speech,
            overlap=overlap,
            speaker_count=counts,
            hop_s=self.grid.hop_s,
            duration_s=duration_s,
            artifacts=(Used.of(self._session),),
            seconds={**watch.seconds, "total": watch.elapsed_s},
        )

    def _turns(self, active: Bools, label: str, duration_s: float) -> Turns:
        found = to_turns(active[:, None], self.grid, self._min_off_s, {0: label})
        kept = (
            turn
            for turn in within(found, duration_s)
            # Strictly: 1.5 s are not shorter than 1.5 s.
            if not turn.duration_s < self._min_on_s
        )
        return Turns(rounded(kept))

    def _tell(self, progress: Hook | None, done: int, total: int | None, watch: Stopwatch) -> None:
        if progress is not None:
            rate = self.sample_rate_hz
            total_s = None if total is None else total / rate
            progress(Progress("windows", done / rate, total_s, watch.elapsed_s))

    def close(self) -> None:
        """Give back the network's memory."""
        self._session.close()


def _seconds(name: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise OptionsError(f"{name} must be 0 or more, got {value}")
    return value
