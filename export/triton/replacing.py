"""A folder is replaced whole: made beside its place, checked there, and moved by renames."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ...runtime.errors import VoxportError
from ...runtime.manifest import MANIFEST_NAME, Manifest
from ...runtime.serving.names import model_name
from ..errors import ExportError
from ..publishing import flush
from .ensemble import ENSEMBLE

_PRECISIONS = ("fp32", "fp16", "int8")


def check_replaceable(target: Path) -> None:
    """Refuse to replace anything but a repository that voxport wrote, or an empty folder.

    Raises:
        ExportError: ``target`` is something else, and what is in it.
    """
    if not target.exists():
        return
    strangers = _strangers(target)
    if strangers:
        shown = ", ".join(sorted(strangers)[:3])
        raise ExportError(
            f"{target}: is no Triton repository of voxport's, it has {shown}: name a new folder"
        )


def _strangers(folder: Path) -> list[str]:
    """What a repository does not hold."""
    if not folder.is_dir():
        return ["no folder"]
    found = {path.name for path in folder.iterdir()}
    try:
        rows = Manifest.read(folder / MANIFEST_NAME).artifacts
    except VoxportError:
        return sorted(found)
    ours = {model_name(row.name, row.precision) for row in rows}
    ensembles = {model_name(ENSEMBLE, precision) for precision in _PRECISIONS}
    return sorted(found - ours - ensembles - {MANIFEST_NAME})


@contextmanager
def replacing(target: Path, log: Callable[[str], None]) -> Iterator[Path]:
    """An empty folder that takes the place of ``target`` if all goes well, and is gone if not.

    Two runs on one folder take turns. What a run that died between the renames left is put right.

    Raises:
        ExportError: ``target`` is none to replace, or cannot be written; it is as it was.
    """
    stage = target.with_name(f".{target.name}.staging")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target, log):
            _recover(target)
            check_replaceable(target)
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir()
            try:
                yield stage
                for path in stage.rglob("*"):
                    flush(path)
                _swap(stage, target)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"{target}: cannot be written: {error}") from error


@contextmanager
def _locked(target: Path, log: Callable[[str], None]) -> Iterator[None]:
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log(f"{target}: waiting for another export to finish")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _recover(target: Path) -> None:
    """A run that died while renaming: the old repository is put back, or is no longer needed."""
    previous = _previous(target)
    if not previous.exists():
        return
    check_replaceable(previous)
    if target.exists():
        shutil.rmtree(previous)
    else:
        previous.rename(target)


def _swap(stage: Path, target: Path) -> None:
    """A folder with something in it cannot be replaced by one rename."""
    previous = _previous(target)
    if target.exists():
        target.rename(previous)
    try:
        stage.rename(target)
    except OSError:
        if previous.exists():
            previous.rename(target)
        raise
    shutil.rmtree(previous, ignore_errors=True)
