"""From windows to masks and embeddings of local speakers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from threading import BoundedSemaphore

import numpy as np
import numpy.typing as npt

from ..errors import OutOfMemoryError
from ..segmenter import FloatArray, Masks, Segmenter
from ..session import Session
from ..stages import FrameGrid, embedding_masks
from ..windows import WindowBlock
from .progress import Stopwatch
from .regions import Places, Region, placed
from .settings import Mode

# Windows per call of the embedding network on the CPU, where more gain nothing: convolutions are
# as fast for one.
_CPU_BATCH = 1
# Masks of a region are filled up to a multiple of it.
_ROWS = 64


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


@dataclass(frozen=True)
class _Segmented:
    """Windows whose masks have been computed, or will be."""

    block: WindowBlock
    tasks: list[Future[Masks]]

    def masks(self) -> Masks:
        return np.concatenate([task.result() for task in self.tasks])

    def local(self, embeddings: FloatArray) -> Local:
        block = self.block
        end = int(block.starts[-1] + block.num_valid[-1])
        return Local(block.starts, self.masks(), embeddings, end)


@dataclass(frozen=True)
class _Regional:
    """A block and the region that its trunk runs over."""

    segmented: _Segmented
    region: Region


@dataclass(frozen=True)
class _Pooled:
    """What a region's trunk gave: embeddings of its block, and of the block before it."""

    own: FloatArray
    before: FloatArray | None


class Extractor:
    """Segmentation and embeddings of blocks of windows, in tasks that may run at once.

    In exact mode the embedding network runs on every window in which someone speaks. In fast mode
    its trunk runs once over regions of audio that hardly overlap, and each mask is pooled in the
    region that holds most of it.

    Args:
        segmenter: of windows.
        embedding: the embedding artifact.
        mode: see ``Settings``; a format that fixes the length takes windows only.
        region_samples: from the start of a block, how much audio the trunk takes in fast mode.
        watch: counts the time.
        at_once: how many regions may be computed at the same time: their memory is most of what a
            diarization needs.
    """

    def __init__(  # noqa: PLR0913 -- what it works with
        self,
        segmenter: Segmenter,
        embedding: Session,
        mode: Mode,
        region_samples: int,
        watch: Stopwatch,
        *,
        at_once: int = 1,
    ) -> None:
        self._segmenter, self._embedding = segmenter, embedding
        self._region_samples, self._watch = region_samples, watch
        self._grid = FrameGrid.from_description(segmenter.session.description)
        self.mode: Mode = "exact" if "samples" in embedding.description.sizes else mode
        self._size = embedding.description.figure("embedding_size", int)
        self._turn = BoundedSemaphore(at_once)

    def __call__(
        self, blocks: Iterable[WindowBlock], pool: Executor, ahead: int
    ) -> Iterator[Local]:
        """The local speakers of all windows, in order; ``ahead`` blocks are under way at once.

        A task waits for tasks only that were submitted before it, so that a pool of any size that
        takes them in order comes to an end with them.
        """
        return (self._regions if self.mode == "fast" else self._windows)(blocks, pool, ahead)

    def _segmented(self, block: WindowBlock, pool: Executor) -> list[_Segmented]:
        """The parts of a block, each with a task of its own."""
        parts = self._segmenter.parts(block)
        return [_Segmented(part, [pool.submit(self._masks, part)]) for part in parts]

    def _masks(self, part: WindowBlock) -> Masks:
        with self._watch.stage("segmentation"):
            return self._segmenter(part)

    def _weights(self, segmented: _Segmented) -> FloatArray:
        return embedding_masks(segmented.masks(), self._grid.window_samples)

    def _windows(
        self, blocks: Iterable[WindowBlock], pool: Executor, ahead: int
    ) -> Iterator[Local]:
        pending: deque[list[tuple[_Segmented, Future[FloatArray]]]] = deque()
        for block in blocks:
            parts = self._segmented(block, pool)
            pending.append([(part, pool.submit(self._each, part)) for part in parts])
            if len(pending) > ahead:
                yield from (part.local(task.result()) for part, task in pending.popleft())
        for tasks in pending:
            yield from (part.local(task.result()) for part, task in tasks)

    def _each(self, part: _Segmented) -> FloatArray:
        """(W, S, D): the network on every window in which someone speaks."""
        weights = self._weights(part)
        with self._watch.stage("embedding"):
            speaking = np.flatnonzero(weights.any(axis=(1, 2)))
            size = _CPU_BATCH if self._embedding.on_cpu else None
            items = (
                {"waveform": part.block.windows[w][None], "masks": weights[w]} for w in speaking
            )
            embeddings = self._nothing(weights)
            outputs = self._embedding.run_batched(items, batch_size=size)
            for window, output in zip(speaking, outputs, strict=True):
                embeddings[window] = output["embeddings"]
            embeddings[~weights.any(axis=2)] = np.nan
            return embeddings

    def _nothing(self, weights: FloatArray) -> FloatArray:
        """(W, S, D) of NaN."""
        return np.full((*weights.shape[:2], self._size), np.nan, np.float32)

    def _regions(
        self, blocks: Iterable[WindowBlock], pool: Executor, ahead: int
    ) -> Iterator[Local]:
        pending: deque[tuple[_Segmented, Future[_Pooled]]] = deque()
        before: _Regional | None = None
        for block, following in _with_next(blocks):
            parts = self._segmented(block, pool)
            segmented = _Segmented(block, [task for part in parts for task in part.tasks])
            start = None if following is None else int(following.starts[0])
            region = Region.of(block, self._grid, self._region_samples, start)
            regional = _Regional(segmented, region)
            pending.append((segmented, pool.submit(self._pooled, regional, before)))
            before = regional
            while len(pending) > ahead + 1:
                yield _completed(pending)
        while pending:
            yield _completed(pending)

    def _pooled(self, regional: _Regional, before: _Regional | None) -> _Pooled:
        """Embeddings of the masks that lie here, and of those that reach from the block before."""
        own = self._weights(regional.segmented)
        chosen, places = [regional.region.keeps(own)], [regional.region.places]
        weights = [own]
        if before is not None and before.region.next_frame is not None:
            earlier = self._weights(before.segmented)
            weights.append(earlier)
            chosen.append(earlier.any(axis=2) & ~before.region.keeps(earlier))
            places.append(before.region.places - before.region.next_frame)
        with self._turn, self._watch.stage("embedding"):
            found = self._shared(regional.region, weights, chosen, places)
        return _Pooled(found[0], found[1] if len(found) > 1 else None)

    def _shared(
        self,
        region: Region,
        weights: list[FloatArray],
        chosen: list[npt.NDArray[np.bool_]],
        places: list[Places],
    ) -> list[FloatArray]:
        """(W, S, D) for each of the blocks: the network once, pooled by the chosen masks."""
        results = [self._nothing(each) for each in weights]
        rows = np.concatenate(
            [
                placed(each, at, region.num_frames)[which]
                for each, which, at in zip(weights, chosen, places, strict=True)
            ]
        )
        if not len(rows):
            return results
        rows, count = self._padded(rows), len(rows)
        try:
            outputs = self._embedding.run(waveform=region.waveform[None, None], masks=rows[None])
        except OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"{error}. Take shorter blocks (block_s), or mode='exact'"
            ) from error
        embeddings = outputs["embeddings"][0, :count]
        ends = np.cumsum([which.sum() for which in chosen])
        for result, which, part in zip(
            results, chosen, np.split(embeddings, ends[:-1]), strict=True
        ):
            result[which] = part
        return results

    def _padded(self, rows: FloatArray) -> FloatArray:
        """Few numbers of rows: each costs a card a search, and memory everywhere."""
        size = -(-len(rows) // _ROWS) * _ROWS
        return np.pad(rows, ((0, size - len(rows)), (0, 0)))


def _with_next(
    blocks: Iterable[WindowBlock],
) -> Iterator[tuple[WindowBlock, WindowBlock | None]]:
    coming = iter(blocks)
    block = next(coming, None)
    while block is not None:
        following = next(coming, None)
        yield block, following
        block = following


def _completed(pending: deque[tuple[_Segmented, Future[_Pooled]]]) -> Local:
    """The oldest block, with the embeddings that the region after it gave."""
    segmented, task = pending.popleft()
    embeddings = task.result().own
    if pending:
        later = pending[0][1].result().before
        if later is not None:
            # Whoever is not embedded here is there, and nobody is in both.
            embeddings = np.where(np.isnan(embeddings), later, embeddings)
    return segmented.local(embeddings)
