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
    ChatError,
    CorpusError,
    DeviceError,
    InputError,
    MissingDependencyError,
    OptionsError,
    OutOfMemoryError,
    ServerError,
    SessionClosedError,
    SpeakerDatabaseError,
    VoxportError,
    WorkersError,
)
from .loading import load
from .manifest import ArtifactRow, Description, Manifest, TensorSpec
from .options import Options
from .session import Session
from .tuning import Tuning, tune
from .windows import AudioWindows, WindowBlock, WindowPlan

if TYPE_CHECKING:
    from .annotation.turns import Turns
    from .detection import DetectionResult, SpeechDetector
    from .diarization import DiarizationResult, Diarizer, Settings
    from .highlights import Highlighter, HighlightResult, HighlightStream
    from .mel import MelMatrix, MelResult
    from .profiling import Profiler
    from .speakers import (
        Embeddings,
        Identification,
        SpeakerDatabase,
        SpeakerEmbedder,
        SpeakerIdentifier,
    )
    from .stages import Turn
    from .streaming import StreamingDiarizer, StreamingSettings, StreamingUpdate

__all__ = [
    "ArtifactError",
    "ArtifactNotFoundError",
    "ArtifactRow",
    "AudioError",
    "AudioWindows",
    "ChatError",
    "CorpusError",
    "Description",
    "DetectionResult",
    "DeviceError",
    "DevicePlan",
    "DeviceStatus",
    "DiarizationResult",
    "Diarizer",
    "Embeddings",
    "HighlightResult",
    "HighlightStream",
    "Highlighter",
    "Identification",
    "InputError",
    "Manifest",
    "MelMatrix",
    "MelResult",
    "MissingDependencyError",
    "Options",
    "OptionsError",
    "OutOfMemoryError",
    "Profiler",
    "ServerError",
    "Session",
    "SessionClosedError",
    "Settings",
    "SpeakerDatabase",
    "SpeakerDatabaseError",
    "SpeakerEmbedder",
    "SpeakerIdentifier",
    "SpeechDetector",
    "StreamingDiarizer",
    "StreamingSettings",
    "StreamingUpdate",
    "TensorSpec",
    "Tuning",
    "Turn",
    "Turns",
    "VoxportError",
    "WindowBlock",
    "WindowPlan",
    "WorkersError",
    "detect_available_devices",
    "load",
    "log_device_info",
    "plan_device",
    "read_audio",
    "tune",
]


_SPEAKERS = frozenset(
    ("Embeddings", "Identification", "SpeakerDatabase", "SpeakerEmbedder", "SpeakerIdentifier")
)


def __getattr__(name: str) -> Any:
    """Imported when they are asked for: they bring SciPy, which takes longer than all the rest."""
    if name in ("DiarizationResult", "Diarizer", "Settings"):
        from . import diarization as module  # noqa: PLC0415
    elif name in ("DetectionResult", "SpeechDetector"):
        from . import detection as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name in _SPEAKERS:
        from . import speakers as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name in ("StreamingDiarizer", "StreamingSettings", "StreamingUpdate"):
        from . import streaming as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name in ("HighlightResult", "HighlightStream", "Highlighter"):
        from . import highlights as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name in ("MelMatrix", "MelResult"):
        from . import mel as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name == "Profiler":
        from . import profiling as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name == "Turn":
        from . import stages as module  # type: ignore[no-redef] # noqa: PLC0415
    elif name == "Turns":
        from .annotation import turns as module  # type: ignore[no-redef] # noqa: PLC0415
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)
