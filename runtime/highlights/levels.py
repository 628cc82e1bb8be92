"""Audio of any length to levels, piece by piece and in bounded memory."""

from __future__ import annotations

import numpy as np

from ..errors import AudioError
from .graphs import FloatArray, HighlightGraphs

# Samples per call for files: a minute at 16 kHz, 4 MiB.
FILE_BLOCK_SAMPLES = 2**20
_NOTHING = np.zeros(0, np.float32)


class LevelMeter:
    """Levels of audio that comes in pieces: those of all of it at once, however it is cut.

    Args:
        graphs: the loaded artifacts.
        name: of the audio, which begins error messages.
        wanted_samples: how many are gathered before they are measured; as soon as there is a
            frame where None.
    """

    def __init__(
        self, graphs: HighlightGraphs, name: str, wanted_samples: int | None = None
    ) -> None:
        self._graphs, self._name = graphs, name
        self._wanted = max(wanted_samples or 0, graphs.frame_samples)
        self._most_frames = max(1, FILE_BLOCK_SAMPLES // graphs.hop_samples)
        self._held: list[FloatArray] = [_NOTHING]
        self._num_held = 0
        self.num_samples = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """(n,) samples, which must not change afterwards -> (t,) levels of the frames they end.

        Raises:
            AudioError: samples so far beyond full scale that their squares are infinite.
            VoxportError: the graph failed.
        """
        self.num_samples += len(samples)
        self._num_held += len(samples)
        if len(samples):
            self._held = [*(each for each in self._held if len(each)), samples]
        return self._measured() if self._num_held >= self._wanted else _NOTHING

    def finish(self) -> FloatArray:
        """(t,) levels of what had been gathered.

        Audio that is shorter than a frame gives one, as if silence followed. What remains of
        longer audio, less than a hop, is in no frame.

        Raises:
            VoxportError: as ``push``.
        """
        missing = self._graphs.frame_samples - self.num_samples
        if missing > 0 and self._num_held:
            self._held.append(np.zeros(missing, np.float32))
        return self._measured()

    def _measured(self) -> FloatArray:
        frame, hop = self._graphs.frame_samples, self._graphs.hop_samples
        # What comes in one piece, such as an array of hours, is not copied.
        rest = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        found = [_NOTHING]
        while len(rest) >= frame:
            count = min(1 + (len(rest) - frame) // hop, self._most_frames)
            found.append(self._levels(rest[: frame + (count - 1) * hop]))
            rest = rest[count * hop :]
        self._held, self._num_held = [rest.copy()], len(rest)
        return np.concatenate(found)

    def _levels(self, samples: FloatArray) -> FloatArray:
        levels = self._graphs.levels(samples)
        if not np.isfinite(levels).all():
            raise AudioError(f"{self._name}: holds samples beyond 1e19: the full scale is 1")
        return levels
