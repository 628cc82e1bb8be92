"""Typed errors: what was wrong, with which file, and what to do about it."""

from __future__ import annotations


class VoxportError(Exception):
    """Base of every error that voxport raises on purpose."""


class ArtifactError(VoxportError):
    """An artifact or manifest is missing, damaged or not what it claims to be."""


class ArtifactNotFoundError(ArtifactError):
    """No artifact of that name and precision in any of the places looked at."""


class InputError(VoxportError, ValueError):
    """Arrays passed to a session do not fit the artifact's declared inputs."""


class AudioError(VoxportError, ValueError):
    """Audio that cannot be used: unreadable, empty, not finite, of the wrong shape."""


class AnnotationError(VoxportError, ValueError):
    """Speaker turns that cannot be used: a time, a label, or a line of an RTTM or UEM file."""


class SpeakerDatabaseError(VoxportError, ValueError):
    """Known speakers that cannot be used: damaged, of another network, or one name twice."""


class ChatError(VoxportError, ValueError):
    """Chat counts that cannot be used: a line of a CSV file, a time, or a count."""


class DeviceError(VoxportError):
    """The requested device cannot be used here."""


class ServerError(DeviceError):
    """An inference server does not answer, refuses, or failed; other devices are not affected."""


class OptionsError(VoxportError, ValueError):
    """Options of a session that are out of range or contradict each other."""


class SessionClosedError(VoxportError):
    """A session was used after it had been closed."""


class OutOfMemoryError(VoxportError):
    """A call does not fit into the device's memory; a smaller batch may."""


class WorkersError(VoxportError):
    """The workers of a corpus are gone, or cannot start; what they finished is kept."""


class CorpusError(VoxportError, ValueError):
    """A corpus that cannot be used: its manifest, a column, a place that cannot be listed."""


class MissingDependencyError(VoxportError):
    """An optional package is needed for this; the message says which and how to install it."""
