"""Find an artifact, check that it is the verified one, and open a session on it."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from pathlib import Path

from .coreml_session import CoreMLSession, apple_silicon, require_macos
from .errors import ArtifactError, ArtifactNotFoundError, DeviceError, MissingDependencyError
from .locate import find_models
from .manifest import MANIFEST_NAME, ArtifactRow, Manifest
from .onnx_session import OnnxSession
from .options import ComputeUnits
from .package import package_sha256
from .probe import check_probe
from .session import Session

_DEVICES = ("auto", "cpu", "coreml")
_LOG = logging.getLogger("voxport")


def load(  # noqa: PLR0913 -- one keyword for each choice
    name: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    models: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    fallback: bool = False,
    compute_units: ComputeUnits = "all",
) -> Session:
    """Load an artifact by name from a models folder, or a file or package by path.

    A session on Core ML has answered the question that the manifest holds for it (see
    ``voxport.runtime.probe``), which has warmed it up as well. What is loaded by its path has
    no manifest: neither its bytes nor its answers are checked.

    Args:
        name: an artifact's name, e.g. ``"segmentation_masks"``, or a path ending in ``.onnx``
            (runs on the CPU) or ``.mlpackage`` (runs on Core ML).
        device: ``"cpu"``, ``"coreml"`` (macOS), or ``"auto"``: Core ML on a Mac with Apple
            silicon if coremltools is installed, the folder has a package and it gives the right
            answers; else the CPU. A warning of the logger ``voxport`` tells why not Core ML.
        precision: ``"fp32"``, ``"fp16"``, ``"int8"`` (``"w8"`` for packages). ``"auto"`` is
            FP32 on the CPU, where FP16 has no kernels of its own, FP16 on Core ML where there is
            such a package, and whatever a file holds that is given by its path.
        models: folder to look in; see ``model_folders`` for the default places.
        threads: threads within an operator on the CPU; ONNX Runtime's default if None.
        fallback: what to do if ``device="coreml"`` cannot be had or gives wrong answers: load
            the artifact on the CPU, in its default precision, and log a warning; or raise. The
            session's ``device`` tells which it was.
        compute_units: what Core ML may use: ``"all"``, ``"cpu_only"``, ``"cpu_and_gpu"`` or
            ``"cpu_and_ne"`` (the Neural Engine).

    Raises:
        ArtifactNotFoundError: no such artifact; the message names the places looked at.
        ArtifactError: the file is damaged, not the one that was verified, or not what the
            manifest or the caller says it is.
        DeviceError: the device cannot be used here, or gives wrong answers.
        MissingDependencyError: ONNX Runtime or coremltools is not installed.
    """
    if device not in _DEVICES:
        raise DeviceError(f"device must be one of {_DEVICES}, got {device!r}")
    if str(name).endswith((".onnx", ".mlpackage")):
        return _load_path(Path(name), device, precision, threads, compute_units)
    if device == "coreml" and not fallback:
        # Before anything that another machine could do something about.
        require_macos()
    folder = find_models(models)
    manifest = Manifest.read(folder / MANIFEST_NAME)
    if device == "coreml" or (device == "auto" and _prefers_coreml(manifest, str(name), precision)):
        try:
            return _load_coreml(folder, _coreml_row(manifest, str(name), precision), compute_units)
        except (DeviceError, MissingDependencyError) as error:
            if device == "coreml" and not fallback:
                raise
            _LOG.warning("%s runs on the CPU instead of Core ML: %s", name, error)
            precision = "auto"
    wanted = "fp32" if precision == "auto" else precision
    return _load_onnx(folder, manifest.find(str(name), wanted), threads)


def open_package(
    folder: Path, row: ArtifactRow, compute_units: ComputeUnits = "all"
) -> CoreMLSession:
    """A session on the package of a row, its bytes checked, its answers not.

    Raises:
        ArtifactNotFoundError: there is no such package.
        ArtifactError: it is not the one that was verified, or not what the row describes.
        DeviceError, MissingDependencyError: see ``CoreMLSession``.
    """
    require_macos()
    path = folder / row.path
    if not path.is_dir():
        raise ArtifactNotFoundError(f"{path}: no such package; run `voxport export`")
    try:
        digest = package_sha256(path)
    except OSError as error:
        raise ArtifactError(f"{path}: unreadable: {error}") from error
    _check_digest(path, row, digest)
    session = CoreMLSession(path, compute_units=compute_units)
    _check_description(path, row, session)
    return session


def _load_path(
    path: Path, device: str, precision: str, threads: int | None, compute_units: ComputeUnits
) -> Session:
    """A session on a file or package that is given by its path."""
    format_device = "coreml" if path.name.endswith(".mlpackage") else "cpu"
    if device not in ("auto", format_device):
        raise DeviceError(f"{path} runs on {format_device}, not on {device}")
    session: Session
    if format_device == "coreml":
        session = CoreMLSession(path, compute_units=compute_units)
    else:
        session = OnnxSession(_read(path), str(path), threads=threads)
    if precision not in ("auto", session.description.precision):
        raise ArtifactError(f"{path}: is {session.description.precision}, not {precision}")
    return session


def _load_onnx(folder: Path, row: ArtifactRow, threads: int | None) -> OnnxSession:
    path = folder / row.path
    content = _read(path)
    _check_digest(path, row, hashlib.sha256(content).hexdigest())
    session = OnnxSession(content, str(path), threads=threads)
    _check_description(path, row, session)
    return session


def _load_coreml(folder: Path, row: ArtifactRow, compute_units: ComputeUnits) -> CoreMLSession:
    session = open_package(folder, row, compute_units)
    check_probe(
        session,
        row,
        f"It ran with compute units {compute_units}; try others, precision='fp32', or "
        "device='cpu'.",
    )
    return session


def _prefers_coreml(manifest: Manifest, name: str, precision: str) -> bool:
    """Whether ``auto`` tries Core ML: Apple silicon, coremltools, and a package to run."""
    return (
        apple_silicon()
        and any(
            (row.name, row.format) == (name, "coreml") and precision in ("auto", row.precision)
            for row in manifest.artifacts
        )
        and importlib.util.find_spec("coremltools") is not None
    )


def _coreml_row(manifest: Manifest, name: str, precision: str) -> ArtifactRow:
    """The row of a package; FP16 before FP32 unless a precision is named."""
    if precision == "auto":
        has_fp16 = any(row.key == (name, "coreml", "fp16") for row in manifest.artifacts)
        precision = "fp16" if has_fp16 else "fp32"
    return manifest.find(name, precision, "coreml")


def _check_digest(path: Path, row: ArtifactRow, digest: str) -> None:
    if digest != row.sha256:
        raise ArtifactError(
            f"{path}: SHA-256 is {digest}, but {row.sha256} was verified: the file has changed "
            "since. Run `voxport export` again."
        )


def _check_description(path: Path, row: ArtifactRow, session: Session) -> None:
    if session.description != row.description:
        raise ArtifactError(
            f"{path}: is not what the manifest describes. Run `voxport export` again."
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(f"{path}: no such file; run `voxport export`") from error
    except OSError as error:
        raise ArtifactError(f"{path}: unreadable: {error}") from error
