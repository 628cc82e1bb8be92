"""From windows of audio to the masks of their local speakers."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .errors import AudioError, OptionsError, OutOfMemoryError
from .session import Session
from .stages import FrameGrid
from .windows import WindowBlock, WindowPlan

_LOG = logging.getLogger("voxport")
Masks = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

# What serves as segmentation, the better one first: many windows in one call that share the work
# of the first layer, or each by itself.
SEGMENTATIONS = ("segmentation_windows", "segmentation_masks")
# Windows per call on the CPU. On one core 8 take 20 % less time each than one; more gain nothing
# (4 to 32 tried) and cost memory, 10 MB each.
_CPU_WINDOWS = 8
# How much audio is taken at a time, in seconds, and the share of a window that two blocks share.
BLOCK_S = 30.0
_OVERLAP = 0.2


class Segmenter:
    """Runs either segmentation artifact; may be called from several threads.

    Args:
        session: an artifact of ``SEGMENTATIONS``.
        block_windows: windows of a full block. A card computes as many in any case, so that it
            sees one shape only.
    """

    def __init__(self, session: Session, block_windows: int) -> None:
        self.session = session
        self._shares = shares_windows(session)
        self._on_cpu = session.on_cpu
        self._at_once = _CPU_WINDOWS if self._on_cpu else block_windows

    def parts(self, block: WindowBlock) -> list[WindowBlock]:
        """A block as what is best segmented at once; on a card that is all of it."""
        return list(_parts(block, self._at_once))

    def __call__(self, block: WindowBlock) -> Masks:
        """(W, F, S) 0 and 1: who of the local speakers is active when.

        Raises:
            OutOfMemoryError: a single window does not fit into the device's memory.
            VoxportError: the network failed.
        """
        masks = self._shared(block) if self._shares else self._single(block)
        return masks.astype(np.uint8)

    def _shared(self, block: WindowBlock) -> FloatArray:
        """Fewer windows at a time, for good, where the memory does not suffice."""
        while True:
            size = self._at_once
            try:
                return np.concatenate([self._run(part, size) for part in _parts(block, size)])
            except OutOfMemoryError as error:
                if size == 1:
                    raise
                self._at_once = -(-size // 2)
                _LOG.warning("%d windows at once from now on: %s", self._at_once, error)

    def _run(self, block: WindowBlock, size: int) -> FloatArray:
        starts, waveform = block.starts - block.starts[0], contiguous(block)
        missing = 0 if self._on_cpu else size - len(starts)
        if missing:
            starts = np.pad(starts, (0, missing))
            waveform = np.pad(waveform, (0, missing * _step(block)))
        outputs = self.session.run(waveform=waveform[None, None], starts=starts)
        masks: FloatArray = outputs["masks"][: len(block.starts)]
        return masks

    def _single(self, block: WindowBlock) -> FloatArray:
        items = (window[None] for window in block.windows)
        size = _CPU_WINDOWS if self._on_cpu else None
        outputs = self.session.run_batched(items, batch_size=size)
        return np.stack([output["masks"] for output in outputs])


def shares_windows(session: Session) -> bool:
    """Whether it is ``segmentation_windows``, of which several fit into one waveform."""
    return "starts" in (spec.name for spec in session.description.inputs)


def step_samples(session: Session, grid: FrameGrid, step_s: float) -> int:
    """From window to window: ``step_s``, rounded to what the artifact takes.

    Raises:
        OptionsError: less than a frame, or more than a window.
    """
    multiple = 1
    if shares_windows(session):
        multiple = session.description.figure("start_multiple_samples", int)
    wanted = step_s * grid.sample_rate_hz
    if not grid.hop_samples <= wanted <= grid.window_samples:
        window_s = grid.window_samples / grid.sample_rate_hz
        raise OptionsError(
            f"step_s must be from a frame to a window, {grid.hop_s:.3g} to {window_s:g} s, "
            f"got {step_s}"
        )
    return max(1, round(wanted / multiple)) * multiple


def overlap_samples(grid: FrameGrid) -> int:
    """How much audio a block shares with the next one: what lies at the border of one is well
    within the other."""
    return round(_OVERLAP * grid.window_samples)


def window_plan(session: Session, step_s: float, block_s: float = BLOCK_S) -> WindowPlan:
    """Windows in blocks of ``block_s``, which advance by what they do not share.

    The same for all that is made of windows: masks are rounded as those that were computed with
    them, so that other blocks may give another frame here and there.

    Raises:
        OptionsError: a step that the artifact does not take, or a block that is too long.
    """
    grid = FrameGrid.from_description(session.description)
    step = step_samples(session, grid, step_s)
    advance = round(block_s * grid.sample_rate_hz) - overlap_samples(grid)
    try:
        return WindowPlan(grid.window_samples, step, max(grid.window_samples, advance) // step)
    except AudioError as error:
        raise OptionsError(f"block_s of {block_s}: {error}") from error


def _parts(block: WindowBlock, most: int) -> Iterator[WindowBlock]:
    """As few parts as there must be, as equal as can be: every new shape costs memory."""
    count = len(block.starts)
    size = -(-count // -(-count // most))
    for start in range(0, count, size):
        part = slice(start, start + size)
        yield WindowBlock(block.windows[part], block.starts[part], block.num_valid[part])


def _step(block: WindowBlock) -> int:
    return int(block.starts[1] - block.starts[0]) if len(block.starts) > 1 else 0


def contiguous(block: WindowBlock) -> FloatArray:
    """(N,) the audio that the windows cover, each sample once."""
    windows = block.windows
    if len(windows) == 1:
        return np.ascontiguousarray(windows[0])
    return np.concatenate([windows[0], windows[1:, windows.shape[1] - _step(block) :].ravel()])
