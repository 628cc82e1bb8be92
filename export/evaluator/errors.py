"""Typed errors of the evaluator: which file, which op, which output."""

from __future__ import annotations

from ...runtime.errors import ArtifactError


class EvaluatorError(ArtifactError):
    """A stored Core ML program cannot be executed."""


class ProgramFormatError(EvaluatorError):
    """The program is damaged, or not an ML Program at all."""


class WeightFileError(EvaluatorError):
    """A weight file is missing or damaged, or does not hold what the program says."""


class UnknownOpError(EvaluatorError):
    """The program has an op for which there is no kernel."""


class UnsupportedOpError(EvaluatorError):
    """The op is known, but not with these inputs or options."""


class OpFailedError(EvaluatorError):
    """The inputs of an op do not fit together."""


class ResultMismatchError(EvaluatorError):
    """The result of an op has not the shape or type that the program declares."""
