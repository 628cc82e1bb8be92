"""Where artifacts are looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from .cache import cache_dir
from .errors import ArtifactNotFoundError, VoxportError
from .manifest import MANIFEST_NAME, Manifest

# What else begins as the names of embedding networks do.
_NO_NETWORKS = ("embedding_inputs", "embedding_masks")


def model_folders(
    models: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None
) -> list[Path]:
    """Folders in the order in which they are looked at.

    ``models`` if given, and then nothing else; otherwise ``VOXPORT_MODELS``, ``./models`` and the
    ``models`` folder of the user's cache.
    """
    if models is not None:
        return [Path(models)]
    variable = (os.environ if environ is None else environ).get("VOXPORT_MODELS")
    named = [Path(variable)] if variable else []
    try:
        cached = [cache_dir() / "models"]
    except VoxportError:  # without a home folder there is none to look at
        cached = []
    return [*named, Path("models"), *cached]


def _has_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST_NAME).is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def find_models(models: str | os.PathLike[str] | None = None) -> Path:
    """The first of ``model_folders`` that holds a manifest.

    Raises:
        ArtifactNotFoundError: none does; the message names all of them.
    """
    folders = model_folders(models)
    for folder in folders:
        if _has_manifest(folder):
            return folder
    places = ", ".join(str(folder.absolute()) for folder in folders)
    raise ArtifactNotFoundError(
        f"no {MANIFEST_NAME} in any of: {places}. Run `voxport export` (or `make export`), pass "
        "models=..., or set VOXPORT_MODELS."
    )


def first_embedding(folder: Path) -> str:
    """The name of the first embedding network of a models folder.

    Raises:
        ArtifactNotFoundError: it has none.
        ArtifactError: its manifest is damaged.
    """
    names = sorted({row.name for row in Manifest.read(folder / MANIFEST_NAME).artifacts})
    for name in names:
        if name.startswith("embedding_") and name not in _NO_NETWORKS:
            return name
    raise ArtifactNotFoundError(f"{folder} has no embedding network; there are: {', '.join(names)}")
