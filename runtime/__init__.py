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
from .load import load
from .manifest import ArtifactRow, Description, Manifest, TensorSpec
from .session import Session

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
