"""From a block of windows to masks and embeddings of local speakers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..session import Session
from ..stages import FrameGrid, embedding_masks
from ..windows import WindowBlock
from .progress import Stopwatch
from .settings import Mode

FloatArray = npt.NDArray[np.float32]
# Windows per call of a network on the CPU. With one thread more gain next to nothing (3 min on 2
# cores: 13.4 s with 1, 11.9 to 13.7 s with 2 to 8) and cost memory: a peak of 347 MB with 1, 442
# with 2, 535 with 4 and 708 with 8.
_CPU_BATCH = 1


@dataclass(frozen=True)
class Local:
    """The local speakers of some windows.

    Attributes:
        starts: (W,) first samples of the windows.
        masks: (W, F, S) uint8 of 0 and 1.
        embeddings: (W, S, D) float32; NaN for a local speaker who is silent.
        num_samples: up to which sample there is audio.
    """

    starts: npt.NDArray[np.int64]
    masks: npt.NDArray[np.uint8]
    embeddings: FloatArray
    num_samples: int


class Extractor:
    """Segmentation and embeddings of blocks; may be called from several threads."""

    def __init__(
        self, segmentation: Session, embedding: Session, mode: Mode, watch: Stopwatch
    ) -> None:
        self._segmentation, self._embedding = segmentation, embedding
        self._watch = watch
        self._grid = FrameGrid.from_description(segmentation.description)
        # A format that fixes the length takes windows only.
        self.mode: Mode = "exact" if "samples" in embedding.description.sizes else mode
        self._size = embedding.description.figure("embedding_size", int)

    def __call__(self, block: WindowBlock) -> Local:
        with self._watch.stage("segmentation"):
            masks = self._masks(block.windows)
        with self._watch.stage("embedding"):
            weights = embedding_masks(masks, self._grid.window_samples)
            embed = self._shared if self.mode == "fast" else self._each
            embeddings = embed(block, weights)
        ends = block.starts + block.num_valid
        return Local(block.starts, masks, embeddings, int(ends[-1]))

    def _masks(self, windows: FloatArray) -> npt.NDArray[np.uint8]:
        size = _CPU_BATCH if self._segmentation.device == "cpu" else None
        inputs = (window[None] for window in windows)
        outputs = self._segmentation.run_batched(inputs, batch_size=size)
        return np.stack([output["masks"] for output in outputs]).astype(np.uint8)

    def _each(self, block: WindowBlock, weights: FloatArray) -> FloatArray:
        """(W, S, D): the network on every window in which someone speaks."""
        speaking = np.flatnonzero(weights.any(axis=(1, 2)))
        size = _CPU_BATCH if self._embedding.device == "cpu" else None
        items = ({"waveform": block.windows[w][None], "masks": weights[w]} for w in speaking)
        embeddings = np.full((*weights.shape[:2], self._size), np.nan, np.float32)
        outputs = self._embedding.run_batched(items, batch_size=size)
        for window, output in zip(speaking, outputs, strict=True):
            embeddings[window] = output["embeddings"]
        embeddings[~weights.any(axis=2)] = np.nan
        return embeddings

    def _shared(self, block: WindowBlock, weights: FloatArray) -> FloatArray:
        """(W, S, D): the network once over the block, pooled by the masks of every window."""
        embeddings = np.full((*weights.shape[:2], self._size), np.nan, np.float32)
        windows, speakers = np.nonzero(weights.any(axis=2))
        if not len(windows):
            return embeddings
        rows = self._rows(block, weights, windows, speakers)
        waveform = _contiguous(block)[None, None]
        outputs = self._embedding.run(waveform=waveform, masks=rows[None])
        embeddings[windows, speakers] = outputs["embeddings"][0]
        return embeddings

    def _rows(
        self,
        block: WindowBlock,
        weights: FloatArray,
        windows: npt.NDArray[np.intp],
        speakers: npt.NDArray[np.intp],
    ) -> FloatArray:
        """(R, frames of the block): each mask at its window's place.

        The network spreads the frames of a mask evenly over the audio: those of a block have the
        length of a window's, so that a block of one window is that window.
        """
        frames, length = self._grid.window_frames, self._grid.window_samples
        offsets = np.rint((block.starts - block.starts[0]) * (frames / length)).astype(int)
        rows = np.zeros((len(windows), offsets[-1] + frames), np.float32)
        for row, window, speaker in zip(rows, windows, speakers, strict=True):
            row[offsets[window] : offsets[window] + frames] = weights[window, speaker]
        return rows


def _contiguous(block: WindowBlock) -> FloatArray:
    """The audio that the windows cover, each sample once."""
    windows = block.windows
    if len(windows) == 1:
        return np.ascontiguousarray(windows[0])
    step = int(block.starts[1] - block.starts[0])
    return np.concatenate([windows[0], windows[1:, windows.shape[1] - step :].ravel()])
