"""What every op computes, one function per op, grouped by theme.

Semantics follow Apple's MIL specification (coremltools' op definitions). Integers are held as
int64 and floats in the arithmetic of the run, so kernels never round: the executor does.
"""

from . import (
    activation,
    compressed,
    elementwise,
    linear,
    normalisation,
    pooling,
    recurrent,
    reduction,
    selection,
    shape,
)
from .registry import KERNELS, Kernel

__all__ = [
    "KERNELS",
    "Kernel",
    "activation",
    "compressed",
    "elementwise",
    "linear",
    "normalisation",
    "pooling",
    "recurrent",
    "reduction",
    "selection",
    "shape",
]
