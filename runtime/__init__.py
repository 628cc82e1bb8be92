"""Run verified artifacts on numpy arrays. Never imports torch."""

from .audio import read_audio
from .devices import (
    DevicePlan,
    DeviceStatus,
    detect_available_devices,
    log_device_info,
    plan_device,
)
from .errors import (
    ArtifactError,
    ArtifactNotFoundError,
    AudioError,
    DeviceError,
    InputError,
    MissingDependencyError,
    OptionsError,
    OutOfMemoryError,
    SessionClosedError,
    VoxportError,
)
from .loading import load
from .manifest import ArtifactRow, Description, Manifest, TensorSpec
from .options import Options
from .session import Session
from .tuning import Tuning, tune
from .windows import AudioWindows, WindowBlock, WindowPlan

__all__ = [
    "ArtifactError",
    "ArtifactNotFoundError",
    "ArtifactRow",
    "AudioError",
    "AudioWindows",
    "Description",
    "DeviceError",
    "DevicePlan",
    "DeviceStatus",
    "InputError",
    "Manifest",
    "MissingDependencyError",
    "Options",
    "OptionsError",
    "OutOfMemoryError",
    "Session",
    "SessionClosedError",
    "TensorSpec",
    "Tuning",
    "VoxportError",
    "WindowBlock",
    "WindowPlan",
    "detect_available_devices",
    "load",
    "log_device_info",
    "plan_device",
    "read_audio",
    "tune",
]
