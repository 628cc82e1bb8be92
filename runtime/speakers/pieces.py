"""Audio cut for embedding: windows side by side, none of them padded if that can be helped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..windows import WindowBlock
from .voices import Voice

FloatArray = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """Some audio.

    Attributes:
        samples: (N,) float32.
        start: its first sample in the recording.
        fresh: the first sample that no earlier piece had.
        end: the sample behind the last one that is audio and not padding.
    """

    samples: FloatArray
    start: int
    fresh: int
    end: int


def pieces(blocks: Iterable[WindowBlock], *, padded: bool) -> Iterator[Piece]:
    """A piece for each window; windows come one to a block and side by side.

    The last one reaches back, so that it is as long as the others: silence at its end would change
    the mean that features are normalised by. Audio that is shorter than a window is as it is, or,
    with ``padded``, filled with zeros.
    """
    before: FloatArray | None = None
    for block in blocks:
        window, start = block.windows[0], int(block.starts[0])
        valid = int(block.num_valid[0])
        if valid == len(window):
            yield Piece(np.ascontiguousarray(window), start, start, start + valid)
        elif before is not None:
            samples = np.concatenate([before[valid:], window[:valid]])
            yield Piece(samples, start + valid - len(window), start, start + valid)
        else:
            alone = window if padded else window[:valid]
            yield Piece(np.ascontiguousarray(alone), start, start, start + valid)
        before = window


class Masks:
    """The masks of voices, by piece.

    Args:
        voices: whose.
        rate_hz: of the audio.
    """

    def __init__(self, voices: Sequence[Voice], rate_hz: int) -> None:
        rows = [
            (span.start_s * rate_hz, span.end_s * rate_hz, number)
            for number, voice in enumerate(voices)
            for span in voice.spans
        ]
        table = np.array(rows, np.float64).reshape(-1, 3)
        self._starts, self._ends = table[:, 0], table[:, 1]
        self._voices = table[:, 2].astype(np.int64)

    def of(self, piece: Piece, num_frames: int) -> tuple[Ints, FloatArray]:
        """Voices (R,) that speak in a piece, and when: (R, num_frames) of 0 and 1.

        Frames are spread evenly over the piece; one counts where its middle lies in a span, and
        in no earlier piece.
        """
        hop = len(piece.samples) / num_frames
        middles = piece.start + (np.arange(num_frames) + 0.5) * hop
        here = np.flatnonzero((self._starts < piece.end) & (self._ends > piece.fresh))
        first = np.searchsorted(middles, np.maximum(self._starts[here], piece.fresh))
        last = np.searchsorted(middles, np.minimum(self._ends[here], piece.end))
        numbers, rows = np.unique(self._voices[here], return_inverse=True)
        masks = np.zeros((len(numbers), num_frames), np.float32)
        for row, begin, end in zip(rows.tolist(), first.tolist(), last.tolist(), strict=True):
            masks[row, begin:end] = 1
        return numbers, masks
