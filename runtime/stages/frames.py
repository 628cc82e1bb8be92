"""Where windows and frames lie in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import ArtifactError, InputError
from ..manifest import Description
from .arrays import AnyArray, Doubles, Ints


@dataclass(frozen=True)
class FrameGrid:
    """The frames of a segmentation network, and one grid of them over a whole file.

    A network turns windows of ``window_samples`` into ``window_frames`` frames, one every
    ``hop_samples``, each seeing ``receptive_field_samples``. Frame f of the file's grid begins at
    ``f * hop_samples``; a window's first frame is laid on the nearest one.

    The arithmetic, its rounding included, is that of ``Inference.aggregate`` in pyannote.audio
    4.0.7 and ``SlidingWindow`` in pyannote.core: float64 seconds, half to even.

    Raises:
        InputError: a figure is below 1, or the frames are more than the window has hops.
    """

    sample_rate_hz: int
    window_samples: int
    window_frames: int
    hop_samples: int
    receptive_field_samples: int

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 1:
            raise InputError(f"all figures of a frame grid must be at least 1: {self}")
        # Then the last window's frames lie within num_frames, whatever rounding does.
        if self.window_frames * self.hop_samples > self.window_samples:
            raise InputError(
                f"{self.window_frames} frames of {self.hop_samples} samples do not fit into a "
                f"window of {self.window_samples}"
            )

    @classmethod
    def from_description(cls, description: Description) -> FrameGrid:
        """The grid of an artifact, from the figures of its recipe.

        Raises:
            ArtifactError: a figure is missing or they contradict each other.
        """
        figures = {name: description.figure(name, int) for name in cls.__dataclass_fields__}
        try:
            return cls(**figures)
        except InputError as error:
            raise ArtifactError(f"{description.name}: {error}") from error

    @property
    def hop_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop_samples / self.sample_rate_hz

    @property
    def receptive_field_s(self) -> float:
        """Seconds of audio that a frame sees."""
        return self.receptive_field_samples / self.sample_rate_hz

    def window_offsets(self, starts: AnyArray) -> Ints:
        """First samples of windows, (W,) integers -> (W,) int64: their first frames in the file.

        Raises:
            InputError: ``starts`` is not 1-D, of integers, and ascending from 0 or more.
        """
        return self._nearest_frames(checked_starts(starts) / self.sample_rate_hz)

    def num_frames(self, starts: AnyArray) -> int:
        """Frames of a file with windows at ``starts``; 0 without windows.

        The file counts as reaching to the end of its last window, padding included.

        Raises:
            InputError: as ``window_offsets``.
        """
        starts = checked_starts(starts)
        if not len(starts):
            return 0
        window_s = self.window_samples / self.sample_rate_hz
        return int(self._nearest_frames(window_s + starts[-1:] / self.sample_rate_hz)[0]) + 1

    def frame_times(self, num_frames: int) -> Doubles:
        """Middles of the file's first frames in seconds: (num_frames,) float64."""
        starts_s = np.arange(num_frames) * self.hop_s
        times: Doubles = 0.5 * (starts_s + (starts_s + self.receptive_field_s))
        return times

    def _nearest_frames(self, times_s: Doubles) -> Ints:
        # Half a frame is added and taken away again: that is how pyannote rounds.
        half_s = 0.5 * self.receptive_field_s
        frames: Ints = np.rint((times_s + half_s - half_s) / self.hop_s).astype(np.int64)
        return frames


def checked_starts(starts: AnyArray) -> Ints:
    """(W,) ascending integers from 0 or more.

    Raises:
        InputError: anything else.
    """
    if starts.ndim != 1 or not np.issubdtype(starts.dtype, np.integer):
        raise InputError(
            "starts must be integers, one per window (their first samples), got "
            f"{starts.dtype} of shape {starts.shape}"
        )
    if len(starts) and (starts[0] < 0 or (np.diff(starts) < 0).any()):
        raise InputError("starts of windows must ascend from 0 or more")
    return starts.astype(np.int64)


def checked_windows(masks: AnyArray, starts: AnyArray, grid: FrameGrid) -> Ints:
    """First frames of the windows of (W, F, S) masks.

    Raises:
        InputError: the masks do not have one window per start or ``grid.window_frames`` frames.
    """
    offsets = grid.window_offsets(starts)
    if masks.shape[:2] != (len(offsets), grid.window_frames):
        raise InputError(
            f"masks of {len(offsets)} windows of {grid.window_frames} frames expected, got shape "
            f"{masks.shape}"
        )
    return offsets
