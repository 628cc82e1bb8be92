"""``StreamingDiarizer``: live audio to speaker turns."""

from __future__ import annotations

import os
from typing import Any

import numpy.typing as npt

from ..closing import Closing
from ..errors import OptionsError, SessionClosedError
from ..options import DEFAULT_OPTIONS, Options
from ..stages import FrameGrid
from .engine import StreamEngine
from .incoming import IncomingAudio
from .networks import WindowNetworks
from .settings import StreamingSettings
from .update import StreamingUpdate


class StreamingDiarizer(Closing):
    """Who speaks, while they speak.

    Every ``step_s`` seconds the last ten seconds are heard: who is active when, and their voices.
    All voices that are remembered are clustered anew, and every moment that is not final is
    decided anew by the windows that cover it, as offline. From the first second on: the first
    windows begin before the audio, with silence.

    A moment is final ``latency_s`` after it was heard, and what a frame of the segmentation sees
    (62 ms); computing a step comes on top, and for other rates than the networks' what the
    resampler holds back (up to 0.12 s, at 8 kHz). A label that was given to a final turn is never
    renamed. Memory does not grow with the stream, and the answer does not depend on how the audio
    is cut into pieces. For one thread at a time.

    Source: the rolling window and the latency are those of Coria et al., "Overlap-aware
    low-latency online speaker diarization based on end-to-end local segmentation" (2021);
    clustering and aggregation are the offline ones of this package. Figures:
    ``docs/decisions/0008-streaming.md``.
    """

    def __init__(  # noqa: PLR0913 -- one keyword for each choice
        self,
        *,
        models: str | os.PathLike[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        embedding: str | None = None,
        settings: StreamingSettings | None = None,
        source_rate_hz: int = 16000,
        num_channels: int = 1,
        fallback: bool = False,
        options: Options = DEFAULT_OPTIONS,
    ) -> None:
        """Load the networks and begin.

        Args:
            models: folder with the artifacts; see ``load``.
            device: see ``load``.
            precision: of the networks; see ``load``.
            embedding: name of the embedding artifact; the folder's first one where None.
            settings: how to do it.
            source_rate_hz: of the samples that will be pushed.
            num_channels: of the samples that will be pushed.
            fallback: see ``load``.
            options: see ``load``; on the CPU the networks run on one thread each unless it says
                otherwise.

        Raises:
            ArtifactNotFoundError, ArtifactError, DeviceError, MissingDependencyError: as ``load``.
            OptionsError: a step that the networks cannot meet.
            AudioError: a rate or number of channels that no audio has.
        """
        # Before anything is loaded.
        IncomingAudio(source_rate_hz, source_rate_hz, num_channels)
        self.settings = settings or StreamingSettings()
        self.source_rate_hz, self.num_channels = source_rate_hz, num_channels
        self._networks = WindowNetworks(
            models=models,
            device=device,
            precision=precision,
            embedding=embedding,
            fallback=fallback,
            options=options,
        )
        _check_step(self.grid, self.settings.step_s)
        self._closed = False
        self.reset()

    @property
    def grid(self) -> FrameGrid:
        """The geometry of the frames."""
        return self._networks.grid

    def reset(self) -> None:
        """Begin another stream, of which nothing is known, with the same networks."""
        rate_hz = self.grid.sample_rate_hz
        self._incoming = IncomingAudio(self.source_rate_hz, rate_hz, self.num_channels)
        self._engine = StreamEngine(self._networks, self.settings)
        self._ended = self._finished = False

    def push(self, samples: npt.NDArray[Any]) -> StreamingUpdate:
        """Hear the next piece of audio.

        Args:
            samples: (n,), or (n, num_channels), of any length, also none: float of full scale 1,
                or integers, which are scaled by their type's full scale (int16: by 32768). They
                are copied.

        Returns:
            What is known now.

        Raises:
            AudioError: another type or shape, NaN or infinite samples; nothing of them is taken,
                and the stream goes on.
            SessionClosedError: after ``finish`` or ``close``.
            VoxportError: a network failed. The samples are kept: the next push, which may be
                empty, goes on where this one stopped.
        """
        self._check_open()
        if self._ended:
            raise SessionClosedError("the stream was finished, in part: call finish() again")
        self._engine.push(self._incoming.push(samples))
        return self._update()

    def finish(self) -> StreamingUpdate:
        """End the stream: its last seconds, all final.

        Raises:
            SessionClosedError: after ``finish`` or ``close``.
            VoxportError: a network failed; it may be called again.
        """
        self._check_open()
        # What comes out of the mixer and the resampler now ends the audio: no push may follow.
        self._ended = True
        self._engine.push(self._incoming.finish())
        self._engine.finish()
        self._finished = True
        now_s = self._now_s()
        return StreamingUpdate(self._engine.take_final(), (), now_s, now_s)

    def close(self) -> None:
        """Give back the networks' memory. What was not final is lost: ``finish`` first."""
        self._closed = True
        self._networks.close()

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosedError("the streaming diarizer was closed")
        if self._finished:
            raise SessionClosedError("the stream was finished; reset() begins another one")

    def _now_s(self) -> float:
        return self._incoming.num_frames / self.source_rate_hz

    def _update(self) -> StreamingUpdate:
        engine = self._engine
        return StreamingUpdate(
            engine.take_final(), engine.provisional(), self._now_s(), engine.final_until_s
        )


def _check_step(grid: FrameGrid, step_s: float) -> None:
    step, rate_hz = round(step_s * grid.sample_rate_hz), grid.sample_rate_hz
    if not grid.hop_samples <= step <= grid.window_samples:
        raise OptionsError(
            f"step_s must be from a frame to a window, {grid.hop_s:.3g} to "
            f"{grid.window_samples / rate_hz:g} s, got {step_s}"
        )
