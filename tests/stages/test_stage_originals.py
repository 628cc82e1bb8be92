"""Every stage against pyannote.audio 4.0.7 on made-up recordings (``make_stage_golden.py``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from stage_scenes import Array
from voxport.runtime.stages import (
    AhcOptions,
    Clusters,
    FrameGrid,
    Plda,
    SpeakerBounds,
    ahc_clusters,
    discrete_diarization,
    speaker_count,
    to_turns,
    vbx_clusters,
)

GRID = FrameGrid(
    sample_rate_hz=16000,
    window_samples=32000,
    window_frames=115,
    hop_samples=270,
    receptive_field_samples=991,
)
STEP = 3200
CASES = range(7)
CLUSTERINGS = ("ahc", "one_to_one", "vbx")

Golden = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """A recording, what is known about it, and what pyannote.audio makes of it."""

    masks: Array
    embeddings: Array
    starts: Array
    bounds: SpeakerBounds
    expected: Golden


@pytest.fixture(scope="module")
def arrays(golden: Callable[[str], Golden]) -> Golden:
    return golden("stages")


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, arrays: Golden) -> Case:
    prefix = f"{request.param}_"
    own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
    numbers = [int(number) or None for number in own.pop("bounds")]
    masks, embeddings = own.pop("masks"), own.pop("embeddings")
    return Case(masks, embeddings, np.arange(len(masks)) * STEP, SpeakerBounds(*numbers), own)


@pytest.fixture(scope="module")
def plda(arrays: Golden, tmp_path_factory: pytest.TempPathFactory) -> Plda:
    folder: Path = tmp_path_factory.mktemp("plda")
    files = {"xvec_transform": ("mean1", "mean2", "lda"), "plda": ("mu", "tr", "psi")}
    for file, names in files.items():
        np.savez(folder / f"{file}.npz", **{name: arrays[f"plda_{name}"] for name in names})
    return Plda.load(folder)


def cluster(case: Case, name: str, plda: Plda) -> Clusters:
    if name == "vbx":
        return vbx_clusters(case.embeddings, case.masks, plda, bounds=case.bounds)
    options = AhcOptions(one_to_one=name == "one_to_one")
    return ahc_clusters(case.embeddings, case.masks, options, case.bounds)


def count(case: Case) -> Array:
    return speaker_count(case.masks, case.starts, GRID, case.bounds.most)


def test_all_cases_are_here(arrays: Golden) -> None:
    assert {name.split("_")[0] for name in arrays if name[0].isdigit()} == set(map(str, CASES))


def test_count(case: Case) -> None:
    assert np.array_equal(count(case), case.expected["count"])


def test_plda(arrays: Golden, plda: Plda) -> None:
    assert plda.phi == pytest.approx(arrays["plda_phi"], rel=1e-9)


@pytest.mark.parametrize("name", CLUSTERINGS)
def test_clusters(case: Case, name: str, plda: Plda) -> None:
    found = cluster(case, name, plda)

    assert np.array_equal(found.assignments, case.expected[f"{name}_hard"])
    assert found.centroids == pytest.approx(case.expected[f"{name}_centroids"], abs=1e-5)


@pytest.mark.parametrize("name", CLUSTERINGS)
def test_discrete_diarization(case: Case, name: str) -> None:
    found = discrete_diarization(
        case.masks, case.expected[f"{name}_hard"], case.expected["count"], case.starts, GRID
    )

    assert np.array_equal(found, case.expected[f"{name}_discrete"])


@pytest.mark.parametrize(("name", "min_duration_off_s"), [("turns", 0.0), ("filled", 0.25)])
def test_turns(case: Case, name: str, min_duration_off_s: float) -> None:
    found = to_turns(case.expected["vbx_discrete"], GRID, min_duration_off_s)

    expected = case.expected[name]
    assert [turn.speaker for turn in found] == [f"SPEAKER_{int(row[2]):02d}" for row in expected]
    # The same float64, not only close.
    assert [[turn.start_s, turn.end_s] for turn in found] == expected[:, :2].tolist()


def test_the_whole_way(case: Case, plda: Plda) -> None:
    clusters = cluster(case, "vbx", plda)
    discrete = discrete_diarization(
        case.masks, clusters.assignments, count(case), case.starts, GRID
    )

    turns = to_turns(discrete, GRID)

    assert [[turn.start_s, turn.end_s] for turn in turns] == case.expected["turns"][:, :2].tolist()
