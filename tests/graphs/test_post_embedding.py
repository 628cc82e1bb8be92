from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from voxport.export.reference import long_segments
from voxport.graphs import PostEmbedding

STEP_S = 270 / 16000


def tracks(*rows: str) -> torch.Tensor:
    """One string per speaker, ``#`` where active -> (1, F, S)."""
    return torch.tensor([[float(mark == "#") for mark in row] for row in rows]).T[None]


def run(
    segments: torch.Tensor, graph: PostEmbedding, database_size: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    speakers = segments.shape[2]
    embeddings = torch.arange(1.0, 1.0 + 4 * speakers).reshape(speakers, 4)
    database = torch.arange(-2.0, -2.0 + 4 * database_size).reshape(database_size, 4)
    distances, activity, valid, filtered = graph(embeddings, database, segments)
    return distances, activity, valid, filtered


def test_short_runs_are_dropped_by_hand() -> None:
    segments = tracks(
        "##.###.....####",
        "#####....#.#.##",
        "...............",
        "###############",
    )
    graph = PostEmbedding(step_s=0.5, min_duration_s=1.5, activity_threshold_frames=0)

    _, activity, valid, filtered = run(segments, graph)

    assert activity.tolist() == [9, 9, 0, 15]
    assert valid.tolist() == [1, 1, 0, 1]
    expected = tracks(
        "...###.....####",
        "#####..........",
        "...............",
        "###############",
    )
    assert torch.equal(filtered, expected)


def test_a_speaker_needs_strictly_more_than_the_threshold() -> None:
    segments = tracks("#" * 10 + "." * 10, "#" * 11 + "." * 9)

    _, activity, valid, filtered = run(segments, PostEmbedding(step_s=0.1))

    assert activity.tolist() == [10, 11]
    assert valid.tolist() == [0, 1]
    assert filtered[0].sum(dim=0).tolist() == [0, 11]


def test_a_run_of_exactly_the_minimum_stays() -> None:
    """60 frames of 16.875 ms are 1.0125 s, 59 are 0.9956 s."""
    graph = PostEmbedding(step_s=STEP_S, min_duration_s=1.0)
    segments = torch.zeros(1, 589, 2)
    segments[0, 200:260, 0] = 1.0
    segments[0, 200:259, 1] = 1.0

    filtered = run(segments, graph)[3]

    assert torch.equal(filtered[0, :, 0], segments[0, :, 0])
    assert filtered[0, :, 1].sum() == 0


@pytest.mark.parametrize("frames", [1, 3, 10, 30, 49, 100])
def test_a_whole_number_of_frames_does_not_round_up(frames: int) -> None:
    """0.1 * 3 / 0.1 is a little more than 3 in floating point."""
    assert PostEmbedding(step_s=0.1, min_duration_s=0.1 * frames).min_frames == frames


def test_distances_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    embeddings, database = (
        rng.standard_normal((count, 192)).astype(np.float32) for count in (3, 5)
    )

    distances = PostEmbedding(step_s=STEP_S)(
        torch.from_numpy(embeddings), torch.from_numpy(database), torch.zeros(1, 589, 3)
    )[0]

    assert np.abs(distances.numpy() - cdist(embeddings, database, "cosine")).max() < 1e-6


def test_an_empty_database_changes_nothing_else() -> None:
    segments = tracks("#" * 12 + "." * 5, "." * 17)
    graph = PostEmbedding(step_s=0.1)

    distances, *others = run(segments, graph, database_size=0)

    assert distances.shape == (2, 0)
    for other, expected in zip(others, run(segments, graph)[1:], strict=True):
        assert torch.equal(other, expected)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    segments=st.tuples(st.integers(1, 60), st.integers(1, 3)).flatmap(
        lambda shape: arrays(np.float32, (1, *shape), elements=st.sampled_from([0.0, 1.0]))
    ),
    min_frames=st.integers(1, 70),
    step_s=st.sampled_from([STEP_S, 0.1, 0.02, 1 / 3]),
    threshold=st.sampled_from([0.0, 3.0, 10.0]),
)
def test_against_the_reference(
    segments: npt.NDArray[np.float32], min_frames: int, step_s: float, threshold: float
) -> None:
    graph = PostEmbedding(
        step_s, activity_threshold_frames=threshold, min_duration_s=min_frames * step_s
    )
    with torch.no_grad():
        _, activity, valid, filtered = run(torch.from_numpy(segments), graph)

    active_frames = segments[0].sum(axis=0)
    expected = long_segments(segments, min_frames * step_s, step_s) * (active_frames > threshold)
    assert np.array_equal(activity, active_frames)
    assert np.array_equal(valid, (active_frames > threshold).astype(np.float32))
    assert np.array_equal(filtered, expected)
