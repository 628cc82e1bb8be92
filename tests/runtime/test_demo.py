"""``voxport demo``: windows, timelines and tables; and the whole of it on tiny artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_artifacts
from hypothesis import given
from hypothesis import strategies as st
from tiny_artifacts import FRAMES, HOP, RATE_HZ, WINDOW
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    Description,
    Session,
    cli,
    demo,
    load,
)
from voxport.runtime.batching import BatchPlan
from voxport.runtime.demo import LocalSpeaker, describe_windows, distance_table, timeline, windows
from voxport.runtime.onnx_session import CPU_PLAN


class FakeSession(Session):
    """A session without a graph: a description, a function, and the batches that it was given."""

    def __init__(self, description: Description, function: Any) -> None:
        super().__init__(description, CPU_PLAN, "fake", BatchPlan(8))
        self._function = function
        self.calls: list[dict[str, Any]] = []

    def run(self, **arrays: Any) -> Any:
        return self._compute(arrays)

    def _release(self) -> None:
        return

    def _compute(self, inputs: dict[str, Any]) -> Any:
        self.calls.append(inputs)
        return self._function(**inputs)


def cosine_session() -> FakeSession:
    def distances(embeddings: np.ndarray, database: np.ndarray) -> dict[str, np.ndarray]:
        return {"distances": np.abs(embeddings[:, None, 0] - database[None, :, 0])}

    return FakeSession(Description("cosine_distance", "fp32", (), ()), distances)


def segmentation_session(masks: np.ndarray) -> FakeSession:
    """Gives every window the same (F, S) masks; 10 frames per second, windows of 5.9 s."""
    figures = {"sample_rate_hz": 100, "hop_samples": 10, "window_samples": 590}
    description = Description("segmentation_masks", "fp32", (), (), recipe=figures)
    return FakeSession(
        description, lambda waveform: {"masks": np.stack([masks] * len(waveform)).astype("f4")}
    )


def embedding_session() -> FakeSession:
    """Embeds each speaker as (clean frames, 0)."""

    def embed(waveform: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
        assert len(waveform) == len(masks)
        return {"embeddings": np.stack([masks.sum(axis=2), 0 * masks.sum(axis=2)], axis=2)}

    return FakeSession(Description("embedding_fake", "fp32", (), ()), embed)


# windows()


@pytest.mark.parametrize(
    ("samples", "count"), [(0, 1), (1, 1), (9, 1), (10, 1), (11, 2), (20, 2), (21, 3)]
)
def test_windows(samples: int, count: int) -> None:
    cut = windows(np.arange(1, samples + 1, dtype=np.float32), 10)
    assert cut.shape == (count, 1, 10)
    assert cut.dtype == np.float32
    flat = cut.reshape(-1)
    np.testing.assert_array_equal(flat[:samples], np.arange(1, samples + 1))
    np.testing.assert_array_equal(flat[samples:], 0)


# timeline()


def mask(*runs: tuple[int, float]) -> np.ndarray:
    """(F,) of runs of (frames, value)."""
    return np.concatenate([np.full(frames, value, np.float32) for frames, value in runs])


def test_timeline_marks() -> None:
    # Ten frames per column; overlap of others while this one is silent shows nothing.
    active = mask((200, 0), (100, 1), (140, 1), (150, 0))
    overlap = mask((200, 0), (100, 0), (140, 1), (150, 1)) > 0
    assert timeline(active, overlap) == "." * 20 + "#" * 10 + "X" * 14 + "." * 15


def test_timeline_of_a_real_window_has_ten_frames_per_column() -> None:
    # 589 frames: 58 columns of 10 and one of 9; half of a column decides.
    active = np.zeros(589, np.float32)
    active[0:5] = active[10:14] = active[-9:] = 1
    assert timeline(active, np.zeros(589, bool)) == "#." + "." * 56 + "#"


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_timeline_of_any_length(frames: list[tuple[bool, bool]]) -> None:
    active = np.array([one for one, _ in frames], np.float32)
    overlap = np.array([other for _, other in frames], bool)
    line = timeline(active, overlap)
    assert len(line) == min(59, len(frames))
    assert set(line) <= set(".#X")
    if len(frames) <= 59:
        marks = ("." if not one else "X" if other else "#" for one, other in frames)
        assert line == "".join(marks)


# distance_table()


def speakers(*labels: str) -> list[LocalSpeaker]:
    return [
        LocalSpeaker(label, 1.0, np.array([index / 4, 0], np.float32))
        for index, label in enumerate(labels)
    ]


def test_distance_table() -> None:
    assert distance_table(speakers("0a", "0b", "1a"), cosine_session()) == [
        "         0a   0b   1a",
        "    0a 0.00 0.25 0.50",
        "    0b 0.25 0.00 0.25",
        "    1a 0.50 0.25 0.00",
    ]


def test_columns_stay_in_line_whatever_the_label() -> None:
    lines = distance_table(speakers("9a", "10b", "359c"), cosine_session())
    assert len({len(line) for line in lines}) == 1


def test_no_negative_zero() -> None:
    def distances(embeddings: np.ndarray, database: np.ndarray) -> dict[str, np.ndarray]:
        return {"distances": np.full((1, 1), -1e-8, np.float32)}

    cosine = FakeSession(Description("cosine_distance", "fp32", (), ()), distances)
    assert distance_table(speakers("0a"), cosine)[1] == "    0a 0.00"


def test_distance_table_without_speakers() -> None:
    session = cosine_session()
    assert distance_table([], session) == ["no speaker with enough speech"]
    assert session.calls == []


# describe_windows()


def test_describe_windows() -> None:
    # 59 frames, one per column: speaker 0 for 3 s, the last of them together with 1, who says
    # 1.5 s; 2 is silent.
    masks = np.zeros((59, 3))
    masks[0:30, 0] = masks[20:35, 1] = 1
    lines, found = describe_windows(
        np.zeros(1180, np.float32), segmentation_session(masks), embedding_session()
    )
    bars = ("#" * 20 + "X" * 10 + "." * 29, "." * 20 + "X" * 10 + "#" * 5 + "." * 24)
    assert lines == [
        "   0.0 s",
        f"    0a |{bars[0]}|  3.0 s",
        f"    0b |{bars[1]}|  1.5 s",
        "   5.9 s",
        f"    1a |{bars[0]}|  3.0 s",
        f"    1b |{bars[1]}|  1.5 s",
    ]
    # Only speaker 0 has a second of speech without the other: 20 frames of it.
    assert [(speaker.label, speaker.speech_s) for speaker in found] == [("0a", 3.0), ("1a", 3.0)]
    np.testing.assert_array_equal(found[0].embedding, [20, 0])


def test_memory_is_bounded_by_small_batches() -> None:
    segmentation, embedding = segmentation_session(np.ones((59, 1))), embedding_session()
    lines, found = describe_windows(np.zeros(590 * 21, np.float32), segmentation, embedding)
    sizes = [len(call["waveform"]) for call in segmentation.calls]
    assert sum(sizes) == 21
    assert max(sizes) <= 8
    assert sizes == [len(call["waveform"]) for call in embedding.calls]
    assert [speaker.label for speaker in found] == [f"{index}a" for index in range(21)]
    assert len(lines) == 42


def test_many_local_speakers() -> None:
    lines, _ = describe_windows(
        np.zeros(590, np.float32), segmentation_session(np.ones((59, 12))), embedding_session()
    )
    assert lines[-1].lstrip().startswith("0l |")


@pytest.mark.parametrize("figure", ["sample_rate_hz", "hop_samples", "window_samples"])
def test_a_recipe_that_lacks_a_figure(figure: str) -> None:
    segmentation = segmentation_session(np.ones((59, 1)))
    del segmentation.description.recipe[figure]
    with pytest.raises(ArtifactError, match=f"segmentation_masks: .*'{figure}'"):
        describe_windows(np.zeros(590, np.float32), segmentation, embedding_session())


# On tiny artifacts


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tiny_artifacts.publish(tmp_path / "models", tiny_artifacts.demo_artifacts())


def test_embedding_session(models: Path) -> None:
    assert demo.embedding_session(models).description.name == "embedding_tiny"


def test_no_embedding_network(tmp_path: Path) -> None:
    artifacts = [
        tiny_artifacts.linear("embedding_inputs"),
        tiny_artifacts.linear("embedding_masks"),
        *(a for a in tiny_artifacts.demo_artifacts() if a[0].name != "embedding_tiny"),
    ]
    models = tiny_artifacts.publish(tmp_path / "models", artifacts)
    with pytest.raises(ArtifactNotFoundError, match="no embedding network; there are: cosine_"):
        demo.embedding_session(models)


def test_the_tiny_segmentation_is_what_the_tests_below_believe(models: Path) -> None:
    waveform = np.zeros((1, 1, WINDOW), np.float32)
    waveform[..., : 40 * HOP], waveform[..., 60 * HOP :] = 0.5, -0.5
    masks = load("segmentation_masks", models=models).run(waveform=waveform)["masks"]
    expected = np.zeros((1, FRAMES, 2))
    expected[0, :40, 0] = expected[0, 60:, 1] = 1
    np.testing.assert_array_equal(masks, expected)


def test_demo(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Windows of 1 s: one voice, the other voice, silence, the first voice again.
    levels = np.repeat(np.array([0.5, -0.5, 0.0, 0.5], np.float32), WINDOW)
    audio = tmp_path / "two.wav"
    soundfile.write(audio, levels, RATE_HZ, subtype="FLOAT")
    assert cli.main(["demo", "--models", str(models), str(audio)]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    full = f"|{'#' * 59}|  1.0 s"
    assert output.out.splitlines() == [
        "two.wav: local speakers by window (. silent, # speaking, X overlapping)",
        "   0.0 s",
        f"    0a {full}",
        "   1.0 s",
        f"    1b {full}",
        "   2.0 s",
        "   3.0 s",
        f"    3a {full}",
        "",
        "cosine distances between local speakers with 1 s of clean speech or more;",
        "below 0.50 they count as one voice:",
        "         0a   1b   3a",
        "    0a 0.00 2.00 0.00",
        "    1b 2.00 0.00 2.00",
        "    3a 0.00 2.00 0.00",
    ]


def test_demo_on_silence(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = tmp_path / "silence.wav"
    soundfile.write(audio, np.zeros(1, np.float32), RATE_HZ)
    assert cli.main(["demo", "--models", str(models), str(audio)]) == 0
    assert capsys.readouterr().out.endswith("no speaker with enough speech\n")
