"""TensorFlow's own checkpoint files: real ones bit for bit, and a VGGish of them end to end."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from seeded_networks import campplus_state, segmentation_state, tensors
from seeded_vggish import TINY, tensorflow_variables, vggish_state
from tensorflow_files import MAGIC, crc32c, golden_variables, write_v1, write_v2
from voxport.export import run
from voxport.export.checkpoints import load_vggish
from voxport.export.checkpoints.tensorflow import read_tensorflow, tensorflow_table
from voxport.export.checkpoints.tensorflow import table as table_module
from voxport.export.checkpoints.tensorflow.crc32c import crc32c as crc32c_of
from voxport.export.errors import (
    CheckpointNotFoundError,
    MissingTensorError,
    TensorShapeError,
    UnsupportedArchitectureError,
)
from voxport.export.verification.cases import Speech
from voxport.graphs import CamPlusPlusConfig, PowersetConfig, SegmentationConfig
from voxport.runtime import load
from voxport.runtime.cli import main

GOLDEN = golden_variables()
FLOATS = {name for name, value in GOLDEN.items() if value.dtype.kind == "f"}
STATE = vggish_state(TINY, 1)
VARIABLES = tensorflow_variables(STATE)


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints that TensorFlow 2.21 wrote."""
    folder = tmp_path_factory.mktemp("golden")
    with zipfile.ZipFile(Path(__file__).parents[1] / "golden/tensorflow.zip") as archive:
        archive.extractall(folder)
    return folder


# Files of TensorFlow itself


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("v1.ckpt", set()),
        ("v2.ckpt", {"partitioned/weights"}),
        ("shards.ckpt", {"partitioned/weights"}),
    ],
)
def test_variables_are_those_that_were_saved(golden: Path, name: str, missing: set[str]) -> None:
    table = tensorflow_table(golden / name)
    assert table is not None
    found = read_tensorflow(table, (FLOATS - missing).__contains__)
    assert set(found.state) == FLOATS - missing
    for key, tensor in found.state.items():
        assert tensor.numpy().dtype == GOLDEN[key].dtype
        assert tensor.shape == GOLDEN[key].shape
        assert tensor.numpy().tobytes() == GOLDEN[key].tobytes()


def test_the_golden_files_have_what_they_should(golden: Path) -> None:
    """Several blocks, keys that share their start, and several data files."""
    with (golden / "v1.ckpt").open("rb") as stream:
        table = table_module.Table(stream)
        index = table._block(table._index_offset, table._index_bytes)
        assert len(list(table_module._entries(index))) > 1
    whole = b"vggish/conv1/weights/Adam_1"
    assert whole not in (golden / "v2.ckpt.index").read_bytes()
    with (golden / "v2.ckpt.index").open("rb") as stream:
        assert whole in dict(table_module.Table(stream).entries())
    assert len(list(golden.glob("shards.ckpt.data-*-of-00002"))) == 2


def test_all_files_of_a_checkpoint_are_hashed(golden: Path) -> None:
    found = read_tensorflow(golden / "shards.ckpt.index", {"double"}.__contains__)
    assert [file.name for file in found.files] == [
        "shards.ckpt.index",
        "shards.ckpt.data-00000-of-00002",
        "shards.ckpt.data-00001-of-00002",
    ]
    content = b"".join(file.read_bytes() for file in found.files)
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.size_bytes == len(content)


def test_a_partitioned_variable_of_version_2_is_refused(golden: Path) -> None:
    with pytest.raises(UnsupportedArchitectureError, match=r"v2\.ckpt\.index: partitioned/weights"):
        read_tensorflow(golden / "v2.ckpt.index", {"partitioned/weights"}.__contains__)


@pytest.mark.parametrize("name", ["v1.ckpt", "v2.ckpt.index"])
def test_integers_are_refused_where_they_are_wanted(golden: Path, name: str) -> None:
    with pytest.raises(TensorShapeError, match="global_step holds numbers of TensorFlow's kind 9"):
        read_tensorflow(golden / name, {"global_step"}.__contains__)


def test_checkpoints_of_other_networks_are_refused(golden: Path) -> None:
    with pytest.raises(UnsupportedArchitectureError, match=r"objects\.index: neither"):
        load_vggish(golden / "objects")
    with pytest.raises(MissingTensorError, match=r"v1\.ckpt: no tensor vggish/conv2/weights"):
        load_vggish(golden / "v1.ckpt")


# Which file is meant


def test_any_file_of_version_2_may_be_named(tmp_path: Path) -> None:
    index = write_v2(tmp_path / "model.ckpt", VARIABLES)
    (tmp_path / "model.ckpt.meta").write_bytes(b"a graph")
    for name in ("", ".index", ".data-00000-of-00001", ".meta"):
        assert tensorflow_table(tmp_path / f"model.ckpt{name}") == index
    (tmp_path / "other.index").write_bytes(b"no table")
    for name in ("other", "other.index", "none", "."):
        assert tensorflow_table(tmp_path / name) is None


def test_parts_of_a_checkpoint_that_are_missing_are_named(tmp_path: Path) -> None:
    index = write_v2(tmp_path / "model.ckpt", VARIABLES, 2)
    second = tmp_path / "model.ckpt.data-00001-of-00002"
    second.unlink()
    with pytest.raises(CheckpointNotFoundError, match=r"model\.ckpt\.data-00001-of-00002: cannot"):
        load_vggish(index)
    index.unlink()
    with pytest.raises(CheckpointNotFoundError, match=r"table model\.ckpt\.index is not beside it"):
        load_vggish(tmp_path / "model.ckpt.data-00000-of-00002")


# A VGGish


def _files(folder: Path) -> dict[str, Path]:
    """The same weights in every layout."""
    extra = {
        **VARIABLES,
        "global_step": np.array(7, np.int64),
        "vggish/conv1/weights/Adam": np.full((3, 3, 1, 4), np.nan, np.float32),
        "other/weights": np.zeros((2, 0), np.float32),
    }
    torch.save(tensors(STATE), folder / "torch.pth")
    torch.save(tensors(STATE), folder / "old.pth", _use_new_zipfile_serialization=False)
    write_v2(folder / "v2.ckpt", extra)
    write_v2(folder / "shards.ckpt", extra, 3)
    return {
        "torch": folder / "torch.pth",
        "torch before 1.6": folder / "old.pth",
        "version 1": write_v1(folder / "vggish_model.ckpt", extra),
        "version 2": folder / "v2.ckpt",
        "version 2 in shards": folder / "shards.ckpt.index",
    }


def test_every_layout_gives_the_same_weights(tmp_path: Path) -> None:
    for layout, path in _files(tmp_path).items():
        found = load_vggish(path)
        assert found.config.rectified is layout.startswith("torch")
        assert set(found.state) == set(STATE)
        for name, value in STATE.items():
            np.testing.assert_array_equal(found.state[name], value, err_msg=layout)


def test_provenance_names_all_files(tmp_path: Path) -> None:
    files = _files(tmp_path)
    one, several = (load_vggish(files[k]).provenance for k in ("version 1", "version 2"))
    assert (one.name, one.origin) == ("vggish_model.ckpt", "local file vggish_model.ckpt")
    assert one.sha256 == hashlib.sha256(files["version 1"].read_bytes()).hexdigest()
    assert several.origin == "local files v2.ckpt.index, v2.ckpt.data-00000-of-00001"


def test_layouts_export_to_the_same_embeddings(
    tmp_path: Path, synthetic_speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "verification_speech", lambda: synthetic_speech)
    powerset = PowersetConfig(2, 2)
    own = SegmentationConfig(powerset, lstm_hidden=8, lstm_layers=1, linear_sizes=(8,))
    torch.save(segmentation_state(own, seed=1), tmp_path / "segmentation.pt")
    speaker = CamPlusPlusConfig(embedding_size=16, block_layers=(1, 1, 1))
    torch.save(campplus_state(speaker, seed=1), tmp_path / "speaker.pt")
    others = ["--segmentation", str(tmp_path / "segmentation.pt"), "--max-speakers", "2"]
    others += ["--max-simultaneous", "2", "--embedding", "campplus"]
    others += ["--embedding-checkpoint", str(tmp_path / "speaker.pt")]
    waveform = synthetic_speech.windows()[:2, :, :15600].copy()
    files, found = _files(tmp_path), {}
    for layout in ("torch", "version 1", "version 2"):
        out, path = tmp_path / layout, files[layout]
        options = ["--vggish-checkpoint", str(path), "--vggish-activation", "relu"]
        limits = ["--only", "vggish", "--formats", "onnx", "--precisions", "fp32"]
        assert main(["export", "-o", str(out), *others, *options, *limits]) == 0
        with load("vggish", models=out) as session:
            found[layout] = session.run(waveform=waveform)["embeddings"]
            (entry,) = session.description.checkpoints
            assert entry["name"].startswith(path.name)
    assert np.ptp(found["torch"]) > 0.1
    for layout, embeddings in found.items():
        np.testing.assert_array_equal(embeddings, found["torch"], err_msg=layout)


# The checksum


def test_checksums_are_castagnolis() -> None:
    # RFC 3720, B.4, and the catalogue's check value.
    assert crc32c_of(memoryview(bytes(32))) == 0x8A9136AA
    assert crc32c_of(memoryview(b"\xff" * 32)) == 0x62A8AB43
    assert crc32c_of(memoryview(b"123456789")) == 0xE3069283


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 70001, (1 << 20) - 1, 1 << 20])
def test_checksums_of_any_length(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c_of(memoryview(data)) == crc32c(data)


def test_checksums_beyond_a_piece() -> None:
    # Pieces are joined: a whole one, a short one at the start, few bytes at the start.
    data = np.random.default_rng(1).bytes((1 << 20) + 5000)
    assert crc32c_of(memoryview(data)) == crc32c(data)
    assert crc32c_of(memoryview(data)[4990:]) == crc32c(data[4990:])
    assert MAGIC == table_module.MAGIC
