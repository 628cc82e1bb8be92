"""Where voxport keeps what it downloads or builds for this user."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .errors import VoxportError


def cache_dir() -> Path:
    """The user's cache folder, which need not exist yet.

    ``VOXPORT_CACHE`` wins; otherwise the platform's convention: ``$XDG_CACHE_HOME/voxport`` or
    ``~/.cache/voxport``, ``~/Library/Caches/voxport`` on macOS, ``%LOCALAPPDATA%\\voxport\\Cache``
    on Windows.

    Raises:
        VoxportError: the user has no home folder and ``VOXPORT_CACHE`` is not set.
    """
    chosen = os.environ.get("VOXPORT_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    try:
        return _platform_cache(sys.platform)
    except RuntimeError as error:
        raise VoxportError(f"no folder for voxport's cache: {error}; set VOXPORT_CACHE") from error


def _platform_cache(platform: str) -> Path:
    if platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
        return base / "voxport" / "Cache"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "voxport"
    xdg = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification asks to ignore a relative path.
    base = Path(xdg) if xdg and Path(xdg).is_absolute() else Path.home() / ".cache"
    return base / "voxport"
