"""What ``voxport doctor`` checks: each check is a finding with a remedy, none raises."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import soundfile

from .availability import (
    COREML,
    CPU,
    CPU_PROVIDER,
    CUDA,
    CUDA_PROVIDER,
    device_status,
    reinstall_remedy,
)
from .environment import Environment, installed
from .errors import ArtifactError, ArtifactNotFoundError
from .locate import find_models, model_folders
from .manifest import MANIFEST_NAME, ArtifactRow, Manifest
from .package import package_sha256

Outcome = Literal["ok", "warning", "problem"]
_AUDIO_FORMATS = ("WAV", "FLAC", "OGG", "MP3")


@dataclass(frozen=True)
class Check:
    """A finding. ``warning``: something is missing that not everybody needs; ``problem``: it
    does not work, or not as meant. ``remedy`` is what to do about it, "" if nothing."""

    name: str
    status: Outcome
    detail: str
    remedy: str = ""


def all_checks(environment: Environment, models: str | os.PathLike[str] | None) -> list[Check]:
    """Every check, in the order in which to read them; ``models`` as for ``find_models``."""
    return [
        check_platform(environment),
        *check_versions(),
        check_onnxruntime(environment),
        check_providers(environment),
        *check_cuda(environment),
        *check_coreml(environment),
        *check_audio(),
        *check_artifacts(models),
    ]


def check_platform(environment: Environment) -> Check:
    system = f"macOS {environment.macos_version}" if environment.macos_version else None
    python = f"Python {platform.python_version()} ({sys.executable or 'embedded'})"
    return Check(
        "platform", "ok", f"{python}, {system or environment.system}, {environment.machine}"
    )


def check_versions() -> Iterator[Check]:
    """The packages that the runtime is made of."""
    for name in ("voxport", "numpy", "scipy"):
        version = installed(name)
        if version is None:
            yield Check(name, "problem", "pip knows no such package", f"pip install {name}")
        else:
            yield Check(name, "ok", version)


def check_onnxruntime(environment: Environment) -> Check:
    """Exactly one distribution, which can be imported."""
    runtime = environment.onnxruntime
    names = ", ".join(f"{name} {version}" for name, version in runtime.distributions)
    remedy = reinstall_remedy(environment)
    if len(runtime.distributions) > 1:
        detail = f"{names} are installed together and overwrite each other's files: keep one"
        return Check("onnxruntime", "problem", detail, remedy)
    if runtime.version is not None:
        module = f"module {runtime.version}"
        built = f", built for CUDA {runtime.cuda_version}" if runtime.cuda_version else ""
        return Check("onnxruntime", "ok", f"{names or 'not from pip'} ({module}{built})")
    if not names:
        return Check("onnxruntime", "problem", "not installed", remedy)
    return Check("onnxruntime", "problem", f"{names} cannot be imported: {runtime.problem}", remedy)


def check_providers(environment: Environment) -> Check:
    providers = environment.onnxruntime.providers
    if CPU_PROVIDER in providers:
        return Check("providers", "ok", ", ".join(providers))
    status = device_status(CPU, 0, environment)
    if not status.usable:
        return Check("providers", "problem", status.reason, status.remedy)
    detail = f"{', '.join(providers) or 'none'}: no {CPU_PROVIDER}"
    return Check("providers", "problem", detail, reinstall_remedy(environment))


def check_cuda(environment: Environment) -> Iterator[Check]:
    """One check for each card; none where there is no card."""
    for card in environment.cuda.cards:
        status = device_status(CUDA, card.index, environment)
        if status.usable:
            yield Check("cuda", "ok", f"{card}; {status.reason}")
            continue
        # Whoever chose the build for the CPU may have meant it.
        meant = CUDA_PROVIDER not in environment.onnxruntime.providers
        outcome: Outcome = "warning" if meant else "problem"
        yield Check("cuda", outcome, f"{card}; {status.reason}", status.remedy)


def check_coreml(environment: Environment) -> Iterator[Check]:
    if environment.system != "Darwin":
        return
    status = device_status(COREML, 0, environment)
    yield Check("coreml", "ok" if status.usable else "warning", status.reason, status.remedy)


def check_audio() -> Iterator[Check]:
    formats = soundfile.available_formats()
    missing = [name for name in _AUDIO_FORMATS if name not in formats]
    library = f"soundfile {soundfile.__version__}, libsndfile {soundfile.__libsndfile_version__}"
    if missing:
        detail = f"{library}: cannot read {', '.join(missing)}"
        yield Check("audio files", "warning", detail, "pip install --upgrade soundfile")
    else:
        yield Check("audio files", "ok", f"{library}: {', '.join(_AUDIO_FORMATS)}")
    soxr = installed("soxr")
    if soxr is None:
        yield Check("resampling", "problem", "pip knows no soxr", "pip install soxr")
    else:
        yield Check("resampling", "ok", f"soxr {soxr}")
    pyav = installed("av")
    yield Check(
        "media files", "ok", f"PyAV {pyav}" if pyav else "no PyAV (optional: m4a, mp4, mkv)"
    )


def check_artifacts(models: str | os.PathLike[str] | None) -> Iterator[Check]:
    """Every file of the models folder: there, and as it was verified."""
    name = "artifacts"
    try:
        folder = find_models(models)
        rows = Manifest.read(folder / MANIFEST_NAME).artifacts
    except ArtifactNotFoundError:
        places = ", ".join(str(folder.absolute()) for folder in model_folders(models))
        yield Check(name, "warning", f"no {MANIFEST_NAME} in any of: {places}", "voxport export")
        return
    except ArtifactError as error:
        yield Check(name, "problem", str(error), "voxport export")
        return
    flaws = {row.path: flaw for row in rows if (flaw := _flaw(folder, row))}
    for path, flaw in flaws.items():
        yield Check(name, "problem", f"{folder / path}: {flaw}", "voxport export")
    if not rows:
        yield Check(name, "warning", f"{folder}: its manifest lists no artifact", "voxport export")
    elif not flaws:
        yield Check(name, "ok", f"{folder}: {len(rows)} as they were verified")


def _flaw(folder: Path, row: ArtifactRow) -> str | None:
    """What is wrong with an artifact's file or folder; None if nothing."""
    path = folder / row.path
    try:
        if not path.exists():
            return "is missing"
        found = _sha256(path) if row.format == "onnx" else package_sha256(path)
    except OSError as error:
        return f"cannot be read: {error}"
    if found != row.sha256:
        return f"SHA-256 is {found}, but {row.sha256} was verified"
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
