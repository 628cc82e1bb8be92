"""Arguments that `voxport profile` and `voxport bench` share."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError, VoxportError

STDOUT = "-"


def listed(text: str, what: str) -> list[str]:
    """What is given by commas; ``what`` names the argument in errors.

    Raises:
        InputError: nothing is.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise InputError(f"{what} names nothing: {text!r}")
    return entries


def listed_devices(text: str, what: str) -> list[str]:
    """Devices by commas, which may have commas themselves: a number goes with the one before it.

    ``"cpu,cuda:0,1"`` is the CPU, and two cards behind one interface.

    Raises:
        InputError: there is none.
    """
    devices: list[str] = []
    for entry in listed(text, what):
        if entry.isdecimal() and devices and ":" in devices[-1]:
            devices[-1] += f",{entry}"
        else:
            devices.append(entry)
    return devices


def write_text(path: Path, text: str) -> None:
    """Raises VoxportError if the file cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise VoxportError(f"{path}: cannot be written: {error}") from error
