"""Fetching a file from the Hugging Face Hub with its own client, if that is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from ..errors import FetchError
from .cache import copy_hashing, staged_path
from .progress import notify
from .registry import RegistryEntry
from .sources import Delivery, HubSource

_PACKAGE = "huggingface_hub"


def hub_installed() -> bool:
    """Whether the Hub's client can be imported."""
    return _PACKAGE in sys.modules or importlib.util.find_spec(_PACKAGE) is not None


def fetch_hub(source: HubSource, wanted: RegistryEntry, stage: Path) -> list[Delivery]:
    """Download one file; the client shows progress, resumes, and finds the user's token itself.

    Raises FetchError (client not installed, no access, no connection).
    """
    if not hub_installed():
        raise FetchError(f"{source}: not tried; pip install '{_PACKAGE}' to use the Hub")
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - optional dependency

    notify(f"fetching {wanted.name} from {source}")
    try:
        path = Path(hf_hub_download(repo_id=source.repo_id, filename=source.file_name))
        staged = staged_path(wanted, stage)
        with path.open("rb") as stream:
            digest = copy_hashing(stream, staged, wanted.size_bytes)
    except _download_errors() as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FetchError(
            f"{source}: {reason[:300]}; if the repository is gated, accept its conditions on its "
            "page and log in with the Hub's own command"
        ) from error
    return [Delivery(name=wanted.name, staged=staged, sha256=digest, origin=str(source))]


def _download_errors() -> tuple[type[Exception], ...]:
    """What the client may raise: its own errors, and those of the HTTP library beneath it."""
    errors: list[type[Exception]] = [OSError, ValueError]
    for module_name, error_name in (
        ("huggingface_hub.errors", "HfHubHTTPError"),
        ("huggingface_hub.errors", "OfflineModeIsEnabled"),
        ("httpx", "HTTPError"),
    ):
        # Already imported if the client uses it, and of no interest otherwise.
        error = getattr(sys.modules.get(module_name), error_name, None)
        if isinstance(error, type) and issubclass(error, Exception):
            errors.append(error)
    return tuple(errors)
