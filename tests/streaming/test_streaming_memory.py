"""Bounded memory: of voices, whatever they say, and of everything, however long it goes on."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
from voxport.runtime import StreamingSettings
from voxport.runtime.stages import NO_CLUSTER, AhcOptions, FrameGrid
from voxport.runtime.streaming.engine import StreamEngine
from voxport.runtime.streaming.memory import SpeakerMemory
from voxport.runtime.streaming.networks import HeardWindow

SIZE, FRAMES = 8, 20
# Windows of 10 s at 100 samples a second.
GRID = FrameGrid(
    sample_rate_hz=100,
    window_samples=1000,
    window_frames=FRAMES,
    hop_samples=50,
    receptive_field_samples=70,
)


def heard(number: int, voices: list[Any], frames: tuple[int, int] = (0, FRAMES)) -> HeardWindow:
    """A window in which local speakers with these embeddings speak one after the other."""
    masks = np.zeros((FRAMES, 3), np.uint8)
    embeddings = np.full((3, SIZE), np.nan, np.float32)
    spans = np.array_split(np.arange(*frames), max(1, len(voices)))
    for speaker, (voice, span) in enumerate(zip(voices, spans, strict=False)):
        masks[span, speaker] = 1
        embeddings[speaker] = voice
    return HeardWindow(number, 2 * number, masks, embeddings)


def voice(number: int, noise: float = 0.0, seed: int = 0) -> Any:
    pure = np.eye(SIZE, dtype=np.float32)[number]
    return pure + np.float32(noise) * np.random.default_rng(seed).normal(size=SIZE)


def memory(size: int = 50, max_speakers: int | None = None, **options: Any) -> SpeakerMemory:
    return SpeakerMemory(
        size, AhcOptions(**{"threshold": 0.8, "min_cluster_size": 1, **options}), (max_speakers)
    )


def label(loaded: SpeakerMemory, *windows: HeardWindow) -> list[list[int]]:
    for window in windows:
        loaded.add(window)
    return loaded.label(windows).tolist()


def test_labels_are_given_in_the_order_of_appearance_and_kept() -> None:
    loaded = memory()
    assert label(loaded, heard(0, [voice(5), voice(2)])) == [[0, 1, NO_CLUSTER]]
    for number in range(1, 20):
        speaking = heard(number, [voice(2, 0.1, number), voice(5, 0.1, number)])
        assert label(loaded, speaking) == [[1, 0, NO_CLUSTER]]
    assert label(loaded, heard(20, [voice(7)])) == [[2, NO_CLUSTER, NO_CLUSTER]]


def test_who_says_too_little_is_whoever_is_most_alike() -> None:
    loaded = memory()
    # Nobody is known: everybody is the first.
    assert label(loaded, heard(0, [voice(3)], (0, 3))) == [[0, NO_CLUSTER, NO_CLUSTER]]
    assert len(loaded) == 0
    assert label(loaded, heard(1, [voice(0), voice(1)])) == [[0, 1, NO_CLUSTER]]
    assert label(loaded, heard(2, [voice(1) + 0.5 * voice(4)], (0, 3)))[0][0] == 1
    assert len(loaded) == 2


def test_labels_that_prove_to_be_one_voice_become_the_one_that_spoke_more() -> None:
    loaded = memory(threshold=1.0)
    between = (voice(0) + voice(1)) / np.sqrt(2)
    label(loaded, heard(0, [voice(1)], (0, 8)))
    label(loaded, heard(1, [voice(0)]))
    assert label(loaded, heard(2, [voice(0), voice(1)]))[0][:2] == [1, 0]
    for number in range(3, 9):
        (last,) = label(loaded, heard(number, [between]))
    # All in one: what comes from voice 0 or 1 is called as most of it was.
    (both,) = label(loaded, heard(9, [voice(0), voice(1)]))
    assert both[0] == both[1] == last[0]


def test_the_number_of_voices_is_bounded_and_nobody_is_forgotten() -> None:
    loaded = memory(size=10)
    label(loaded, heard(0, [voice(4)]))
    for number in range(1, 200):
        assert label(loaded, heard(number, [voice(number % 2, 0.05, number)]))[0][0] in (1, 2)
        assert len(loaded) <= 10
    assert label(loaded, heard(200, [voice(4)]))[0][0] == 0
    assert Counter(each.label for each in loaded._voices)[0] == 2


def test_a_memory_of_one() -> None:
    loaded = memory(size=1)
    for number in range(5):
        assert min(label(loaded, heard(number, [voice(0), voice(1)]))[0][:2]) >= 0
        assert len(loaded) == 1


def test_no_more_labels_than_allowed() -> None:
    loaded = memory(size=6, max_speakers=2)
    seen = set()
    for number in range(100):
        (row,) = label(loaded, heard(number, [voice(number % SIZE), voice((number + 3) % SIZE)]))
        seen |= {each for each in row if each != NO_CLUSTER}
    assert seen == {0, 1}


def test_forgotten_windows_leave_their_labels_to_what_follows() -> None:
    loaded = memory()
    label(loaded, heard(0, [voice(0)]), heard(1, [voice(1)]))
    assert label(loaded, heard(2, [voice(1), voice(0)])) == [[1, 0, NO_CLUSTER]]
    loaded.forget([0, 1])
    assert len(loaded) == 2
    assert label(loaded, heard(3, [voice(0), voice(1)])) == [[0, 1, NO_CLUSTER]]


class FakeNetworks:
    """A new voice now and then; nothing is computed."""

    grid = GRID

    def threshold(self) -> float:
        return 0.75

    def hear(self, number: int, start: int, _: Any) -> HeardWindow:
        rng = np.random.default_rng(number // 40)
        first, second = rng.normal(size=(2, SIZE)).astype(np.float32)
        window = heard(number, [first, second] if number % 7 else [])
        return HeardWindow(number, round(start / GRID.hop_samples), window.masks, window.embeddings)


def test_hours_take_no_more_than_minutes() -> None:
    settings = StreamingSettings(step_s=2.0, latency_s=6.0, memory_size=40)
    engine = StreamEngine(FakeNetworks(), settings)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    labels: set[str] = set()
    sizes = []
    for _ in range(2 * 60):
        # Some are pushed in pieces that fill no step.
        for samples in np.split(rng.normal(size=6000).astype(np.float32), [1, 700, 4000]):
            engine.push(samples)
            labels |= {turn.speaker for turn in engine.take_final()}
            assert len(engine._windows) <= 4
            assert len(engine._memory) <= 40
        sizes.append(len(pickle.dumps(engine)))
    assert len(labels) > 20
    # All of its state, in bytes: a window of audio, 4 of masks, 40 embeddings. Measured: 9,000
    # in the first minutes and ever after; the audio of two hours is 2,880,000.
    assert max(sizes[10:]) < 1.1 * max(sizes[:10]) < 12_000


def test_a_long_push_leaves_no_more_than_a_window() -> None:
    engine = StreamEngine(FakeNetworks(), StreamingSettings())  # type: ignore[arg-type]
    engine.push(np.zeros(20_000, np.float32))
    assert engine._audio._held.base is None
    assert len(engine._audio._held) < GRID.window_samples
