"""Regions of audio that share one run of an embedding network, and the masks pooled in them.

A block's windows reach into the next block. Were the audio of every window of a block to go through
the network with it, a third of all audio would go twice; so regions overlap by little only, and the
mask of a window that lies in two of them is pooled in the one that holds more of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..segmenter import FloatArray, contiguous
from ..stages import FrameGrid
from ..windows import WindowBlock

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Region:
    """The audio from a block's start on that one run of the network takes.

    Frames are those of the masks, spread evenly over the audio: a window's frames per window.

    Attributes:
        waveform: (N,) samples.
        num_frames: how many frames lie in it.
        places: (W,) frame at which each window of the block begins.
        next_frame: where the next block's region begins; None if this is the last one.
    """

    waveform: FloatArray
    num_frames: int
    places: Places
    next_frame: int | None

    @classmethod
    def of(
        cls, block: WindowBlock, grid: FrameGrid, num_samples: int, next_start: int | None
    ) -> Region:
        """The region of a block.

        Args:
            block: windows.
            grid: their frames.
            num_samples: of a region; the last one reaches to the end.
            next_start: first sample of the next block; None if there is none.
        """
        waveform = contiguous(block)
        if next_start is not None:
            waveform = waveform[:num_samples]

        def frames(samples: npt.ArrayLike) -> Places:
            exact = np.asarray(samples) * (grid.window_frames / grid.window_samples)
            return np.rint(exact).astype(np.int64)

        start = int(block.starts[0])
        return cls(
            waveform,
            int(frames(len(waveform))),
            frames(block.starts - start),
            None if next_start is None else int(frames(next_start - start)),
        )

    def keeps(self, weights: FloatArray) -> npt.NDArray[np.bool_]:
        """(W, S): which of the block's masks (W, S, F) are pooled here and not in the next one."""
        active = np.asarray(weights.any(axis=2))
        if self.next_frame is None:
            return active
        here = placed(weights, self.places, self.num_frames).sum(axis=2)
        frames = self.places[-1] + weights.shape[2] - self.next_frame
        there = placed(weights, self.places - self.next_frame, int(frames)).sum(axis=2)
        return np.asarray(active & (here >= there))


def placed(weights: FloatArray, places: Places, num_frames: int) -> FloatArray:
    """Masks (W, S, F) laid at their windows' places among ``num_frames`` frames, and cut there."""
    count = weights.shape[2]
    rows = np.zeros((*weights.shape[:2], max(0, num_frames)), np.float32)
    for row, mask, place in zip(rows, weights, places.tolist(), strict=True):
        first, last = max(0, -place), min(count, num_frames - place)
        if first < last:
            row[:, place + first : place + last] = mask[:, first:last]
    return rows
