"""The one place where this room talks to a waiting user."""

from __future__ import annotations

import sys


def notify(message: str) -> None:
    """Write one line to stderr at once; stdout stays free for results."""
    sys.stderr.write(f"voxport: {message}\n")
    sys.stderr.flush()
