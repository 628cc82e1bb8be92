"""Configurations and tensors read from checkpoints of other sizes than the published ones."""

from __future__ import annotations

import hashlib
import sys
import types
from dataclasses import replace
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import save_file
from seeded_networks import State, campplus_state, resnet_state, segmentation_state
from voxport.export.checkpoints import load_embedding, load_segmentation, registry
from voxport.export.checkpoints.registry import REGISTRY
from voxport.export.errors import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    MissingTensorError,
    TensorShapeError,
    UnexpectedTensorError,
    UnsupportedArchitectureError,
)
from voxport.graphs import (
    CamPlusPlusConfig,
    CamPlusPlusTrunk,
    PowersetConfig,
    ResNetConfig,
    ResNetTrunk,
    Segmentation,
    SegmentationConfig,
)

SMALL = SegmentationConfig(
    powerset=PowersetConfig(4, 1),
    window_s=5.0,
    sinc_filters=8,
    sinc_kernel=31,
    sinc_stride=5,
    conv_channels=6,
    lstm_hidden=4,
    lstm_layers=2,
    linear_sizes=(5, 5, 5),
)
SMALL_CAMPPLUS = CamPlusPlusConfig(
    feature_size=16,
    embedding_size=24,
    head_channels=4,
    init_channels=8,
    growth_rate=4,
    bottleneck=6,
    context_channels=3,
    block_layers=(2, 1, 3),
)
SMALL_RESNET = ResNetConfig(
    feature_size=16, embedding_size=12, channels=2, block_counts=(1, 2, 1, 1)
)


@pytest.fixture
def pyannote(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module whose classes pickle under the names that pyannote.audio's checkpoints have."""
    name = "pyannote.audio.core.task"
    module = types.ModuleType(name)
    problems = "BINARY_CLASSIFICATION MONO_LABEL_CLASSIFICATION MULTI_LABEL_CLASSIFICATION"
    module.Problem = Enum("Problem", problems, module=name, start=0)  # type: ignore[attr-defined]
    module.Resolution = Enum("Resolution", "FRAME CHUNK", module=name)  # type: ignore[attr-defined]
    specifications = type("Specifications", (), {"__module__": name})
    module.Specifications = specifications  # type: ignore[attr-defined]
    for parent in ("pyannote", "pyannote.audio", "pyannote.audio.core"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, name, module)
    return module


def lightning(
    module: types.ModuleType, state: State, config: SegmentationConfig, **fields: object
) -> dict[str, object]:
    """What pyannote.audio saves for such a network; ``fields`` replace specifications."""
    specifications = module.Specifications()
    vars(specifications).update(
        problem=module.Problem.MONO_LABEL_CLASSIFICATION,
        resolution=module.Resolution.FRAME,
        duration=config.window_s,
        classes=[f"speaker#{number}" for number in range(config.powerset.num_speakers)],
        powerset_max_classes=config.powerset.max_simultaneous,
    )
    vars(specifications).update(fields)
    return {
        "state_dict": state,
        "hyper_parameters": {
            "sample_rate": config.sample_rate_hz,
            "num_channels": 1,
            "sincnet": {"stride": config.sinc_stride},
            "lstm": {"hidden_size": config.lstm_hidden, "num_layers": config.lstm_layers},
            "linear": {"hidden_size": config.linear_sizes[0], "num_layers": 3},
        },
        "pyannote.audio": {"architecture": {"class": "PyanNet"}, "specifications": specifications},
        "optimizer_states": [{"lr": 1e-3, "step": torch.tensor(3)}],
    }


def save(path: Path, tree: object) -> Path:
    torch.save(tree, path)
    return path


def test_segmentation_of_another_size_from_a_lightning_checkpoint(
    tmp_path: Path, pyannote: types.ModuleType
) -> None:
    state = segmentation_state(SMALL, 1)
    path = save(tmp_path / "mine.ckpt", lightning(pyannote, state, SMALL))
    loaded = load_segmentation(path)
    assert loaded.config == SMALL
    assert loaded.provenance.licence == "unknown (user checkpoint)"
    assert loaded.provenance.origin == "local file mine.ckpt"
    assert loaded.provenance.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.provenance.size_bytes == path.stat().st_size
    assert loaded.path == path
    assert set(loaded.state) == set(state)
    for name, value in state.items():
        assert torch.equal(loaded.state[name], value)
    Segmentation(loaded.config).load_original(loaded.state)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("linear_sizes", [(), (5, 7)])
def test_segmentation_from_shapes_alone(
    tmp_path: Path, bidirectional: bool, linear_sizes: tuple[int, ...]
) -> None:
    config = replace(
        SMALL,
        powerset=PowersetConfig(3, 3),
        lstm_bidirectional=bidirectional,
        linear_sizes=linear_sizes,
        lstm_layers=3,
    )
    path = save(tmp_path / "plain.pt", segmentation_state(config, 2))
    assert load_segmentation(path).config == replace(config, window_s=10.0, sinc_stride=10)


def test_segmentation_with_one_lstm_per_layer(tmp_path: Path) -> None:
    config = replace(SMALL, powerset=PowersetConfig(3, 2))
    state = segmentation_state(config, 3)
    layered = {}
    for name, value in state.items():
        for layer in range(config.lstm_layers):
            if name.startswith("lstm.") and f"_l{layer}" in name:
                name = f"lstm.{layer}.{name.removeprefix('lstm.').replace(f'_l{layer}', '_l0')}"  # noqa: PLW2901
                break
        layered[name] = value
    assert "lstm.1.bias_hh_l0_reverse" in layered
    loaded = load_segmentation(save(tmp_path / "layered.pt", layered))
    assert loaded.config.lstm_layers == 2
    assert all(torch.equal(loaded.state[name], value) for name, value in state.items())


def test_segmentation_from_safetensors_with_metadata(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    metadata = {"max_speakers": "4", "max_simultaneous": "1"}
    metadata |= {"sincnet.stride": "5", "window_s": "5.0"}
    save_file(segmentation_state(SMALL, 4), path, metadata)
    assert load_segmentation(path).config == SMALL


@pytest.mark.parametrize(
    ("classes", "pair"),
    [((2, 2), (2, 2)), ((3, 2), (3, 2)), ((3, 3), (3, 3)), ((4, 2), (4, 2)), ((6, 3), (6, 3))],
)
def test_powerset_is_inferred_where_one_fits_alone(
    tmp_path: Path, classes: tuple[int, int], pair: tuple[int, int]
) -> None:
    config = replace(SMALL, powerset=PowersetConfig(*classes))
    loaded = load_segmentation(save(tmp_path / "x.pt", segmentation_state(config, 5)))
    assert loaded.config.powerset == PowersetConfig(*pair)


def test_ambiguous_powersets_ask_for_arguments(tmp_path: Path) -> None:
    five = save(tmp_path / "five.pt", segmentation_state(SMALL, 6))
    with pytest.raises(UnsupportedArchitectureError, match=r"5 classes .*fitting: none"):
        load_segmentation(five)
    assert load_segmentation(
        five, max_speakers=4, max_simultaneous=1
    ).config.powerset == PowersetConfig(4, 1)
    config = replace(SMALL, powerset=PowersetConfig(5, 2))
    sixteen = save(tmp_path / "sixteen.pt", segmentation_state(config, 6))
    with pytest.raises(UnsupportedArchitectureError, match="4 speakers with 4 at once, 5 speakers"):
        load_segmentation(sixteen)
    assert load_segmentation(sixteen, max_speakers=5).config.powerset == PowersetConfig(5, 2)
    with pytest.raises(UnsupportedArchitectureError, match="make 11 classes"):
        load_segmentation(sixteen, max_speakers=4, max_simultaneous=2)
    with pytest.raises(UnsupportedArchitectureError, match="make 0 classes"):
        load_segmentation(sixteen, max_speakers=10**9, max_simultaneous=5 * 10**8)


def test_arguments_must_agree_with_the_file(tmp_path: Path, pyannote: types.ModuleType) -> None:
    path = save(tmp_path / "x.ckpt", lightning(pyannote, segmentation_state(SMALL, 1), SMALL))
    assert load_segmentation(path, max_speakers=4).config == SMALL
    with pytest.raises(UnsupportedArchitectureError, match="max_speakers=4"):
        load_segmentation(path, max_speakers=3)


def test_other_tasks_are_refused(tmp_path: Path, pyannote: types.ModuleType) -> None:
    state, path = segmentation_state(SMALL, 1), tmp_path / "x.ckpt"
    problem = pyannote.Problem.MULTI_LABEL_CLASSIFICATION
    save(path, lightning(pyannote, state, SMALL, problem=problem, powerset_max_classes=None))
    with pytest.raises(UnsupportedArchitectureError, match="multi-label"):
        load_segmentation(path)
    save(path, lightning(pyannote, state, SMALL, resolution=pyannote.Resolution.CHUNK))
    with pytest.raises(UnsupportedArchitectureError, match="per frame"):
        load_segmentation(path)
    tree = lightning(pyannote, state, SMALL)
    tree["pyannote.audio"]["specifications"] = (1, 2)  # type: ignore[index]
    with pytest.raises(UnsupportedArchitectureError, match="several tasks"):
        load_segmentation(save(path, tree))
    tree["pyannote.audio"] = {"architecture": {"class": "SSeRiouSS"}}
    with pytest.raises(UnsupportedArchitectureError, match="SSeRiouSS"):
        load_segmentation(save(path, tree))


@pytest.mark.parametrize("value", [0, -1, 10**9, 2.5, "four", [4]])
def test_absurd_hyper_parameters_are_refused(
    tmp_path: Path, pyannote: types.ModuleType, value: object
) -> None:
    tree = lightning(pyannote, segmentation_state(SMALL, 1), SMALL)
    tree["hyper_parameters"]["lstm"]["num_layers"] = value  # type: ignore[index]
    with pytest.raises(UnsupportedArchitectureError, match="lstm num_layers"):
        load_segmentation(save(tmp_path / "x.ckpt", tree))


def test_absurd_layer_numbers_are_unexpected_tensors(tmp_path: Path) -> None:
    state = segmentation_state(replace(SMALL, powerset=PowersetConfig(3, 2)), 1)
    state["lstm.weight_ih_l99999"] = torch.ones(1)
    with pytest.raises(UnexpectedTensorError, match=r"lstm\.weight_ih_l99999"):
        load_segmentation(save(tmp_path / "x.pt", state))


SEVERED = {
    "lstm.weight_hh_l1_reverse": "stack",
    "linear.1.weight": "linear",
    "classifier.weight": "classifier",
    "sincnet.conv1d.0.filterbank.band_hz_": "filterbank",
}


@pytest.mark.parametrize("name", SEVERED)
def test_missing_extra_and_misshapen_tensors_are_named(
    tmp_path: Path, pyannote: types.ModuleType, name: str
) -> None:
    path = tmp_path / "mine.ckpt"
    sound = segmentation_state(SMALL, 1)
    less = {key: value for key, value in sound.items() if key != name}
    save(path, lightning(pyannote, less, SMALL))
    with pytest.raises(MissingTensorError, match=rf"mine\.ckpt.*{name}"):
        load_segmentation(path)
    save(path, lightning(pyannote, {**sound, "loss.margin": torch.ones(1)}, SMALL))
    with pytest.raises(UnexpectedTensorError, match=r"mine\.ckpt.*loss\.margin"):
        load_segmentation(path)
    misshapen = {**sound, name: sound[name].unsqueeze(0)}
    save(path, lightning(pyannote, misshapen, SMALL))
    with pytest.raises(TensorShapeError, match=rf"mine\.ckpt.*{name}"):
        load_segmentation(path)
    save(path, lightning(pyannote, {**sound, name: torch.full_like(sound[name], 1e9)}, SMALL))
    load_segmentation(path)
    for value in (float("nan"), float("inf")):
        save(path, lightning(pyannote, {**sound, name: torch.full_like(sound[name], value)}, SMALL))
        with pytest.raises(CorruptCheckpointError, match=rf"mine\.ckpt.*{name}.*NaN"):
            load_segmentation(path)


def test_a_stated_layer_that_is_absent_is_missing(
    tmp_path: Path, pyannote: types.ModuleType
) -> None:
    """The statement counts: without it, the file would pass for a one-layer network."""
    state = segmentation_state(SMALL, 1)
    less = {name: value for name, value in state.items() if "_l1" not in name}
    path = save(tmp_path / "x.ckpt", lightning(pyannote, less, SMALL))
    with pytest.raises(MissingTensorError, match=r"lstm\.weight_ih_l1"):
        load_segmentation(path)


def test_a_registered_file_is_held_against_its_published_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = replace(SMALL, powerset=PowersetConfig(3, 2), window_s=10.0, sinc_stride=10)
    state = segmentation_state(full, 1)
    less = {name: value for name, value in state.items() if "_l1" not in name}
    path = save(tmp_path / "x.pt", less)
    assert load_segmentation(path).config.lstm_layers == 1
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = replace(REGISTRY["segmentation-3.0"], sha256=digest, config=full)
    monkeypatch.setattr(registry, "REGISTRY", MappingProxyType({known.name: known}))
    with pytest.raises(MissingTensorError, match=r"lstm\.weight_ih_l1"):
        load_segmentation(path)


def test_a_user_file_with_registered_bytes_takes_name_and_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "x.pt", campplus_state(SMALL_CAMPPLUS, 1))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = replace(REGISTRY["campplus-zh-en-advanced"], sha256=digest, config=SMALL_CAMPPLUS)
    monkeypatch.setattr(registry, "REGISTRY", MappingProxyType({known.name: known}))
    provenance = load_embedding("campplus", path).provenance
    assert (provenance.name, provenance.licence) == ("campplus-zh-en-advanced", "Apache-2.0")
    assert provenance.origin == "local file x.pt"


@pytest.mark.parametrize("wrapper", [None, "state_dict", "embedding_model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_campplus_of_another_size(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    state = campplus_state(SMALL_CAMPPLUS, 7)
    tree: object = {f"{prefix}{name}": value for name, value in state.items()}
    path = save(tmp_path / "x.pt", {wrapper: tree, "epoch": 3} if wrapper else tree)
    loaded = load_embedding("campplus", path)
    assert loaded.config == SMALL_CAMPPLUS
    assert loaded.family == "campplus"
    assert all(torch.equal(loaded.state[name], value) for name, value in state.items())
    CamPlusPlusTrunk(loaded.config).load_original(loaded.state)


@pytest.mark.parametrize("prefix", ["", "resnet.", "module."])
def test_wespeaker_of_another_size(tmp_path: Path, prefix: str) -> None:
    state = resnet_state(SMALL_RESNET, 8)
    saved = {f"{prefix}{name}": value for name, value in state.items()}
    if prefix == "":
        saved["projection.weight"] = torch.ones(100, 12)
    loaded = load_embedding("wespeaker", save(tmp_path / "avg_model.pt", saved))
    assert loaded.config == SMALL_RESNET
    assert set(loaded.state) == set(state)
    assert all(torch.equal(loaded.state[name], value) for name, value in state.items())
    ResNetTrunk(loaded.config).load_original(loaded.state)


def test_other_resnets_are_refused(tmp_path: Path) -> None:
    state, path = resnet_state(SMALL_RESNET, 8), tmp_path / "x.pt"
    save(path, {**state, "layer1.0.conv3.weight": torch.ones(1)})
    with pytest.raises(UnsupportedArchitectureError, match="bottleneck"):
        load_embedding("wespeaker", path)
    save(path, {**state, "seg_2.weight": torch.ones(1)})
    with pytest.raises(UnsupportedArchitectureError, match="two embedding layers"):
        load_embedding("wespeaker", path)
    save(path, segmentation_state(SMALL, 1))
    with pytest.raises(UnsupportedArchitectureError, match="no ResNet"):
        load_embedding("wespeaker", path)
    with pytest.raises(UnsupportedArchitectureError, match=r"no CAM\+\+"):
        load_embedding("campplus", path)
    save(path, state)
    with pytest.raises(UnsupportedArchitectureError, match="no PyanNet"):
        load_segmentation(path)
    with pytest.raises(UnsupportedArchitectureError, match="ecapa"):
        load_embedding("ecapa", path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "sound"),
    [
        ("fbank_centering_span", None, True),
        ("fbank_centering_span", 3.0, False),
        ("window_type", "hamming", True),
        ("window_type", "povey", False),
        ("frame_shift", 10.0, True),
        ("sample_rate", 8000, False),
        ("num_mel_bins", 16, True),
        ("num_mel_bins", 80, False),
    ],
)
def test_features_other_than_the_graphs_are_refused(
    tmp_path: Path, name: str, value: object, sound: bool
) -> None:
    state = {f"resnet.{key}": value for key, value in resnet_state(SMALL_RESNET, 8).items()}
    path = save(tmp_path / "x.ckpt", {"state_dict": state, "hyper_parameters": {name: value}})
    if sound:
        assert load_embedding("wespeaker", path).config == SMALL_RESNET
    else:
        with pytest.raises(UnsupportedArchitectureError, match=name):
            load_embedding("wespeaker", path)


def test_missing_and_misshapen_tensors_of_embeddings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for family, state, name in (
        ("campplus", campplus_state(SMALL_CAMPPLUS, 1), "xvector.block2.tdnnd1.linear1.weight"),
        ("campplus", campplus_state(SMALL_CAMPPLUS, 1), "xvector.dense.linear.weight"),
        ("wespeaker", resnet_state(SMALL_RESNET, 1), "layer4.0.conv2.weight"),
        ("wespeaker", resnet_state(SMALL_RESNET, 1), "seg_1.weight"),
    ):
        value = state.pop(name)
        save(path, state)
        with pytest.raises(MissingTensorError, match=name):
            load_embedding(family, path)  # type: ignore[arg-type]
        save(path, {**state, name: value[:, :1].squeeze(-1)})
        with pytest.raises(TensorShapeError, match=name):
            load_embedding(family, path)  # type: ignore[arg-type]
        save(path, {**state, name: value, "extra": value})
        with pytest.raises(UnexpectedTensorError, match="extra"):
            load_embedding(family, path)  # type: ignore[arg-type]


def test_a_whole_missing_stage_is_named(tmp_path: Path) -> None:
    state = resnet_state(SMALL_RESNET, 1)
    less = {name: value for name, value in state.items() if not name.startswith("layer4.")}
    with pytest.raises(MissingTensorError, match=r"layer4\.0\.conv1\.weight"):
        load_embedding("wespeaker", save(tmp_path / "x.pt", less))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    state = resnet_state(SMALL_RESNET, 9)
    for path in (tmp_path / "x.pt", tmp_path / "x.safetensors"):
        saved = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in state.items()
        }
        if path.suffix == ".pt":
            save(path, saved)
        else:
            save_file(saved, path)
        loaded = load_embedding("wespeaker", path).state
        for name, value in saved.items():
            expected = value.float() if value.is_floating_point() else value
            assert loaded[name].dtype == expected.dtype
            assert torch.equal(loaded[name], expected)


def test_integers_in_place_of_weights_and_entries_that_are_no_tensors(tmp_path: Path) -> None:
    state, path = resnet_state(SMALL_RESNET, 9), tmp_path / "x.pt"
    save(path, {**state, "bn1.weight": state["bn1.weight"].long()})
    with pytest.raises(TensorShapeError, match=r"bn1\.weight holds torch\.int64"):
        load_embedding("wespeaker", path)
    save(path, {"state_dict": {**state, "epoch": 3}})
    with pytest.raises(UnexpectedTensorError, match="epoch"):
        load_embedding("wespeaker", path)
    for tree in ({}, {"state_dict": {}}, [1, 2], 5):
        with pytest.raises(CorruptCheckpointError, match=r"x\.pt"):
            load_embedding("wespeaker", save(path, tree))


def test_views_of_shared_storages_and_parameters_load(tmp_path: Path) -> None:
    state = resnet_state(SMALL_RESNET, 9)
    saved = dict(state)
    saved["seg_1.weight"] = torch.nn.Parameter(state["seg_1.weight"].t().contiguous().t())
    both = torch.stack([state["bn1.weight"], state["bn1.bias"]])
    saved["bn1.weight"], saved["bn1.bias"] = both[0], both[1]
    loaded = load_embedding("wespeaker", save(tmp_path / "x.pt", saved)).state
    for name, value in state.items():
        assert torch.equal(loaded[name], value)
        assert loaded[name].is_contiguous()
        assert type(loaded[name]) is torch.Tensor
        assert not loaded[name].requires_grad


def test_step_counters_may_be_absent(tmp_path: Path) -> None:
    state = {
        name: value
        for name, value in campplus_state(SMALL_CAMPPLUS, 1).items()
        if not name.endswith("num_batches_tracked")
    }
    loaded = load_embedding("campplus", save(tmp_path / "x.pt", state))
    CamPlusPlusTrunk(loaded.config).load_original(loaded.state)


def test_truncated_and_absent_files_are_typed(tmp_path: Path) -> None:
    path = save(tmp_path / "cut.pt", resnet_state(SMALL_RESNET, 1))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CorruptCheckpointError, match=r"cut\.pt: truncated"):
        load_embedding("wespeaker", path)
    for absent in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(CheckpointNotFoundError, match=absent.name):
            load_embedding("wespeaker", absent)


def test_values_that_frameworks_leave_behind_are_harmless(
    tmp_path: Path, pyannote: types.ModuleType
) -> None:
    tree = lightning(pyannote, segmentation_state(SMALL, 1), SMALL)
    tree |= {
        "callbacks": {"path": tmp_path},
        "version": torch.torch_version.TorchVersion("2.0"),
        "device": torch.device("cpu"),
        "shape": torch.Size([1, 2]),
        "names": {"a", "b"},
    }
    assert load_segmentation(save(tmp_path / "x.ckpt", tree)).config == SMALL
