"""Masks of windows, from either segmentation artifact, on the CPU and on a card."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_diarization as tiny
from tiny_artifacts import RATE_HZ, WINDOW
from voxport.runtime import Session, load
from voxport.runtime.batching import BatchPlan
from voxport.runtime.errors import (
    ArtifactNotFoundError,
    DeviceError,
    OptionsError,
    OutOfMemoryError,
)
from voxport.runtime.inputs import Arrays
from voxport.runtime.loading import load_first
from voxport.runtime.onnx_session import CPU_PLAN
from voxport.runtime.segmenter import (
    SEGMENTATIONS,
    Segmenter,
    shares_windows,
    step_samples,
)
from voxport.runtime.stages import FrameGrid
from voxport.runtime.windows import AudioWindows, WindowBlock, WindowPlan


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return tiny.publish(folder, tiny.segmentation(), tiny.segmentation_windows(), tiny.embedding())


def block(count: int, step: int = 160) -> WindowBlock:
    rng = np.random.default_rng(count)
    samples = rng.normal(0, 0.7, WINDOW + (count - 1) * step).astype(np.float32)
    (found,) = AudioWindows(
        np.convolve(samples, np.ones(16) / 4, "same").astype(np.float32),
        RATE_HZ,
        WindowPlan(WINDOW, step, count),
        source_rate_hz=RATE_HZ,
    )
    return found


def by_hand(models: Path, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with load("segmentation_masks", models=models, device="cpu") as session:
        masks: npt.NDArray[np.float32] = session.run(waveform=windows[:, None])["masks"]
    return masks


class Card(Session):
    """A card that runs the real graph, with memory for some windows only."""

    def __init__(self, session: Session, room: int = 10**6) -> None:
        super().__init__(session.description, CPU_PLAN, "abc", BatchPlan(8))
        self.device, self.room = "cuda:0", room
        self.inner, self.shapes = session, list[dict[str, tuple[int, ...]]]()

    def _compute(self, inputs: Arrays) -> Arrays:
        self.shapes.append({name: array.shape for name, array in inputs.items()})
        if len(inputs["starts"]) > self.room:
            raise OutOfMemoryError("out of memory")
        return self.inner.run(**inputs)

    def _release(self) -> None:
        self.inner.close()


@pytest.mark.parametrize("name", SEGMENTATIONS)
@pytest.mark.parametrize("count", [1, 7, 8, 9, 21])
def test_both_artifacts_give_the_masks_of_every_window(models: Path, name: str, count: int) -> None:
    windows = block(count)
    with load(name, models=models, device="cpu") as session:
        segmenter = Segmenter(session, 21)
        masks = np.concatenate([segmenter(part) for part in segmenter.parts(windows)])
        whole = segmenter(windows)
    assert masks.dtype == np.uint8
    assert masks.any()
    assert np.array_equal(masks, by_hand(models, windows.windows))
    assert np.array_equal(whole, masks)


def test_parts_are_the_windows_in_order(models: Path) -> None:
    windows = block(21)
    with load(SEGMENTATIONS[0], models=models, device="cpu") as session:
        parts = Segmenter(session, 21).parts(windows)
    assert max(len(part.starts) for part in parts) <= 8
    assert np.array_equal(np.concatenate([part.starts for part in parts]), windows.starts)
    assert np.array_equal(np.concatenate([part.windows for part in parts]), windows.windows)
    assert np.array_equal(np.concatenate([part.num_valid for part in parts]), windows.num_valid)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_a_card_sees_one_shape(models: Path, count: int) -> None:
    card = Card(load(SEGMENTATIONS[0], models=models, device="cpu"))
    segmenter = Segmenter(card, 12)
    for number in (12, count):
        windows = block(number)
        (part,) = segmenter.parts(windows)
        assert np.array_equal(segmenter(part), by_hand(models, windows.windows))
    # A single window does not tell the step: it alone has another length.
    assert len({shape["starts"] for shape in card.shapes}) == 1
    assert len({str(shape) for shape in card.shapes}) == (2 if count == 1 else 1)


def test_out_of_memory_halves_the_windows_for_good(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    card = Card(load(SEGMENTATIONS[0], models=models, device="cpu"), room=3)
    segmenter, windows = Segmenter(card, 12), block(12)
    with caplog.at_level(logging.WARNING, "voxport"):
        assert np.array_equal(segmenter(windows), by_hand(models, windows.windows))
        tried = [shape["starts"][0] for shape in card.shapes]
        assert tried == [12, 6, 3, 3, 3, 3]
        card.shapes.clear()
        segmenter(windows)
    assert [shape["starts"][0] for shape in card.shapes] == [3, 3, 3, 3]
    assert "3 windows at once from now on" in caplog.text


def test_a_window_that_does_not_fit_is_an_error(models: Path) -> None:
    card = Card(load(SEGMENTATIONS[0], models=models, device="cpu"), room=0)
    with pytest.raises(OutOfMemoryError):
        Segmenter(card, 4)(block(4))


def test_windows_must_be_hops_apart_where_they_share_filters(models: Path) -> None:
    for name, step in zip(SEGMENTATIONS, (162, 161), strict=True):
        with load(name, models=models, device="cpu") as session:
            grid = FrameGrid.from_description(session.description)
            assert shares_windows(session) == (name == SEGMENTATIONS[0])
            assert step_samples(session, grid, 161.2 / RATE_HZ) == step
            assert step_samples(session, grid, WINDOW / RATE_HZ) == WINDOW
            for wrong in (0.009, 1.01, float("nan"), -1.0, 0.0):
                with pytest.raises(OptionsError, match=r"from a frame to a window, 0\.01 to 1 s"):
                    step_samples(session, grid, wrong)


def _first(folder: Path, **choice: Any) -> str:
    with load_first(SEGMENTATIONS, models=folder, **{"device": "cpu", **choice}) as session:
        return session.description.name


def test_the_first_artifact_that_is_there_is_loaded(models: Path, tmp_path: Path) -> None:
    assert _first(models) == "segmentation_windows"
    assert _first(models, device="auto") == "segmentation_windows"
    assert _first(tiny.publish(tmp_path)) == "segmentation_masks"


def test_what_none_of_them_has_is_an_error(models: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match="segmentation_masks"):
        _first(models, precision="int8")
    with pytest.raises(ArtifactNotFoundError, match="segmentation_masks"):
        _first(tiny.publish(tmp_path, tiny.embedding()))
    with pytest.raises(DeviceError):
        _first(models, device="coreml")
