"""VGGish checkpoints: every layout gives the same weights, and what is none is refused."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from seeded_networks import tensors
from seeded_vggish import TINY, tensorflow_variables, vggish_state
from voxport.export.checkpoints import VggishCheckpoint, load_vggish
from voxport.export.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    MissingTensorError,
    TensorShapeError,
    UnexpectedTensorError,
    UnsafeCheckpointError,
    UnsupportedArchitectureError,
)

STATE = vggish_state(TINY, 1)
PCA = {
    "pca_eigen_vectors": np.random.default_rng(1).standard_normal((10, 10)).astype(np.float32),
    "pca_means": np.random.default_rng(2).standard_normal(10).astype(np.float32),
}


def _torch(path: Path, state: dict[str, np.ndarray]) -> Path:
    torch.save(tensors(state), path)
    return path


def _npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


def _same(found: VggishCheckpoint) -> None:
    assert set(found.state) == set(STATE)
    for name, value in STATE.items():
        np.testing.assert_array_equal(found.state[name], value)


def test_the_pytorch_layout(tmp_path: Path) -> None:
    found = load_vggish(_torch(tmp_path / "a.pth", STATE))
    _same(found)
    assert found.config == TINY
    assert found.config.rectified
    assert found.pca is None
    assert found.provenance.origin == "local file a.pth"
    assert len(found.provenance.sha256) == 64


def test_tensorflows_variables_by_name(tmp_path: Path) -> None:
    variables = tensorflow_variables(STATE)
    extra = {"global_step": np.array(7), "vggish/conv1/weights/Adam": np.zeros(3, np.float32)}
    found = load_vggish(_npz(tmp_path / "a.npz", {**variables, **extra}))
    _same(found)
    # As Google's own network, which ends without a ReLU.
    assert found.config == replace(TINY, rectified=False)


def test_names_as_tensorflow_prints_them(tmp_path: Path) -> None:
    variables = {f"{name}:0": value for name, value in tensorflow_variables(STATE).items()}
    _same(load_vggish(_npz(tmp_path / "a.npz", variables)))


def test_safetensors_of_either_layout(tmp_path: Path) -> None:
    for state in (STATE, tensorflow_variables(STATE)):
        path = tmp_path / "a.safetensors"
        safetensors.torch.save_file(tensors(state), path)
        _same(load_vggish(path))


def test_compressed_float64_and_fortran_order(tmp_path: Path) -> None:
    variables = {
        name: np.asfortranarray(value.astype(np.float64))
        for name, value in tensorflow_variables(STATE).items()
    }
    np.savez_compressed(tmp_path / "a.npz", **variables)
    _same(load_vggish(tmp_path / "a.npz"))


@pytest.mark.parametrize("rectified", [True, False])
def test_the_last_relu_can_be_chosen(tmp_path: Path, rectified: bool) -> None:
    for path in (
        _torch(tmp_path / "a.pth", STATE),
        _npz(tmp_path / "a.npz", tensorflow_variables(STATE)),
    ):
        assert load_vggish(path, rectified=rectified).config.rectified is rectified


def test_a_pca_beside_the_network(tmp_path: Path) -> None:
    network = _torch(tmp_path / "a.pth", STATE)
    column = {**PCA, "pca_means": PCA["pca_means"][:, None]}
    for path in (
        _npz(tmp_path / "pca.npz", PCA),
        _npz(tmp_path / "column.npz", column),
        _torch(tmp_path / "pca.pth", column),
    ):
        found = load_vggish(network, path)
        assert found.config.whitened
        assert found.pca is not None
        assert found.pca.name == path.name
        np.testing.assert_array_equal(
            found.state["pproc.pca_eigen_vectors"], PCA["pca_eigen_vectors"]
        )
        np.testing.assert_array_equal(found.state["pproc.pca_means"][:, 0], PCA["pca_means"])


def test_a_pca_within_the_network(tmp_path: Path) -> None:
    own = {"pproc.pca_eigen_vectors": PCA["pca_eigen_vectors"]}
    state = {**STATE, **own, "pproc.pca_means": PCA["pca_means"][:, None]}
    found = load_vggish(_torch(tmp_path / "a.pth", state))
    assert found.config.whitened
    assert found.pca == found.provenance


def _without(name: str) -> dict[str, np.ndarray]:
    return {key: value for key, value in STATE.items() if key != name}


def _with(name: str, value: object) -> dict[str, np.ndarray]:
    return {**STATE, name: np.asarray(value, np.float32)}


@pytest.mark.parametrize(
    ("state", "error", "match"),
    [
        (_without("features.8.bias"), MissingTensorError, "features.8.bias"),
        (_without("features.6.weight"), MissingTensorError, "features.6.weight"),
        (_with("classifier.weight", [1.0]), UnexpectedTensorError, "classifier.weight"),
        (_with("features.0.bias", np.full(4, np.nan)), CorruptCheckpointError, "features.0.bias"),
        (_with("embeddings.0.weight", np.zeros((24, 9))), TensorShapeError, "embeddings.0.weight"),
        (_with("features.0.weight", np.zeros((4, 1, 3))), TensorShapeError, "features.0.weight"),
        ({"layer.weight": np.ones(3, np.float32)}, UnsupportedArchitectureError, "conv1"),
    ],
)
def test_other_networks_are_refused(
    tmp_path: Path, state: dict[str, np.ndarray], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=rf"a\.pth: .*{match}"):
        load_vggish(_torch(tmp_path / "a.pth", state))


def test_variables_that_are_missing_are_named(tmp_path: Path) -> None:
    variables = tensorflow_variables(STATE)
    del variables["vggish/conv3/conv3_2/weights"]
    with pytest.raises(MissingTensorError, match=r"a\.npz: no tensor vggish/conv3/conv3_2/weights"):
        load_vggish(_npz(tmp_path / "a.npz", variables))


def test_a_pca_of_another_size_is_refused(tmp_path: Path) -> None:
    network = _torch(tmp_path / "a.pth", STATE)
    wrong = {**PCA, "pca_means": np.zeros(9, np.float32)}
    with pytest.raises(TensorShapeError, match=r"pproc\.pca_means"):
        load_vggish(network, _npz(tmp_path / "pca.npz", wrong))
    with pytest.raises(MissingTensorError, match=r"pca\.npz: no pca_eigen_vectors"):
        load_vggish(network, _npz(tmp_path / "pca.npz", {"x": np.zeros(2)}))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"none\.pth"):
        load_vggish(tmp_path / "none.pth")


# Archives of NumPy that nobody meant well with


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{"vggish/conv1/weights": np.array([print, None], dtype=object)})
    with pytest.raises(UnsafeCheckpointError, match=r"a\.npz: .*pickled"):
        load_vggish(path)


def _archive(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("vggish/conv1/weights.npy", content)
    return path


def _bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array",
        _bytes(np.zeros(4))[:-1],
        _bytes(np.zeros(4)) + b"!",
        _bytes(np.zeros((1000, 1000))).replace(b"(1000, 1000)", b"(9999, 9999)")[:5000],
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CorruptCheckpointError, match=r"a\.npz"):
        load_vggish(_archive(tmp_path / "a.npz", content))


def test_other_than_numbers_are_refused(tmp_path: Path) -> None:
    for array in (np.array(["text"]), np.zeros(2, np.complex64), np.zeros(2, bool)):
        with pytest.raises(TensorShapeError, match=r"a\.npz: .*real numbers"):
            load_vggish(_archive(tmp_path / "a.npz", _bytes(array)))


def test_any_truncation_is_a_clear_error(tmp_path: Path) -> None:
    whole = _npz(tmp_path / "whole.npz", tensorflow_variables(STATE)).read_bytes()
    path = tmp_path / "a.npz"
    for size in range(0, len(whole), max(1, len(whole) // 25)):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"a\.npz"):
            load_vggish(path)
