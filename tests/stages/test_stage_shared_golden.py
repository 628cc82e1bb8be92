"""Every stage against real outputs of pyannote's community-1, where there is shared data."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from stage_scenes import PYANNOTE, Array
from voxport.runtime.stages import (
    Plda,
    discrete_diarization,
    exclusive,
    first_labels,
    speaker_count,
    to_turns,
    training_embeddings,
    vbx_clusters,
    vbx_posterior,
)

# Recordings, and what their arrays' files are called.
FILES = {
    "spk_test": "pipeline",
    "spk_3speakers": "3speakers",
    "spk_short": "short",
    "spk_single": "single_speaker",
}


@dataclass(frozen=True)
class Recording:
    """Arrays of one recording of community-1."""

    uri: str
    folder: Path

    def __getitem__(self, name: str) -> Array:
        file = self.folder / "golden" / "community1" / f"{FILES[self.uri]}_{name}.npy"
        array: Array = np.load(file, allow_pickle=False)
        return array

    @property
    def masks(self) -> Array:
        return self["segmentation_data"]

    @property
    def starts(self) -> Array:
        return np.arange(len(self.masks)) * 16000

    @property
    def turns(self) -> list[tuple[float, float, str]]:
        """Start, end and speaker of its RTTM, in milliseconds."""
        lines = (self.folder / "rttm" / f"{self.uri}.rttm").read_text("utf-8").splitlines()
        rows = [line.split() for line in lines]
        return [(float(row[3]), float(row[3]) + float(row[4]), row[7]) for row in rows]

    @property
    def duration_s(self) -> float:
        with (self.folder / "index.tsv").open(encoding="utf-8", newline="") as file:
            rows = {row["uri"]: row for row in csv.DictReader(file, delimiter="\t")}
        return float(rows[self.uri]["seconds"])


@pytest.fixture(params=FILES)
def recording(request: pytest.FixtureRequest, shared_data: Path) -> Recording:
    return Recording(request.param, shared_data)


@pytest.fixture
def spk_test(shared_data: Path) -> Recording:
    return Recording("spk_test", shared_data)


@pytest.fixture(scope="module")
def plda(shared_data: Path) -> Plda:
    return Plda.load(shared_data / "plda")


def test_counts(recording: Recording) -> None:
    count = speaker_count(recording.masks, recording.starts, PYANNOTE)

    assert np.array_equal(count, recording["speaker_counting_data"][:, 0])


def test_from_embeddings_to_turns(recording: Recording, plda: Plda) -> None:
    masks, starts = recording.masks, recording.starts
    count = speaker_count(masks, starts, PYANNOTE)
    clusters = vbx_clusters(recording["embeddings_data"], masks, plda)
    discrete = discrete_diarization(masks, clusters.assignments, count, starts, PYANNOTE)
    turns = to_turns(discrete, PYANNOTE)

    assert np.array_equal(discrete, recording["discrete_diarization_data"])
    assert [turn.speaker for turn in turns] == [speaker for _, _, speaker in recording.turns]
    for turn, (start_s, end_s, _) in zip(turns, recording.turns, strict=True):
        # Those turns were cut at the end of the file and rounded, starts and lengths alike.
        assert turn.start_s == pytest.approx(start_s, abs=0.0006)
        assert min(turn.end_s, recording.duration_s) == pytest.approx(end_s, abs=0.0016)


def test_exclusive_turns_do_not_overlap(recording: Recording, plda: Plda) -> None:
    masks, starts = recording.masks, recording.starts
    count = exclusive(speaker_count(masks, starts, PYANNOTE))
    clusters = vbx_clusters(recording["embeddings_data"], masks, plda)

    turns = to_turns(
        discrete_diarization(masks, clusters.assignments, count, starts, PYANNOTE), PYANNOTE
    )

    assert turns
    assert all(one.end_s <= other.start_s for one, other in pairwise(turns))


def test_training_embeddings(spk_test: Recording) -> None:
    found = training_embeddings(spk_test["embeddings_data"], spk_test.masks)

    assert np.array_equal(found.embeddings, spk_test["train_embeddings"])
    assert np.array_equal(found.windows, spk_test["train_chunk_idx"])
    assert np.array_equal(found.speakers, spk_test["train_speaker_idx"])


def test_first_clusters(spk_test: Recording) -> None:
    labels = first_labels(spk_test["train_embeddings"], 0.6)

    assert np.array_equal(labels, spk_test["ahc_clusters"])


def test_plda_features(spk_test: Recording, plda: Plda) -> None:
    features, expected = plda.features(spk_test["train_embeddings"]), spk_test["plda_features"]

    assert plda.phi == pytest.approx(spk_test["plda_phi"], rel=1e-9)
    # Which way an axis points is the eigenvalue solver's choice; VBx does not see it.
    flips = np.sign((features * expected).sum(axis=0))
    assert np.abs(features * flips - expected).max() < 1e-4


def test_vbx(spk_test: Recording, plda: Plda) -> None:
    found = vbx_posterior(spk_test["plda_features"], plda.phi, spk_test["ahc_clusters"])

    assert np.abs(found.responsibilities - spk_test["vbx_gamma"]).max() < 1e-4
    assert np.abs(found.priors - spk_test["vbx_pi"]).max() < 1e-4


def test_clusters(spk_test: Recording, plda: Plda) -> None:
    found = vbx_clusters(spk_test["embeddings_data"], spk_test.masks, plda)

    assert np.array_equal(found.assignments, spk_test["hard_clusters"])
