"""The real networks, exported: artifacts against the originals' own arrays, and every corruption.

One export of everything (about a minute) serves all tests here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import soundfile
from onnx import numpy_helper
from voxport.export.checkpoints import EmbeddingCheckpoint, SegmentationCheckpoint
from voxport.export.networks import Networks
from voxport.export.publishing import sha256_hex
from voxport.export.run import run_export, run_verify
from voxport.runtime import ArtifactError, Manifest, VoxportError, load
from voxport.runtime.cli import main

Arrays = dict[str, npt.NDArray[Any]]
FloatArray = npt.NDArray[np.float32]
MANIFEST = "manifest.json"


@pytest.fixture(scope="session")
def networks(
    segmentation_checkpoint: SegmentationCheckpoint, campplus_checkpoint: EmbeddingCheckpoint
) -> Networks:
    return Networks(segmentation_checkpoint, (campplus_checkpoint,))


@pytest.fixture(scope="session")
def models(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    run_export(networks, folder)
    return folder


def test_every_variant_is_published(models: Path) -> None:
    manifest = Manifest.read(models / MANIFEST)
    variants = {row.name: set() for row in manifest.artifacts}
    for row in manifest.artifacts:
        variants[row.name].add(row.precision)
    half = {"fp32", "fp16"}
    for name in ("segmentation", "segmentation_masks"):
        assert variants.pop(name) == {*half, "int8"}
    for name in ("embedding_campplus", "diarization_window"):
        # INT8 ships if it passes its gates on this machine; the others must.
        assert variants.pop(name) >= half
    assert variants == {
        name: {"fp32"}
        for name in (
            "powerset",
            "fbank_campplus",
            "fbank_wespeaker",
            "embedding_inputs",
            "cosine_distance",
            "post_embedding",
        )
    }
    assert (models / "REPORT.md").is_file()


def test_graphs_are_small(models: Path) -> None:
    rows = {row.path: row for row in Manifest.read(models / MANIFEST).artifacts}
    campplus = rows["embedding_campplus.fp32.onnx"]
    assert sum(campplus.ops.values()) <= 850
    # Two for the features' real and imaginary parts, three for shapes: none per segment.
    assert campplus.ops["Slice"] <= 5
    segmentation = rows["segmentation.fp32.onnx"]
    assert sum(segmentation.ops.values()) <= 45
    assert segmentation.ops["LSTM"] == 4
    for name in ("segmentation", "embedding_campplus", "diarization_window"):
        fp32, fp16 = (rows[f"{name}.{precision}.onnx"].size_bytes for precision in ("fp32", "fp16"))
        assert fp16 < 0.56 * fp32


@pytest.mark.parametrize(("precision", "max_flipped"), [("fp32", 0), ("fp16", 1), ("int8", 6)])
def test_segmentation_decides_as_pyannote(
    models: Path,
    golden: Callable[[str], Arrays],
    sample_waveform: FloatArray,
    precision: str,
    max_flipped: int,
) -> None:
    arrays = golden("segmentation")
    session = load("segmentation_masks", models=models, precision=precision)
    windows = np.stack([sample_waveform[s * 16000 :][:160000] for s in (5, 15)])[:, None]
    outputs = session.run(waveform=windows)
    expected = np.concatenate([arrays[f"log_probs_sample_{s}s"] for s in (5, 15)])
    flipped = (outputs["log_probs"].argmax(-1) != expected.argmax(-1)).sum()
    # 1,178 frames: 0.1 % is 1, 0.5 % is 6.
    assert flipped <= max_flipped
    if precision == "fp32":
        assert np.abs(outputs["log_probs"] - expected).max() < 5e-3
        masks = np.concatenate([arrays[f"masks_sample_{s}s"] for s in (5, 15)])
        np.testing.assert_array_equal(outputs["masks"], masks)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-6), ("fp16", 1e-4), ("int8", 1e-2)])
def test_campplus_gives_the_embeddings_of_its_authors(
    models: Path,
    golden: Callable[[str], Arrays],
    sample_waveform: FloatArray,
    precision: str,
    limit: float,
) -> None:
    rows = {row.path for row in Manifest.read(models / MANIFEST).artifacts}
    if f"embedding_campplus.{precision}.onnx" not in rows:
        pytest.skip(f"{precision} did not pass its gates here and was not shipped")
    session = load("embedding_campplus", models=models, precision=precision)
    start = 7 * 16000
    for length in (24240, 48240, 160000):
        waveform = sample_waveform[None, None, start : start + length]
        full = np.ones((1, 1, 589), np.float32)
        observed = session.run(waveform=waveform, masks=full)["embeddings"].ravel()
        expected = golden("campplus")[f"embedding_{length}"].ravel()
        similarity = observed @ expected / np.linalg.norm(observed) / np.linalg.norm(expected)
        assert 1 - similarity < limit
        if precision == "fp32":
            assert np.abs(observed - expected).max() < 1e-4


def test_masks_together_equal_masks_alone(models: Path, sample_waveform: FloatArray) -> None:
    session = load("embedding_campplus", models=models)
    rng = np.random.default_rng(0)
    masks = (rng.random((1, 4, 589)) < 0.5).astype(np.float32)
    waveform = sample_waveform[None, None, :160000]
    together = session.run(waveform=waveform, masks=masks)["embeddings"][0]
    for speaker in range(4):
        alone = session.run(waveform=waveform, masks=masks[:, speaker : speaker + 1])
        np.testing.assert_allclose(alone["embeddings"][0, 0], together[speaker], rtol=0, atol=1e-6)


def test_the_window_graph_equals_its_parts(models: Path, sample_waveform: FloatArray) -> None:
    windows = np.stack([sample_waveform[s * 16000 :][:160000] for s in (2, 9, 17)])[:, None]
    fused = load("diarization_window", models=models).run(waveform=windows)
    masks = load("segmentation_masks", models=models).run(waveform=windows)["masks"]
    np.testing.assert_array_equal(fused["masks"], masks)
    inputs = load("embedding_inputs", models=models).run(waveform=windows, masks=masks)
    clean = inputs["clean_masks"].reshape(3, 3, 589)
    np.testing.assert_array_equal(fused["clean_masks"].transpose(0, 2, 1), clean)
    used = np.where(clean.sum(-1, keepdims=True) > 2, clean, masks.transpose(0, 2, 1))
    embeddings = load("embedding_campplus", models=models).run(
        waveform=windows, masks=np.ascontiguousarray(used, np.float32)
    )["embeddings"]
    # Same arithmetic, other kernels' block sizes: 1e-5 of values around 2.
    np.testing.assert_allclose(fused["embeddings"], embeddings, rtol=0, atol=2e-5)


def test_the_runtime_runs_an_artifact_without_torch(models: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        import numpy as np
        from voxport.runtime import load
        session = load("segmentation_masks", models=sys.argv[1])
        out = session.run(waveform=np.zeros((1, 1, 160000), np.float32))
        assert out["masks"].shape == (1, 589, 3), out["masks"].shape
        heavy = {"torch", "onnx", "coremltools", "voxport.export", "voxport.graphs"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """
    )
    subprocess.run([sys.executable, "-c", script, str(models)], check=True)


def test_the_demo_tells_who_is_active(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from voxport.export.checkpoints import fetch  # noqa: PLC0415 -- after the fixtures have it

    assert main(["demo", "--models", str(models), str(fetch("sample.wav"))]) == 0
    text = capsys.readouterr().out
    assert text.count("|") >= 10
    assert "X" in text
    assert "cosine distances" in text


def test_the_readme_example_runs(
    models: Path, sample_waveform: FloatArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.+?)```", readme, re.DOTALL)
    stereo = np.stack([sample_waveform[: 12 * 16000]] * 2, axis=1)
    soundfile.write(tmp_path / "meeting.wav", stereo, 16000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VOXPORT_MODELS", str(models))
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)  # noqa: S102 -- the README is ours
    assert names["masks"].shape == (1, 589, 3)
    assert names["embeddings"].shape == (1, 3, 192)
    assert np.isfinite(names["embeddings"]).all()


def test_untouched_artifacts_verify(models: Path, networks: Networks) -> None:
    assert run_verify(networks, models) == 0


@pytest.fixture
def small(models: Path, tmp_path: Path) -> Path:
    """A copy of the folder with the masks graph alone, quick to verify."""
    folder = tmp_path / "models"
    folder.mkdir()
    manifest = Manifest.read(models / MANIFEST)
    rows = tuple(row for row in manifest.artifacts if row.path == "segmentation_masks.fp32.onnx")
    shutil.copy(models / rows[0].path, folder)
    (folder / MANIFEST).write_text(Manifest(rows).to_json())
    return folder


def _artifact(folder: Path) -> Path:
    return folder / "segmentation_masks.fp32.onnx"


def _flip_a_byte(folder: Path) -> None:
    content = bytearray(_artifact(folder).read_bytes())
    content[len(content) // 2] ^= 0x40
    _artifact(folder).write_bytes(content)


def _truncate(folder: Path) -> None:
    content = _artifact(folder).read_bytes()
    _artifact(folder).write_bytes(content[: len(content) // 2])


def _remove(folder: Path) -> None:
    _artifact(folder).unlink()


def _add_a_stray(folder: Path) -> None:
    shutil.copy(_artifact(folder), folder / "other.fp32.onnx")


def _list_nothing(folder: Path) -> None:
    (folder / MANIFEST).write_text(Manifest().to_json())


def _consistent(folder: Path, content: bytes) -> None:
    """Replace the artifact and make the manifest agree: only the gates can tell."""
    _artifact(folder).write_bytes(content)
    (row,) = Manifest.read(folder / MANIFEST).artifacts
    row = replace(row, sha256=sha256_hex(content), size_bytes=len(content))
    (folder / MANIFEST).write_text(Manifest((row,)).to_json())


def _edit_weight(folder: Path, op: str, edit: Callable[[FloatArray], None]) -> None:
    model = onnx.load(_artifact(folder))
    node = next(node for node in model.graph.node if node.op_type == op)
    index = 2 if op == "LSTM" else 1
    weight = next(t for t in model.graph.initializer if t.name == node.input[index])
    values = numpy_helper.to_array(weight).copy()
    edit(values)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    _consistent(folder, model.SerializeToString())


def _swap_recurrent_rows(folder: Path) -> None:
    def swap(values: FloatArray) -> None:
        values[0, [0, 1]] = values[0, [1, 0]]

    _edit_weight(folder, "LSTM", swap)


def _swap_gates(folder: Path) -> None:
    def swap(values: FloatArray) -> None:
        values[0, :256] = np.roll(values[0, :256], 128, axis=0)

    _edit_weight(folder, "LSTM", swap)


def _scale_a_filter(folder: Path) -> None:
    # The normalisation after the pooling undoes it: no output changes.
    def scale(values: FloatArray) -> None:
        values[7] *= 1.05

    _edit_weight(folder, "Conv", scale)


def _last_bit(folder: Path) -> None:
    def nudge(values: FloatArray) -> None:
        values[0, 0] = np.nextafter(values[0, 0], np.float32(np.inf))

    _edit_weight(folder, "MatMul", nudge)


def _not_a_number(folder: Path) -> None:
    def spoil(values: FloatArray) -> None:
        values[0] = np.nan

    _edit_weight(folder, "MatMul", spoil)


def _wrong_mapping(folder: Path) -> None:
    model = onnx.load(_artifact(folder))
    gather = next(node for node in model.graph.node if node.op_type == "Gather")
    table = next(t for t in model.graph.initializer if t.name == gather.input[0])
    values = numpy_helper.to_array(table)[:, ::-1].copy()
    table.CopyFrom(numpy_helper.from_array(values, table.name))
    _consistent(folder, model.SerializeToString())


def _other_metadata(folder: Path) -> None:
    model = onnx.load(_artifact(folder))
    entry = model.metadata_props[0]
    entry.value = entry.value.replace('"hop_samples": 270', '"hop_samples": 271')
    _consistent(folder, model.SerializeToString())


def _edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    edit(data["artifacts"][0])
    (folder / MANIFEST).write_text(json.dumps(data))


def _manifest_recipe(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["description"]["recipe"].update(window_samples=80000))


def _manifest_ops(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["ops"].update(LSTM=5))


def _manifest_checkpoint(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["description"]["checkpoints"][0].update(sha256="0" * 64))


def _manifest_unpassed_gate(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["gates"][0].update(passed=False))


def _manifest_without_gates(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row.update(gates=[]))


def _manifest_wider_limit(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["gates"][-1]["limits"].update(max_abs=1.0))


def _manifest_other_precision(folder: Path) -> None:
    _edit_manifest(folder, lambda row: row["description"].update(precision="fp16"))


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (_flip_a_byte, "the file has changed"),
        (_truncate, "the file has changed"),
        (_remove, "unreadable"),
        (_add_a_stray, "not in the manifest"),
        (_list_nothing, "lists no artifact"),
        (_swap_recurrent_rows, "pytorch / log_probs"),
        (_swap_gates, "pytorch / log_probs"),
        (_scale_a_filter, "other weights or another graph"),
        (_last_bit, "other weights or another graph"),
        (_not_a_number, "not finite"),
        (_wrong_mapping, "pytorch / masks"),
        (_other_metadata, "the metadata in the file is not what the export declares"),
        (_manifest_recipe, "the manifest describes"),
        (_manifest_ops, "the manifest says ops"),
        (_manifest_checkpoint, "pass --segmentation"),
        (_manifest_unpassed_gate, "a gate that did not pass"),
        (_manifest_without_gates, "the manifest lists gates"),
        (_manifest_wider_limit, "the manifest lists gates"),
        (_manifest_other_precision, "the metadata in the file"),
    ],
)
def test_every_corruption_is_caught(
    small: Path,
    networks: Networks,
    capsys: pytest.CaptureFixture[str],
    corrupt: Callable[[Path], None],
    message: str,
) -> None:
    corrupt(small)
    assert run_verify(networks, small) == 1
    assert message in capsys.readouterr().err


def test_a_changed_file_is_not_loaded(small: Path) -> None:
    _flip_a_byte(small)
    with pytest.raises(ArtifactError, match="the file has changed since"):
        load("segmentation_masks", models=small)


def test_a_damaged_manifest_is_one_clear_error(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small / MANIFEST).write_text("{")
    with pytest.raises(VoxportError, match="not valid JSON"):
        load("segmentation_masks", models=small)
    assert main(["verify", str(small)]) == 1
    assert "not valid JSON" in capsys.readouterr().err
