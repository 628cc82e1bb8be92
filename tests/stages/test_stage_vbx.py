"""PLDA and VBx against their definitions, and files that are no PLDA."""

from __future__ import annotations

import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_scenes import Array, same_partition, voices
from voxport.runtime import ArtifactError, ArtifactNotFoundError, InputError, OptionsError
from voxport.runtime.stages import (
    Plda,
    VbxOptions,
    first_labels,
    vbx,
    vbx_clusters,
    vbx_posterior,
)

DIMENSION, REDUCED = 6, 4


def plda_arrays() -> dict[str, Array]:
    rng = np.random.default_rng(11)
    return {
        "mean1": rng.normal(size=DIMENSION),
        "mean2": rng.normal(size=REDUCED),
        "lda": rng.normal(size=(DIMENSION, REDUCED)).astype(np.float32),
        "mu": rng.normal(size=REDUCED),
        "tr": np.eye(REDUCED) + 0.1 * rng.normal(size=(REDUCED, REDUCED)),
        "psi": np.array([8.0, 4.0, 2.0, 0.5]),
    }


def write(folder: Path, **changes: Any) -> Path:
    arrays = plda_arrays() | changes
    names = {"xvec_transform": ("mean1", "mean2", "lda"), "plda": ("mu", "tr", "psi")}
    for file, members in names.items():
        kept = {name: arrays[name] for name in members if arrays[name] is not None}
        np.savez(folder / f"{file}.npz", **kept)
    return folder


def test_plda_space_is_white_within_and_diagonal_between_speakers(tmp_path: Path) -> None:
    plda = Plda.load(write(tmp_path))

    # tr whitens what is within speakers and leaves psi between them.
    inverse = np.linalg.inv(plda_arrays()["tr"])
    between = inverse @ np.diag(plda_arrays()["psi"]) @ inverse.T
    assert plda.basis @ inverse @ inverse.T @ plda.basis.T == pytest.approx(np.eye(4), abs=1e-9)
    assert plda.basis @ between @ plda.basis.T == pytest.approx(np.diag(plda.phi), abs=1e-9)
    assert plda.phi == pytest.approx([8.0, 4.0, 2.0, 0.5])


def test_plda_features_row_by_row(tmp_path: Path) -> None:
    plda, arrays = Plda.load(write(tmp_path)), plda_arrays()
    embeddings = np.random.default_rng(12).normal(size=(5, DIMENSION)).astype(np.float32)

    features = plda.features(embeddings)

    assert features.dtype == np.float64
    for row, embedding in zip(features, embeddings.astype(np.float64), strict=True):
        centred = embedding - arrays["mean1"]
        scaled = centred * math.sqrt(DIMENSION) / math.sqrt(sum(centred**2))
        reduced = np.array([sum(scaled * column) for column in arrays["lda"].T]) - arrays["mean2"]
        unit = reduced * math.sqrt(REDUCED) / math.sqrt(sum(reduced**2))
        assert row == pytest.approx(plda.basis @ (unit - arrays["mu"]), abs=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tr": None}, "no npz file with mu, tr, psi"),
        ({"psi": np.array([1.0, 2.0, 3.0, 0.0])}, "above 0"),
        ({"psi": np.ones(3)}, r"psi must have shape \(4,\)"),
        ({"mean1": np.ones(REDUCED)}, r"mean1 must have shape \(6,\)"),
        ({"lda": np.ones(DIMENSION)}, "lda must be a matrix"),
        ({"mu": np.array([1.0, np.nan, 0.0, 0.0])}, "finite real numbers"),
        ({"mu": np.array(list("abcd"))}, "finite real numbers"),
        ({"tr": np.zeros((REDUCED, REDUCED))}, "cannot be inverted"),
        ({"mu": np.array([{}], object)}, "no npz file"),
    ],
)
def test_damaged_plda(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Plda.load(write(tmp_path, **changes))


def test_missing_plda(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match=r"xvec_transform\.npz is missing"):
        Plda.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive", pickle.dumps({"mu": 1})])
def test_files_that_are_no_archive(tmp_path: Path, content: bytes) -> None:
    (write(tmp_path) / "plda.npz").write_bytes(content)

    with pytest.raises(ArtifactError, match="no npz file"):
        Plda.load(tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_truncated_files(tmp_path: Path, share: float) -> None:
    path = write(tmp_path) / "xvec_transform.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(ArtifactError, match="no npz file"):
        Plda.load(tmp_path)


def test_a_file_that_would_fill_the_memory(tmp_path: Path) -> None:
    path = write(tmp_path) / "plda.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mu.npy", bytes(65 * 2**20))

    with pytest.raises(ArtifactError, match="holds 68157440 bytes"):
        Plda.load(tmp_path)


def test_embeddings_of_another_network_are_refused(tmp_path: Path) -> None:
    plda = Plda.load(write(tmp_path))

    with pytest.raises(InputError, match=r"6-d embeddings and cannot judge 192-d.*CAM\+\+.*AHC"):
        vbx_clusters(np.ones((1, 3, 192)), np.ones((1, 9, 3)), plda)
    with pytest.raises(InputError, match="192-d"):
        plda.features(np.ones((2, 192)))


# VBx


def posterior(
    features: Array, phi: Array, labels: Array, options: VbxOptions, iterations: int
) -> tuple[Array, Array]:
    """The paper's equations, one speaker and one embedding at a time."""
    count, speakers = len(features), int(labels.max()) + 1
    sure = math.exp(options.smoothing)
    gamma = np.ones((count, speakers))
    gamma[np.arange(count), labels] = sure
    gamma /= sure + speakers - 1
    pi = np.full(speakers, 1 / speakers)
    ratio = options.fa / options.fb
    for _ in range(iterations):
        log_p = np.empty((count, speakers))
        for s in range(speakers):
            inverse = 1 / (1 + ratio * sum(gamma[:, s]) * phi)
            alpha = (
                ratio * inverse * sum(gamma[t, s] * features[t] * phi**0.5 for t in range(count))
            )
            for t, x in enumerate(features):
                likelihood = alpha @ (x * phi**0.5) - 0.5 * (inverse + alpha**2) @ phi
                density = -0.5 * (x @ x + len(x) * math.log(2 * math.pi))
                log_p[t, s] = options.fa * (likelihood + density) + math.log(pi[s] + 1e-8)
        gamma = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        gamma /= gamma.sum(axis=1, keepdims=True)
        pi = gamma.sum(axis=0) / count
    return gamma, pi


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4), st.integers(1, 3))
def test_vbx_is_the_papers(seed: int, count: int, speakers: int, iterations: int) -> None:
    rng = np.random.default_rng(seed)
    features, phi = rng.normal(size=(count, 5)), rng.uniform(0.5, 9, 5)
    labels = rng.integers(speakers, size=count)
    options = VbxOptions(iterations=iterations)

    found = vbx_posterior(features, phi, labels, options)

    # It may stop earlier, when an iteration gains less than 1e-4.
    expected = [posterior(features, phi, labels, options, n + 1) for n in range(iterations)]
    errors = [np.abs(found.responsibilities - gamma).max() for gamma, _ in expected]
    best = int(np.argmin(errors))
    assert errors[best] < 1e-9
    assert found.priors == pytest.approx(expected[best][1], abs=1e-9)
    assert found.responsibilities.sum(axis=1) == pytest.approx(np.ones(count))


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(13)
    features, phi, labels = rng.normal(size=(50, 5)), np.full(5, 4.0), rng.integers(7, size=50)
    whole = vbx_posterior(features, phi, labels)

    monkeypatch.setattr(vbx, "_BLOCK", 20)

    found = vbx_posterior(features, phi, labels)
    assert found.responsibilities == pytest.approx(whole.responsibilities, abs=1e-12)
    assert found.priors == pytest.approx(whole.priors, abs=1e-12)


def test_vbx_drops_speakers_it_can_do_without() -> None:
    """Two voices, of which one was cut in three."""
    points, speakers = voices(np.random.default_rng(14), [60, 60], dimension=32)
    features = 16 * points / np.linalg.norm(points, axis=1, keepdims=True)
    labels = np.where(speakers == 0, np.arange(120) % 3, 3)

    found = vbx_posterior(features, np.full(32, 9.0), labels, min_prior=1e-7)

    assert found.responsibilities.shape == (120, 2)
    assert found.priors == pytest.approx([0.5, 0.5], abs=1e-3)
    assert same_partition(found.responsibilities.argmax(axis=1), speakers)


def test_first_labels_are_cut_at_the_threshold() -> None:
    unit = np.eye(3)[[0, 0, 1, 2]] + 0.01 * np.arange(4)[:, None]

    assert same_partition(first_labels(unit), np.array([0, 0, 1, 2]))
    assert np.array_equal(first_labels(unit, 2.0), np.zeros(4))


@pytest.mark.parametrize("name", ["ahc_threshold", "fa", "fb", "smoothing", "iterations"])
def test_vbx_options_must_be_positive(name: str) -> None:
    with pytest.raises(OptionsError, match=name):
        VbxOptions(**{name: 0})


@pytest.mark.parametrize(
    ("phi", "labels"),
    [
        (np.ones(4), np.zeros(3, int)),
        (np.zeros(5), np.zeros(3, int)),
        (np.ones(5), np.zeros(2, int)),
        (np.ones(5), np.zeros(3)),
        (np.ones(5), np.array([0, -1, 0])),
    ],
)
def test_vbx_arrays_that_do_not_fit(phi: Array, labels: Array) -> None:
    with pytest.raises(InputError, match=r"phi must|labels must"):
        vbx_posterior(np.ones((3, 5)), phi, labels)
