"""Masks and embeddings of blocks, in both modes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from tiny_artifacts import FRAMES, HOP, RATE_HZ, WINDOW
from tiny_diarization import (
    INVERTED,
    TOGETHER,
    dialogue,
    embedding,
    publish,
    segmentation,
    segmentation_windows,
    silence,
    speech,
)
from voxport.runtime import Description, Session, load, segmenter
from voxport.runtime.batching import BatchPlan
from voxport.runtime.diarization import extraction
from voxport.runtime.diarization.extraction import Extractor, Local
from voxport.runtime.diarization.progress import Stopwatch
from voxport.runtime.diarization.settings import Mode
from voxport.runtime.errors import VoxportError
from voxport.runtime.inputs import Arrays
from voxport.runtime.onnx_session import CPU_PLAN
from voxport.runtime.segmenter import SEGMENTATIONS, Segmenter
from voxport.runtime.stages import embedding_masks
from voxport.runtime.windows import AudioWindows, WindowBlock, WindowPlan

STEP = 160
MODES: tuple[Mode, ...] = ("fast", "exact")


class Recorded(Session):
    """An embedding network that keeps what it is asked; it answers with sums of masks."""

    def __init__(self, description: Description | None = None) -> None:
        super().__init__(description or embedding()[0], CPU_PLAN, "abc", BatchPlan(8))
        self.asked: list[Arrays] = []

    def _compute(self, inputs: Arrays) -> Arrays:
        self.asked.append(inputs)
        sums = inputs["masks"].sum(axis=2, keepdims=True)
        return {"embeddings": np.repeat(sums, HOP, axis=2)}

    def _release(self) -> None:
        pass


@pytest.fixture(scope="module", params=SEGMENTATIONS)
def sessions(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Session, Session]]:
    folder = tmp_path_factory.mktemp("models")
    models = publish(folder, segmentation(), segmentation_windows(), embedding())
    with (
        load(request.param, models=models, device="cpu") as masks,
        load("embedding_tiny", models=models, device="cpu") as voices,
    ):
        yield masks, voices


def blocks(samples: npt.NDArray[np.float32], windows: int, step: int = STEP) -> list[WindowBlock]:
    plan = WindowPlan(WINDOW, step, windows)
    return list(AudioWindows(samples, RATE_HZ, plan, source_rate_hz=RATE_HZ))


def extracted(
    sessions: tuple[Session, Session], mode: Mode, block: WindowBlock, voices: Session | None = None
) -> Local:
    return whole(extract(sessions, mode, [block], voices))


def extract(
    sessions: tuple[Session, Session],
    mode: Mode,
    coming: list[WindowBlock],
    voices: Session | None = None,
    *,
    region_samples: int = 10**6,
    threads: int = 2,
) -> list[Local]:
    extractor = Extractor(
        Segmenter(sessions[0], 21), voices or sessions[1], mode, region_samples, Stopwatch()
    )
    with ThreadPoolExecutor(threads) as pool:
        return list(extractor(iter(coming), pool, threads))


def rows(asked: Arrays) -> npt.NDArray[np.float32]:
    """The masks that were asked for, without the rows of zeros that fill them up."""
    masks: npt.NDArray[np.float32] = asked["masks"][0]
    assert len(masks) % 64 == 0
    count = int(masks.any(axis=1).sum())
    assert masks[:count].any(axis=1).all()
    return masks[:count]


def whole(parts: list[Local]) -> Local:
    return Local(
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.masks for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
        parts[-1].num_samples,
    )


def by_hand(block: WindowBlock) -> npt.NDArray[np.float32]:
    """(W, F, S) what the tiny segmentation says of the mean of each hop."""
    means = block.windows.reshape(len(block.windows), FRAMES, HOP).mean(axis=2)
    return np.stack([means > 0.25, means < -0.25, means > 0.75], axis=2).astype(np.float32)


def mixture() -> npt.NDArray[np.float32]:
    """3 s in which all three local speakers occur, some together, none at first."""
    parts = [silence(0.5), speech(0.7, 2), speech(0.6, 9, TOGETHER), speech(1.2, 4, INVERTED)]
    return np.concatenate(parts)


@pytest.mark.parametrize("mode", MODES)
def test_the_networks_answers_come_through(sessions: tuple[Session, Session], mode: Mode) -> None:
    for block in blocks(dialogue(), 21):
        local = extracted(sessions, mode, block)
        masks = by_hand(block)
        assert local.masks.dtype == np.uint8
        assert np.array_equal(local.masks, masks)
        weights = embedding_masks(masks, WINDOW)
        together = sessions[1].run(waveform=block.windows[:, None], masks=weights)["embeddings"]
        together[~weights.any(axis=2)] = np.nan
        assert local.embeddings.dtype == np.float32
        # The windows sum the same hops in another order.
        np.testing.assert_allclose(local.embeddings, together, rtol=0, atol=1e-4)
        if mode == "exact":
            singly = [
                sessions[1].run(waveform=window[None, None], masks=each[None])["embeddings"][0]
                for window, each in zip(block.windows, weights, strict=True)
            ]
            expected = np.where(weights.any(axis=2)[:, :, None], singly, np.nan)
            assert np.array_equal(local.embeddings, expected, equal_nan=True)


def test_one_window_is_the_same_in_both_modes(sessions: tuple[Session, Session]) -> None:
    (block,) = blocks(mixture()[:WINDOW], 21)
    fast, exact = (extracted(sessions, mode, block) for mode in MODES)
    assert np.array_equal(fast.masks, exact.masks)
    # Measured: 0, the network gets the same arrays.
    np.testing.assert_allclose(fast.embeddings, exact.embeddings, rtol=1e-6, atol=1e-6)
    assert np.isfinite(fast.embeddings).any()


@pytest.mark.parametrize("mode", MODES)
def test_the_silent_have_no_embedding(sessions: tuple[Session, Session], mode: Mode) -> None:
    (block,) = blocks(mixture(), 21)
    local = extracted(sessions, mode, block)
    silent = ~local.masks.any(axis=1)
    assert 0 < silent.sum() < silent.size
    assert np.isnan(local.embeddings[silent]).all()
    assert np.isfinite(local.embeddings[~silent]).all()


@pytest.mark.parametrize("mode", MODES)
def test_silence_never_reaches_the_embedding_network(
    sessions: tuple[Session, Session], mode: Mode
) -> None:
    voices = Recorded()
    for block in blocks(silence(4.0), 21):
        local = extracted(sessions, mode, block, voices)
        assert np.isnan(local.embeddings).all()
    assert not voices.asked


def test_exact_mode_asks_once_for_each_window_with_speech(
    sessions: tuple[Session, Session],
) -> None:
    voices = Recorded()
    (block,) = blocks(np.concatenate([silence(1.5), speech(0.5, 1), silence(1.0)]), 21)
    local = whole(extract(sessions, "exact", [block], voices, threads=1))
    speaking = np.flatnonzero(local.masks.any(axis=(1, 2)))
    assert 0 < len(speaking) < 21
    assert len(voices.asked) == len(speaking)
    for asked, window in zip(voices.asked, speaking, strict=True):
        assert np.array_equal(asked["waveform"][0, 0], block.windows[window])


@pytest.mark.parametrize("step", [160, 1600, 250, 1110, 24])
def test_fast_mode_lays_each_mask_where_its_window_is(
    sessions: tuple[Session, Session], step: int
) -> None:
    voices = Recorded()
    (block,) = blocks(mixture(), 1000, step)
    local = extracted(sessions, "fast", block, voices)
    (asked,) = voices.asked
    weights = embedding_masks(local.masks, WINDOW)
    places = [round(start * FRAMES / WINDOW) for start in block.starts.tolist()]
    naive = []
    for place, window in zip(places, weights, strict=True):
        for mask in window:
            if mask.any():
                row = np.zeros(places[-1] + FRAMES, np.float32)
                for frame, value in enumerate(mask):
                    row[place + frame] = value
                naive.append(row)
    assert np.array_equal(rows(asked), np.stack(naive))


@pytest.mark.parametrize("step", [160, 1600, 250])
def test_fast_mode_hears_each_sample_once(sessions: tuple[Session, Session], step: int) -> None:
    voices = Recorded()
    samples = mixture()
    (block,) = blocks(samples, 1000, step)
    extracted(sessions, "fast", block, voices)
    heard = voices.asked[0]["waveform"][0, 0]
    assert np.array_equal(heard[: len(samples)], samples)
    assert not heard[len(samples) :].any()
    assert len(heard) == block.starts[-1] + WINDOW


def test_a_mask_of_the_last_frame_is_kept(sessions: tuple[Session, Session]) -> None:
    # Steps that are no whole frames: the last window's place is rounded up.
    samples = np.zeros(WINDOW + 3 * 250, np.float32)
    samples[-HOP:] = speech(0.01, 3)
    voices = Recorded()
    (block,) = blocks(samples, 1000, 250)
    local = extracted(sessions, "fast", block, voices)
    assert len(rows(voices.asked[0])) == local.masks.any(axis=1).sum()


def test_a_network_of_fixed_length_gets_windows(sessions: tuple[Session, Session]) -> None:
    described = embedding()[0]
    fixed = Description(
        described.name,
        "fp16",
        described.inputs,
        described.outputs,
        sizes={"batch": (1,), "samples": (WINDOW,), "frames": (FRAMES,), "speakers": (3,)},
        recipe=described.recipe,
    )
    voices = Recorded(fixed)
    assert (
        Extractor(Segmenter(sessions[0], 21), voices, "fast", WINDOW, Stopwatch()).mode == "exact"
    )
    (block,) = blocks(mixture(), 21)
    extracted(sessions, "fast", block, voices)
    assert {asked["waveform"].shape for asked in voices.asked} == {(1, 1, WINDOW)}


@pytest.mark.parametrize("size", [2, 3, 64])
@pytest.mark.parametrize("mode", MODES)
def test_the_size_of_batches_changes_nothing(
    sessions: tuple[Session, Session], monkeypatch: pytest.MonkeyPatch, size: int, mode: Mode
) -> None:
    (block,) = blocks(mixture(), 21)
    before = extracted(sessions, mode, block)
    monkeypatch.setattr(extraction, "_CPU_BATCH", size)
    monkeypatch.setattr(segmenter, "_CPU_WINDOWS", size)
    after = extracted(sessions, mode, block)
    assert np.array_equal(before.masks, after.masks)
    assert np.array_equal(before.embeddings, after.embeddings, equal_nan=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(
    sessions: tuple[Session, Session], mode: Mode, threads: int
) -> None:
    coming = blocks(dialogue(), 20)
    one, many = (
        whole(extract(sessions, mode, coming, region_samples=3520, threads=count))
        for count in (1, threads)
    )
    assert np.array_equal(one.starts, many.starts)
    assert np.array_equal(one.embeddings, many.embeddings, equal_nan=True)


def test_every_speaker_of_every_block_is_pooled_once(sessions: tuple[Session, Session]) -> None:
    """Regions overlap by 0.2 s, windows by 0.9: many masks reach into the next region."""
    voices = Recorded()
    coming = blocks(dialogue(), 20)
    assert len(coming) > 3
    local = whole(extract(sessions, "fast", coming, voices, region_samples=3520))
    active = local.masks.any(axis=1)
    assert np.array_equal(np.isfinite(local.embeddings).all(axis=2), active)
    assert sum(len(rows(asked)) for asked in voices.asked) == active.sum()
    assert len(voices.asked) == len(coming)
    heard = sum(asked["waveform"].shape[2] for asked in voices.asked)
    assert heard < 1.2 * len(dialogue())
    # The recording network answers with the frames it was shown: at least half of every mask.
    weights = embedding_masks(local.masks, WINDOW).sum(axis=2)
    share = local.embeddings[:, :, 0][active] / weights[active]
    assert share.min() >= 0.5
    assert (share == 1).mean() > 0.8


def test_a_voice_is_the_same_in_either_region(sessions: tuple[Session, Session]) -> None:
    coming = blocks(dialogue(), 20)
    cut = whole(extract(sessions, "fast", coming, region_samples=3520))
    exact = whole(extract(sessions, "exact", coming))
    assert np.array_equal(cut.masks, exact.masks)
    active = cut.masks.any(axis=1)
    a, b = cut.embeddings[active], exact.embeddings[active]
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    # Sums of the same hops' shapes, over fewer hops where a mask is cut.
    assert cosine.min() > 0.99


@pytest.mark.parametrize("mode", MODES)
def test_a_failing_network_ends_the_extraction(
    sessions: tuple[Session, Session], mode: Mode
) -> None:
    class Broken(Recorded):
        def _compute(self, _: Arrays) -> Arrays:
            raise VoxportError("broken")

    with pytest.raises(VoxportError, match="broken"):
        extract(sessions, mode, blocks(dialogue(), 20), Broken())


def test_the_end_of_the_audio_is_known(sessions: tuple[Session, Session]) -> None:
    samples = mixture()[:4001]
    ends = [extracted(sessions, "fast", block).num_samples for block in blocks(samples, 5)]
    assert ends == sorted(ends)
    assert ends[-1] == 4001


def test_time_is_counted_by_stage(sessions: tuple[Session, Session]) -> None:
    watch = Stopwatch()
    extractor = Extractor(Segmenter(sessions[0], 21), sessions[1], "fast", 10**6, watch)
    with ThreadPoolExecutor(1) as pool:
        list(extractor(blocks(mixture(), 21), pool, 1))
    assert set(watch.seconds) == {"segmentation", "embedding"}
    assert all(seconds > 0 for seconds in watch.seconds.values())
