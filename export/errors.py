"""Typed errors of the export side."""

from __future__ import annotations

from ..runtime.errors import VoxportError


class CheckpointError(VoxportError):
    """A checkpoint that cannot be used. The message names the file and the reason."""


class CheckpointNotFoundError(CheckpointError):
    """No source could deliver the checkpoint."""


class FetchError(CheckpointError):
    """A source was tried and failed."""


class HashMismatchError(CheckpointError):
    """The bytes are not those that were published."""


class CorruptCheckpointError(CheckpointError):
    """The file is truncated or not a checkpoint at all."""


class UnsafeCheckpointError(CheckpointError):
    """The file asks for code to be run while it is loaded."""


class UnsupportedArchitectureError(CheckpointError):
    """The checkpoint is of a network that voxport does not export."""


class TensorError(CheckpointError):
    """The tensors are not those of the architecture."""


class MissingTensorError(TensorError):
    """A tensor that the architecture needs is not in the file."""


class UnexpectedTensorError(TensorError):
    """A tensor is in the file that the architecture does not have."""


class TensorShapeError(TensorError):
    """A tensor has the wrong shape or dtype."""


class ExportError(VoxportError):
    """A graph could not be produced."""


class GateError(VoxportError):
    """An artifact failed verification; nothing was published."""
