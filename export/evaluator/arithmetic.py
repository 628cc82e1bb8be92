"""The two arithmetics of a run, and how values are held in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .types import DTYPES, Array

Mode = Literal["exact", "stored"]


@dataclass(frozen=True)
class Arithmetic:
    """How floats are held.

    exact: float64 throughout, nothing is rounded; shows whether a program has the right structure.
    stored: float32 inside an op, and every result is rounded to the type that it is declared in;
    shows what a precision costs. (Apple's devices may also round inside an op, or not at all.)
    Integers are held as int64 in both, so that no intermediate value wraps around.
    """

    floats: torch.dtype
    is_rounding: bool

    def hold(self, array: Array, dtype: str) -> Tensor:
        """An array of the element type ``dtype``."""
        kind = DTYPES[dtype].kind
        if kind == "float":
            # Copies: arrays may be read-only, and belong to others. NaN of any kind is a value.
            with np.errstate(invalid="ignore"):
                return self.rounded(torch.from_numpy(array.astype(np.float64)), dtype)
        return torch.from_numpy(array.astype(np.bool_ if kind == "bool" else np.int64))

    def rounded(self, values: Tensor, dtype: str) -> Tensor:
        """Floats as the type ``dtype`` holds them."""
        if self.is_rounding and dtype == "fp16":
            values = values.to(torch.float16)
        return values.to(self.floats)

    def released(self, values: Tensor, dtype: str) -> Array:
        """An array for the caller: float64 if exact, else of the declared type."""
        array: Array = values.numpy()
        if DTYPES[dtype].kind == "float" and not self.is_rounding:
            return array.astype(np.float64)
        return array.astype(DTYPES[dtype].numpy)


ARITHMETICS: dict[Mode, Arithmetic] = {
    "exact": Arithmetic(torch.float64, is_rounding=False),
    "stored": Arithmetic(torch.float32, is_rounding=True),
}
