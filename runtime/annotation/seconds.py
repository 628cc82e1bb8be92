"""Seconds as text: exact, or as a clock shows them.

A float is written as its shortest decimal (``repr``), and sums and differences of such decimals
are formed exactly, not in binary: 1.44 s and 11.872 s later are 13.312 s to the last bit.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal

# More digits than any sum here has: the shortest decimals of two floats below 1e10 span less than
# 360 digits, and what ``parse_seconds`` lets in (400 characters, exponents of 3 digits) less than
# 2000. Arithmetic in this context is exact, and costs what the digits that are there cost.
_EXACT = Context(prec=2500)
_MAX_CHARACTERS = 400
# ASCII digits only; no "nan", "inf" or "1_000", all of which ``float`` takes. A long exponent
# would make exact sums as long as it says.
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)


def to_decimal(seconds: float) -> Decimal:
    """The shortest decimal that reads as this float."""
    return Decimal(repr(float(seconds)))


def parse_seconds(text: str) -> Decimal | None:
    """A decimal number, as it stands there; None for anything else."""
    if len(text) > _MAX_CHARACTERS or _NUMBER.fullmatch(text) is None:
        return None
    return Decimal(text)


def plus(first: Decimal, second: Decimal) -> Decimal:
    """The exact sum."""
    return _EXACT.add(first, second)


def minus(first: Decimal, second: Decimal) -> Decimal:
    """The exact difference."""
    return _EXACT.subtract(first, second)


def decimal_text(value: Decimal) -> str:
    """All digits, at least three after the point, no exponent: ``1.440``, ``0.0309375``."""
    whole, _, fraction = format(value, "f").partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(3, '0')}"


def to_milliseconds(seconds: float) -> int:
    """Rounded to whole milliseconds."""
    return round(seconds * 1000)


def clock(milliseconds: int, point: str = ".") -> str:
    """``hh:mm:ss.mmm``; hours take the digits that they need."""
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"
