"""Hyper-parameters of CAM++ and of WeSpeaker's ResNet, read from their tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ...graphs import WESPEAKER_FBANK, CamPlusPlusConfig, ResNetConfig
from ..errors import TensorShapeError, UnsupportedArchitectureError
from .content import Content
from .tensors import dimensions, numbered

# The features shrink three times by two in both networks.
_MEL_REDUCTION = 8
_RESNET_PREFIX = "resnet."
# The classifier over training speakers in WeSpeaker's own checkpoints: not part of the network.
_TRAINING_HEAD = "projection."
_STAGES = 4


def campplus_config(content: Content) -> CamPlusPlusConfig:
    """Read the configuration of a 3D-Speaker CAMPPlus, which has three dense blocks.

    Raises UnsupportedArchitectureError (not a CAM++), and MissingTensorError or TensorShapeError
    for a tensor that the configuration is read from.
    """
    state, where = content.state, content.where
    if not any(name.startswith("xvector.") for name in state):
        raise UnsupportedArchitectureError(f"{where}: no tensor of a TDNN, so this is no CAM++")
    # A checkpoint does not tell the dilations; those of the published network are assumed.
    dilations = CamPlusPlusConfig().dilations
    layers = tuple(
        max(1, numbered(state, f"xvector.block{number}.tdnnd", ".", 1))
        for number in range(1, len(dilations) + 1)
    )
    head_channels = dimensions(state, "head.conv1.weight", 4, where)[0]
    init_channels, head_size, _ = dimensions(state, "xvector.tdnn.linear.weight", 3, where)
    dense = "xvector.block1.tdnnd1."
    return CamPlusPlusConfig(
        feature_size=_feature_size(content, "xvector.tdnn.linear.weight", head_size, head_channels),
        embedding_size=dimensions(state, "xvector.dense.linear.weight", 3, where)[0],
        head_channels=head_channels,
        init_channels=init_channels,
        growth_rate=dimensions(state, f"{dense}cam_layer.linear_local.weight", 3, where)[0],
        bottleneck=dimensions(state, f"{dense}linear1.weight", 3, where)[0],
        context_channels=dimensions(state, f"{dense}cam_layer.linear1.weight", 3, where)[0],
        block_layers=layers,
        dilations=dilations,
    )


def resnet_config(content: Content) -> ResNetConfig:
    """Read the configuration of a WeSpeaker ResNet; names must be without prefix.

    Raises UnsupportedArchitectureError (no ResNet, bottleneck blocks, a second embedding layer,
    features that the graph does not compute), and MissingTensorError or TensorShapeError for a
    tensor that the configuration is read from.
    """
    state, where = content.state, content.where
    _refuse_other_resnets(state, where)
    channels = dimensions(state, "conv1.weight", 4, where)[0]
    embedding_size, statistics = dimensions(state, "seg_1.weight", 2, where)
    # The statistics are mean and deviation of channels that double from stage to stage.
    last_channels = 2 * channels * 2 ** (_STAGES - 1)
    feature_size = _feature_size(content, "seg_1.weight", statistics, last_channels)
    _check_features(content, feature_size)
    return ResNetConfig(
        feature_size=feature_size,
        embedding_size=embedding_size,
        channels=channels,
        block_counts=tuple(
            max(1, numbered(state, f"layer{stage}.", ".", 0)) for stage in range(1, _STAGES + 1)
        ),
    )


def resnet_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without pyannote.audio's prefix and without WeSpeaker's training head."""
    prefixed = any(name.startswith(_RESNET_PREFIX) for name in state)
    prefix = _RESNET_PREFIX if prefixed else ""
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if not name.startswith(_TRAINING_HEAD)
    }


def _feature_size(content: Content, name: str, width: int, channels: int) -> int:
    """Mel bins, from a width that is channels times mel bins after the last reduction."""
    if width % channels:
        raise TensorShapeError(
            f"{content.where}: {name} has {width} inputs, which is no multiple of {channels}"
        )
    return width // channels * _MEL_REDUCTION


def _refuse_other_resnets(state: Mapping[str, Tensor], where: str) -> None:
    if not any(name.startswith("layer1.") for name in state):
        raise UnsupportedArchitectureError(f"{where}: no residual layers, so this is no ResNet")
    if any(".conv3." in name for name in state):
        raise UnsupportedArchitectureError(
            f"{where}: a ResNet with bottleneck blocks (50 layers or more); only basic blocks "
            "(ResNet18, ResNet34) can be exported"
        )
    if any(name.startswith(("seg_2.", "seg_bn_1.")) for name in state):
        raise UnsupportedArchitectureError(
            f"{where}: a ResNet with two embedding layers; only one (seg_1) can be exported"
        )


def _check_features(content: Content, feature_size: int) -> None:
    """Refuse a network that was trained on other features than the exported graph computes."""
    fbank = WESPEAKER_FBANK
    computed: dict[str, object] = {
        "sample_rate": fbank.sample_rate_hz,
        "num_channels": 1,
        "num_mel_bins": feature_size,
        "frame_length": 1000.0 * fbank.frame_length_samples / fbank.sample_rate_hz,
        "frame_shift": 1000.0 * fbank.hop_samples / fbank.sample_rate_hz,
        "window_type": fbank.window,
        "round_to_power_of_two": True,
        "snip_edges": True,
        "use_energy": False,
        "fbank_centering_span": None,  # the mean over the whole window is removed
    }
    for name, value in computed.items():
        stated = content.hyper_parameters.get(name, value)
        if stated != value:
            raise UnsupportedArchitectureError(
                f"{content.where}: trained on features with {name}={stated!r:.50}; "
                f"only {value!r} can be exported"
            )
