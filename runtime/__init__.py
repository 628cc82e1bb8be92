"""Run verified artifacts on numpy arrays. Never imports torch."""

from .audio import read_audio
from .errors import (
    ArtifactError,
    ArtifactNotFoundError,
    AudioError,
    DeviceError,
    InputError,
    MissingDependencyError,
    VoxportError,
)
from .manifest import ArtifactRow, Description, Manifest, TensorSpec
from .session import Session, load

__all__ = [
    "ArtifactError",
    "ArtifactNotFoundError",
    "ArtifactRow",
    "AudioError",
    "Description",
    "DeviceError",
    "InputError",
    "Manifest",
    "MissingDependencyError",
    "Session",
    "TensorSpec",
    "VoxportError",
    "load",
    "read_audio",
]
