"""Per artifact: the original implementation in textbook form, run on a case's inputs.

``__call__`` gives what the original computes, in float64. ``given`` gives what is expected of
later outputs once earlier ones are known: a precision that flips a frame of a mask must still
compute the embedding of the mask that it shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .. import reference
from ..networks import fbank_config

if TYPE_CHECKING:
    from ...graphs import FbankConfig
    from ..networks import Networks

Arrays = dict[str, npt.NDArray[Any]]


class Reference(Protocol):
    """What verification compares with."""

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        """The outputs of the original implementation."""

    def given(self, module: nn.Module, inputs: Arrays, observed: Arrays) -> Arrays:
        """Outputs that follow from other observed outputs, overriding the module's own."""


class Independent:
    """Outputs do not depend on one another."""

    def given(self, module: nn.Module, inputs: Arrays, observed: Arrays) -> Arrays:  # noqa: ARG002
        return {}


def _log_probs(networks: Networks, inputs: Arrays) -> npt.NDArray[np.float64]:
    checkpoint = networks.segmentation
    log_probs = reference.segmentation_log_probs(
        checkpoint.state,
        torch.from_numpy(inputs["waveform"]).double(),
        sinc_stride=checkpoint.config.sinc_stride,
        sample_rate_hz=checkpoint.config.sample_rate_hz,
    )
    values: npt.NDArray[np.float64] = log_probs.numpy()
    return values


def _decode(networks: Networks, log_probs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    config = networks.segmentation.config.powerset
    return reference.powerset_masks(log_probs, config.classes, config.num_speakers)


@dataclass(frozen=True)
class Segmentation(Independent):
    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        return {"log_probs": _log_probs(networks, inputs)}


@dataclass(frozen=True)
class SegmentationMasks:
    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        log_probs = _log_probs(networks, inputs)
        return {"log_probs": log_probs, "masks": _decode(networks, log_probs)}

    def given(self, module: nn.Module, inputs: Arrays, observed: Arrays) -> Arrays:  # noqa: ARG002
        """The masks of the log-probabilities that are shown beside them."""
        log_probs = torch.from_numpy(observed["log_probs"])
        return {"masks": module.get_submodule("powerset")(log_probs).numpy()}


@dataclass(frozen=True)
class SegmentationWindows(SegmentationMasks):
    """Every window for itself."""

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        length = networks.segmentation.config.window_samples
        samples = inputs["waveform"][0, 0]
        windows = np.stack([samples[start : start + length] for start in inputs["starts"]])
        return super().__call__(networks, {"waveform": windows[:, None]})


@dataclass(frozen=True)
class PowersetMasks(Independent):
    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        return {"masks": _decode(networks, inputs["log_probs"])}


@dataclass(frozen=True)
class Fbank(Independent):
    config: FbankConfig

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:  # noqa: ARG002
        return {"features": _features(inputs, self.config)}


def _features(inputs: Arrays, config: FbankConfig) -> npt.NDArray[np.float64]:
    return np.stack([reference.kaldi_fbank(window[0], config) for window in inputs["waveform"]])


def _embeddings(
    networks: Networks, family: str, inputs: Arrays, masks: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    state = networks.embedding(family).state
    features = torch.from_numpy(_features(inputs, fbank_config(networks, family)))
    centred = features - features.mean(dim=1, keepdim=True)
    frames_of, head_of = {
        "campplus": (reference.campplus_frames, reference.campplus_head),
        "wespeaker": (reference.resnet_frames, reference.resnet_head),
    }[family]
    frames = frames_of(state, centred)

    def head(statistics: Tensor) -> Tensor:
        return head_of(state, statistics)

    speakers = torch.from_numpy(np.ascontiguousarray(masks)).double()
    values: npt.NDArray[np.float64]
    values = reference.embeddings_per_speaker(frames, speakers, head).numpy()
    return values


@dataclass(frozen=True)
class Embedding(Independent):
    family: str

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        return {"embeddings": _embeddings(networks, self.family, inputs, inputs["masks"])}


@dataclass(frozen=True)
class EmbeddingInputs(Independent):
    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:  # noqa: ARG002
        clean = reference.clean_masks(inputs["masks"])
        num_speakers = clean.shape[2]
        return {
            "waveforms": np.repeat(inputs["waveform"][:, 0], num_speakers, axis=0),
            "clean_masks": np.concatenate([window.T for window in clean]),
        }


@dataclass(frozen=True)
class EmbeddingMasks(Independent):
    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        num_samples = networks.segmentation.config.window_samples
        return {"embedding_masks": reference.embedding_masks(inputs["masks"], num_samples)}


@dataclass(frozen=True)
class CosineDistance(Independent):
    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:  # noqa: ARG002
        return {"distances": reference.cosine_distance(inputs["embeddings"], inputs["database"])}


@dataclass(frozen=True)
class PostEmbedding(Independent):
    step_s: float
    activity_threshold_frames: float
    min_duration_s: float

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:  # noqa: ARG002
        segments = inputs["segments"]
        activity = segments[0].sum(axis=0, dtype=np.float64)
        valid = (activity > self.activity_threshold_frames).astype(np.float64)
        kept = reference.long_segments(segments, self.min_duration_s, self.step_s)
        return {
            "distances": reference.cosine_distance(inputs["embeddings"], inputs["database"]),
            "activity": activity,
            "valid": valid,
            "filtered_segments": kept * valid,
        }


@dataclass(frozen=True)
class DiarizationWindow:
    family: str

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        masks = _decode(networks, _log_probs(networks, inputs))
        num_samples = inputs["waveform"].shape[-1]
        weights = reference.embedding_masks(masks, num_samples)
        return {
            "masks": masks,
            "clean_masks": reference.clean_masks(masks),
            "embeddings": _embeddings(networks, self.family, inputs, weights),
        }

    def given(self, module: nn.Module, inputs: Arrays, observed: Arrays) -> Arrays:
        """Clean masks and embeddings of the masks that are shown beside them."""
        masks, waveform = observed["masks"], inputs["waveform"]
        weights = reference.embedding_masks(masks, waveform.shape[-1]).astype(waveform.dtype)
        embed = module.get_submodule("embedding")
        embeddings = embed(torch.from_numpy(waveform), torch.from_numpy(weights))
        return {
            "clean_masks": reference.clean_masks(masks).astype(np.float32),
            "embeddings": embeddings.numpy(),
        }
