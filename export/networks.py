"""The networks of one export: checkpoints, and the torch modules made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from ..graphs import (
    CAMPPLUS_FBANK,
    WESPEAKER_FBANK,
    CamPlusPlusConfig,
    CamPlusPlusTrunk,
    DiarizationWindow,
    FbankConfig,
    ResNetConfig,
    ResNetTrunk,
    Segmentation,
    SegmentationMasks,
    SpeakerEmbedding,
)
from .checkpoints import (
    EmbeddingCheckpoint,
    Provenance,
    SegmentationCheckpoint,
    VggishCheckpoint,
)
from .errors import ExportError

SAMPLE_RATE_HZ = 16000
_FBANKS: Mapping[str, FbankConfig] = {"campplus": CAMPPLUS_FBANK, "wespeaker": WESPEAKER_FBANK}

FAMILIES = tuple(_FBANKS)


@dataclass(frozen=True)
class Networks:
    """A segmentation network and one or more embedding networks; the first one is primary.

    ``vggish`` is None where no checkpoint of it was given: there is none to fetch.
    """

    segmentation: SegmentationCheckpoint
    embeddings: tuple[EmbeddingCheckpoint, ...]
    vggish: VggishCheckpoint | None = None

    def __post_init__(self) -> None:
        rate_hz = self.segmentation.config.sample_rate_hz
        if rate_hz != SAMPLE_RATE_HZ:
            raise ExportError(
                f"{self.segmentation.provenance.name} works at {rate_hz} Hz; voxport exports and "
                f"verifies networks at {SAMPLE_RATE_HZ} Hz"
            )

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(checkpoint.family for checkpoint in self.embeddings)

    @property
    def primary_family(self) -> str:
        return self.families[0]

    def embedding(self, family: str) -> EmbeddingCheckpoint:
        """The embedding checkpoint of a family.

        Raises:
            ExportError: this export has none of that family.
        """
        for checkpoint in self.embeddings:
            if checkpoint.family == family:
                return checkpoint
        raise ExportError(f"this export has no {family} checkpoint; it has {self.families}")

    def required_vggish(self) -> VggishCheckpoint:
        """The VGGish checkpoint.

        Raises:
            ExportError: this export has none.
        """
        if self.vggish is None:
            raise ExportError("this export has no VGGish checkpoint: give --vggish-checkpoint FILE")
        return self.vggish

    def provenance(self, network: str) -> Provenance:
        """Where the weights of ``segmentation``, ``vggish`` or an embedding family came from.

        ``vggish_pca`` is the PCA beside the network, which may be a file of its own.
        """
        if network in ("vggish", "vggish_pca"):
            vggish = self.required_vggish()
            return (
                (vggish.pca or vggish.provenance) if network == "vggish_pca" else vggish.provenance
            )
        checkpoint: Any = (
            self.segmentation if network == "segmentation" else self.embedding(network)
        )
        provenance: Provenance = checkpoint.provenance
        return provenance


def segmentation_module(networks: Networks) -> Segmentation:
    checkpoint = networks.segmentation
    return Segmentation(checkpoint.config).load_original(checkpoint.state)


def fbank_config(networks: Networks, family: str) -> FbankConfig:
    """The features of a family, with as many mel bins as its checkpoint takes."""
    features = _FBANKS[family]
    if family not in networks.families:
        return features
    return replace(features, num_mel_bins=networks.embedding(family).config.feature_size)


def _trunk(checkpoint: EmbeddingCheckpoint) -> CamPlusPlusTrunk | ResNetTrunk:
    if isinstance(checkpoint.config, CamPlusPlusConfig):
        return CamPlusPlusTrunk(checkpoint.config).load_original(checkpoint.state)
    if isinstance(checkpoint.config, ResNetConfig):
        return ResNetTrunk(checkpoint.config).load_original(checkpoint.state)
    raise ExportError(f"no trunk for {checkpoint.config!r}")


def embedding_module(networks: Networks, family: str) -> SpeakerEmbedding:
    return SpeakerEmbedding(fbank_config(networks, family), _trunk(networks.embedding(family)))


def diarization_window_module(networks: Networks) -> DiarizationWindow:
    segmentation = SegmentationMasks(segmentation_module(networks))
    return DiarizationWindow(segmentation, embedding_module(networks, networks.primary_family))


def evaluation_mode(build: Callable[[Networks], nn.Module], networks: Networks) -> nn.Module:
    """The module of a spec, ready for tracing: evaluation mode, no gradients."""
    module: nn.Module = build(networks)
    return module.eval().requires_grad_(False)
