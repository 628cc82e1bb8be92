"""Audio to mel matrices, whatever its length: decoded ahead, run in batches, held nowhere whole."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from ..audio_source import AudioSource, FloatArray
from ..closing import Closing
from ..diarization.progress import Hook, Progress, Stopwatch
from ..diarization.result import Used
from ..errors import ArtifactError, OptionsError
from ..in_order import timed
from ..loading import load
from ..options import DEFAULT_OPTIONS, Options
from ..read_ahead import ReadAhead
from ..windows import AudioWindows, WindowBlock, WindowPlan
from .result import MelResult, ProcessingStats

ARTIFACT = "mel_matrix"
# Blocks of a batch each that may be decoded and wait for the network.
_BLOCKS_AHEAD = 2


class MelMatrix(Closing):
    """Mel spectrograms of segments within segments, in librosa's conventions.

    The audio is cut into stretches of ``sample_length`` seconds, each of these into long and short
    segments; every short segment is a mel spectrogram of its own. Which, the artifact says, as it
    was exported: ``voxport export --set mel_matrix.n_mels=128``.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        *,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        fallback: bool = False,
        threads: int | None = None,
        batch_size: int | None = None,
        options: Options = DEFAULT_OPTIONS,
    ) -> None:
        """Load the graph.

        Args:
            models: folder with the artifacts; see ``load``.
            device: see ``load``.
            precision: see ``load``.
            fallback: see ``load``.
            threads: of the CPU for the graph; None: one for each core.
            batch_size: stretches per call; None: what suits the device. One that does not fit
                into a card's memory is halved, for good.
            options: see ``load``.

        Raises:
            ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError: as ``load``.
            InputError: the artifact does not take that batch.
            OptionsError: a number out of range.
        """
        if threads is not None:
            if threads < 1:
                raise OptionsError(f"threads must be 1 or more, got {threads}")
            options = replace(options, intra_op_threads=threads)
        self._session = load(
            ARTIFACT,
            device=device,
            precision=precision,
            models=models,
            fallback=fallback,
            options=options,
        )
        if batch_size is not None:
            self._session.use_batch_size(batch_size)
        described = self._session.description
        self.sample_rate_hz = described.figure("sample_rate_hz", int)
        self.window_samples = described.figure("window_samples", int)
        sizes = ("long_segments", "short_segments", "num_mel_bins", "time_frames")
        self.shape: tuple[int, ...] = tuple(described.figure(name, int) for name in sizes)
        if described.outputs[0].axes[1:] != self.shape:
            raise ArtifactError(f"{ARTIFACT}: its recipe gives {self.shape}, not its output's axes")
        self.artifact = Used.of(self._session)

    @property
    def configuration(self) -> dict[str, Any]:
        """How the artifact was exported: ``MelMatrixConfig``'s names and values."""
        configuration: dict[str, Any] = self._session.description.recipe.get("configuration", {})
        return configuration

    def __call__(
        self,
        audio: AudioSource,
        *,
        source_rate_hz: int | None = None,
        progress: Hook | None = None,
    ) -> MelResult:
        """All matrices of a file, a file object or samples, in memory; ``stream`` holds a few.

        Args:
            audio: see ``read_audio``; the last stretch is filled up with zeros.
            source_rate_hz: of samples given as an array.
            progress: called for every stretch, with the stage "mel".

        Raises:
            AudioError: the audio cannot be used.
        """
        stream = self.stream(audio, source_rate_hz=source_rate_hz, progress=progress)
        matrix = np.stack(list(stream))
        return MelResult(
            matrix=matrix,
            num_samples=stream.num_samples,
            configuration=self.configuration,
            artifact=self.artifact,
            processing_stats=stream.stats(),
        )

    def stream(
        self,
        audio: AudioSource,
        *,
        source_rate_hz: int | None = None,
        progress: Hook | None = None,
    ) -> MelStream:
        """The matrices one after the other, (long_segments, ..., time_frames) float32 each.

        Args, and what is raised: as by a call; errors within the audio come while iterating.
        """
        plan = WindowPlan(self.window_samples, self.window_samples, self._session.batch_size)
        windows = AudioWindows(
            audio, self.sample_rate_hz, plan, source_rate_hz=source_rate_hz, cache_samples=0
        )
        return MelStream(self, windows, progress)

    def close(self) -> None:
        """Give back the graph's memory."""
        self._session.close()


class MelStream:
    """Matrices of one recording as they come: iterate once.

    Attributes:
        watch: the time of each stage, from when the first matrix is asked for; whoever writes
            them adds its own.
        progress: see ``MelMatrix``.
        num_samples: of audio so far, at the artifact's rate.
    """

    def __init__(self, mel: MelMatrix, windows: AudioWindows, progress: Hook | None) -> None:
        self._mel, self._windows, self.progress = mel, windows, progress
        self._ahead: ReadAhead[WindowBlock] | None = None
        self._num_matrices = 0
        self.watch = Stopwatch()
        self.num_samples = 0

    def begin(self) -> ReadAhead[WindowBlock]:
        """Decode the first blocks on a thread, before anybody asks for them; then close it."""
        if self._ahead is None:
            blocks = timed(self._windows, lambda: self.watch.stage("decoding"))
            self._ahead = ReadAhead(blocks, _BLOCKS_AHEAD)
        return self._ahead

    def close(self) -> None:
        """End the thread; what was iterated to its end is closed."""
        if self._ahead is not None:
            self._ahead.close()

    def __iter__(self) -> Generator[FloatArray]:
        self.watch.started = time.perf_counter()
        with closing(self.begin()) as ahead:
            outputs = self._mel._session.run_batched(
                self._items(ahead), around=lambda: self.watch.stage("inference")
            )
            for each in outputs:
                self._num_matrices += 1
                self._tell()
                yield each["matrix"]

    def _items(self, blocks: ReadAhead[WindowBlock]) -> Iterator[FloatArray]:
        for block in blocks:
            self.num_samples = int(block.starts[-1] + block.num_valid[-1])
            yield from block.windows

    def _tell(self) -> None:
        if self.progress is None:
            return
        rate_hz, total = self._mel.sample_rate_hz, self._windows.num_samples
        done = min(self.num_samples, self._num_matrices * self._mel.window_samples)
        total_s = None if total is None else total / rate_hz
        self.progress(Progress("mel", done / rate_hz, total_s, self.watch.elapsed_s))

    def stats(self) -> ProcessingStats:
        """What it took so far."""
        long_segments, short_segments, *_ = self._mel.shape
        return ProcessingStats(
            total_s=self.watch.elapsed_s,
            audio_s=self.num_samples / self._mel.sample_rate_hz,
            num_segments=self._num_matrices * long_segments * short_segments,
            stage_s=dict(self.watch.seconds),
        )
