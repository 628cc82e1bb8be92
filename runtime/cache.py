"""Where voxport keeps what it downloads or builds for this user."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """The user's cache folder, which need not exist yet.

    ``VOXPORT_CACHE`` wins; otherwise the platform's convention: ``$XDG_CACHE_HOME/voxport`` or
    ``~/.cache/voxport``, ``~/Library/Caches/voxport`` on macOS, ``%LOCALAPPDATA%\\voxport\\Cache``
    on Windows.
    """
    chosen = os.environ.get("VOXPORT_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return _platform_cache(sys.platform)


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
