"""The ensemble computes what ``diarization_window`` does, and a broken one is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from voxport.export.errors import ExportError
from voxport.export.triton.config import Serving, model_config
from voxport.export.triton.ensemble import Ensemble, ensemble_config, ensemble_of
from voxport.export.triton.ensemble_check import check_ensemble
from voxport.export.triton.messages import import_messages, to_text
from voxport.runtime import ArtifactRow, Manifest, load
from voxport.runtime.manifest import MANIFEST_NAME
from voxport.runtime.synthetic import example_inputs

PARTS = ("segmentation_masks", "embedding_masks", "embedding_campplus")
SOURCE = "diarization_window_ensemble/config.pbtxt"


def ensemble_in(models: Path, precision: str = "fp32") -> Ensemble:
    manifest = Manifest.read(models / MANIFEST_NAME)
    ensemble = ensemble_of(manifest.artifacts, manifest, precision)
    assert ensemble is not None
    return ensemble


def configs_of(ensemble: Ensemble) -> dict[str, Any]:
    configs = {step.model: model_config(step.row, Serving()) for step in ensemble.steps}
    # A model beside them, with tensors of the same names.
    twin = model_config(ensemble.steps[0].row, Serving())
    return {**configs, "twin": twin}


def check(models: Path, ensemble: Ensemble, config: Any) -> None:
    def read(row: ArtifactRow) -> bytes:
        return (models / row.path).read_bytes()

    check_ensemble(to_text(config), configs_of(ensemble), ensemble, read, SOURCE)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_its_steps(all_models: Path, precision: str) -> None:
    ensemble = ensemble_in(all_models, precision)
    config = ensemble_config(ensemble, Serving())
    suffix = "" if precision == "fp32" else f"_{precision}"
    assert config.name == f"diarization_window_ensemble{suffix}"
    assert (config.platform, config.backend, config.max_batch_size) == ("ensemble", "", 64)
    assert len(config.instance_group) == 0  # Triton takes none for ensembles
    steps = config.ensemble_scheduling.step
    assert [step.model_name for step in steps] == [
        f"segmentation_masks{suffix}",
        "embedding_masks",
        f"embedding_campplus{suffix}",
    ]
    # Windows of a second: 16,000 samples, 56 frames.
    assert [(each.name, list(each.dims)) for each in config.input] == [("waveform", [1, 16000])]
    assert [(each.name, list(each.dims)) for each in config.output] == [
        ("masks", [56, 3]),
        ("embeddings", [3, 24]),
    ]
    check(all_models, ensemble, config)


def test_its_steps_by_hand_equal_the_fused_graph(all_models: Path) -> None:
    """What the check does, with no configuration in between."""
    fused = load("diarization_window", models=all_models, device="cpu")
    inputs = example_inputs(ensemble_in(all_models).description, 3)
    expected = fused.run(**inputs)
    masks = load("segmentation_masks", models=all_models, device="cpu").run(**inputs)["masks"]
    chosen = load("embedding_masks", models=all_models, device="cpu").run(masks=masks)
    embedding = load("embedding_campplus", models=all_models, device="cpu")
    embeddings = embedding.run(**inputs, masks=chosen["embedding_masks"])["embeddings"]
    np.testing.assert_array_equal(masks, expected["masks"])
    assert masks.any()
    np.testing.assert_allclose(embeddings, expected["embeddings"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("absent", [*PARTS, "diarization_window"])
def test_there_is_none_without_all_its_parts(all_models: Path, absent: str) -> None:
    rows = Manifest.read(all_models / MANIFEST_NAME).artifacts
    there = tuple(row for row in rows if row.name != absent)
    assert ensemble_of(there, Manifest(there), "fp32") is None


def test_there_is_none_of_parts_that_were_not_chosen(all_models: Path) -> None:
    manifest = Manifest.read(all_models / MANIFEST_NAME)
    chosen = [row for row in manifest.artifacts if row.name != "embedding_masks"]
    assert ensemble_of(chosen, manifest, "fp32") is None
    assert ensemble_of(manifest.artifacts, manifest, "w8") is None


# Broken ones


def _steps(config: Any) -> Any:
    return config.ensemble_scheduling.step


def _no_step(config: Any) -> None:
    del _steps(config)[1]


def _another_model(config: Any) -> None:
    _steps(config)[0].model_name = "segmentation"


def _a_twin(config: Any) -> None:
    _steps(config)[0].model_name = "twin"


def _unmapped_input(config: Any) -> None:
    del _steps(config)[2].input_map["masks"]


def _unmapped_output(config: Any) -> None:
    del _steps(config)[2].output_map["embeddings"]


def _unknown_output(config: Any) -> None:
    _steps(config)[0].output_map["mask"] = "other"


def _made_twice(config: Any) -> None:
    _steps(config)[1].output_map["embedding_masks"] = "masks"


def _masks_as_they_are(config: Any) -> None:
    _steps(config)[2].input_map["masks"] = "masks"


def _wrong_order(config: Any) -> None:
    steps = list(_steps(config))
    del _steps(config)[:]
    _steps(config).extend([steps[1], steps[0], steps[2]])


def _wrong_frames(config: Any) -> None:
    config.output[0].dims[0] = 57


def _wrong_type(config: Any) -> None:
    config.output[1].data_type = import_messages().TYPE_FP16


def _other_windows(config: Any) -> None:
    config.input[0].dims[1] = 15000


def _larger_batches(config: Any) -> None:
    config.max_batch_size = 128


@pytest.mark.parametrize(
    ("mutate", "told"),
    [
        (_no_step, "nothing makes the tensor 'embedding_masks'"),
        (_another_model, "there is no model 'segmentation' for its step"),
        (_a_twin, r"its steps are \['twin', 'embedding_masks', .*\], not \['segmentation_masks'"),
        (_unmapped_input, r"embedding_campplus has .* but \['waveform'\] -> .* are mapped"),
        (_unmapped_output, "nothing makes the tensor 'embeddings' before it is needed"),
        (_unknown_output, r"segmentation_masks has .*'mask'"),
        (_made_twice, "embedding_masks makes 'masks', which is there already"),
        (_masks_as_they_are, r"but the artifact has float32 \[1, 56, 24\]"),
        (_wrong_order, "nothing makes the tensor 'masks' before it is needed"),
        (_wrong_frames, r"masks is of type|declares masks as type 11 \[-1, 57, 3\]"),
        (_wrong_type, "embeddings is of type 11"),
        (_other_windows, "declares waveform"),
        (_larger_batches, "batches of 128 are more than segmentation_masks takes"),
    ],
)
def test_a_broken_one_is_refused(
    all_models: Path, mutate: Callable[[Any], None], told: str
) -> None:
    ensemble = ensemble_in(all_models)
    config = ensemble_config(ensemble, Serving())
    mutate(config)
    with pytest.raises(ExportError, match=told) as caught:
        check(all_models, ensemble, config)
    assert str(caught.value).startswith((SOURCE, "diarization_window"))


def test_another_network_than_the_fused_one_is_refused(models: Path) -> None:
    """Same names and shapes, other weights: only the answers tell."""
    path = models / "embedding_campplus.fp32.onnx"
    model = onnx.load(path)
    weights = [t for t in model.graph.initializer if len(t.dims) == 2 and 24 in t.dims]
    weights[-1].CopyFrom(
        numpy_helper.from_array(1.01 * numpy_helper.to_array(weights[-1]), weights[-1].name)
    )
    onnx.save(model, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = Manifest.read(models / MANIFEST_NAME)
    rows = tuple(
        replace(row, sha256=digest) if row.path == path.name else row for row in manifest.artifacts
    )
    ensemble = ensemble_of(rows, Manifest(rows), "fp32")
    assert ensemble is not None
    with pytest.raises(ExportError, match=r"not those of diarization_window: 0\.00%"):
        check(models, ensemble, ensemble_config(ensemble, Serving()))


def test_ensembles_of_other_artifacts_have_other_hashes(all_models: Path) -> None:
    hashes = {ensemble_in(all_models, each).sha256 for each in ("fp32", "fp16", "int8")}
    assert len(hashes) == 3
