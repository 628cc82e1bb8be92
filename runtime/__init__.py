"""Run verified artifacts on numpy arrays, and audio to speaker turns. Never imports torch."""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from .annotation.turns import Turns
    from .diarization import DiarizationResult, Diarizer, Settings
    from .profiling import Profiler
    from .stages import Turn

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
    "DiarizationResult",
    "Diarizer",
    "InputError",
    "Manifest",
    "MissingDependencyError",
    "Options",
    "OptionsError",
    "OutOfMemoryError",
    "Profiler",
    "Session",
    "SessionClosedError",
    "Settings",
    "TensorSpec",
    "Tuning",
    "Turn",
    "Turns",
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


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: they bring SciPy, which takes longer than all the rest."""
    if name in ("DiarizationResult", "Diarizer", "Settings"):
        from . import diarization as module  # noqa: PLC0415
    elif name == "Profiler":
        from . import profiling as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name == "Turn":
        from . import stages as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name == "Turns":
        from .annotation import turns as module  # type: ignore[no-redef] # noqa: PLC0415
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)
