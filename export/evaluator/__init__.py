"""Executes stored Core ML programs on any machine, so that conversions are proven without a Mac.

Readers (``package``, ``mil_text``) turn a file into one representation (``types``), weights come
from ``weights``, what an op computes is in ``kernels``, and ``executor`` runs a function while it
checks every result against its declaration. What it cannot show is Apple's own arithmetic, where
a program runs there, and how fast.
"""

from .arithmetic import Mode
from .errors import (
    EvaluatorError,
    OpFailedError,
    ProgramFormatError,
    ResultMismatchError,
    UnknownOpError,
    UnsupportedOpError,
    WeightFileError,
)
from .program import Program, evaluate, load_program

__all__ = [
    "EvaluatorError",
    "Mode",
    "OpFailedError",
    "Program",
    "ProgramFormatError",
    "ResultMismatchError",
    "UnknownOpError",
    "UnsupportedOpError",
    "WeightFileError",
    "evaluate",
    "load_program",
]
