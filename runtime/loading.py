"""Find an artifact, check that it is the verified one, and open a session on a device."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .artifact_choice import AUTO_PRECISIONS
from .availability import COREML
from .batching import CPU_BATCH_SIZE, cuda_batch_size
from .coreml_session import COREML_PLAN, CoreMLSession, require_macos
from .devices import ONNX, DevicePlan, plan_device
from .environment import Environment, client_environment, known_environment
from .errors import (
    ArtifactError,
    ArtifactNotFoundError,
    DeviceError,
    MissingDependencyError,
    VoxportError,
)
from .locate import find_models
from .manifest import MANIFEST_NAME, ArtifactRow, Manifest
from .onnx_session import OnnxSession
from .options import DEFAULT_OPTIONS, ComputeUnits, Options
from .package import package_sha256
from .probe import check_probe
from .serving.address import is_server
from .serving.session import ServerSession
from .session import Session
from .several.opening import opened_together
from .tuning import remembered_batch_size

_LOG = logging.getLogger("voxport")
_SUFFIXES = {".onnx": ONNX, ".mlpackage": COREML}
_KINDS = {ONNX: ("an ONNX file", "cpu, cuda and tensorrt"), COREML: ("a Core ML package", "coreml")}


def load(  # noqa: PLR0913 -- one keyword for each choice
    name: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    models: str | os.PathLike[str] | None = None,
    fallback: bool = False,
    self_check: bool = False,
    options: Options = DEFAULT_OPTIONS,
) -> Session:
    """Load an artifact by name from a models folder, or a file or package by path.

    What is loaded by its path has no manifest: its bytes are not checked.

    Args:
        name: an artifact's name, e.g. ``"segmentation_masks"``, or a path ending in ``.onnx``
            or ``.mlpackage``.
        device: ``"cpu"``, ``"cuda"`` or ``"gpu"``, ``"cuda:1"``, ``"tensorrt"``, ``"coreml"`` or
            ``"metal"``, or several sessions behind one interface, such as ``"cuda:0,1"``,
            ``"cuda:*"``, ``"cpu:*"`` (NUMA nodes) or ``"cpu*2"`` (see docs/devices.md and
            ``SeveralSessions``): strict, it runs there or is an error. ``"auto"``: Core ML on Apple
            silicon, then CUDA, then the CPU, whichever is there, loads and places the graph as
            planned. ``"triton://HOST:PORT"`` and the like run it on an inference server (see
            docs/serving.md), for which ``models`` need only hold the manifest. The session's
            ``plan`` tells which it was and why, and so does the logger ``voxport``.
        precision: ``"fp32"``, ``"fp16"``, ``"int8"`` (``"w8"`` for packages). ``"auto"`` is FP32
            on the CPU, on CUDA and on servers, FP16 on Core ML where there is such a package, and
            whatever a file holds that is given by its path.
        models: folder to look in; see ``model_folders`` for the default places.
        fallback: where the named device cannot be used, take what ``"auto"`` would, with a warning
            of the logger ``voxport``.
        self_check: ask the session the question that the manifest holds for it (see
            ``voxport.runtime.probe``) and compare the answer, which warms it up as well. What is
            given by its path must then be listed in its folder's manifest. On Core ML that is
            always done for what is given by its name, and on servers.
        options: memory, threads, exactness and speed, and the patience with a server.

    Raises:
        ArtifactNotFoundError: no such artifact; the message names the places looked at.
        ArtifactError: the file is damaged, not the one that was verified, or not what the
            manifest or the caller says it is.
        DeviceError: the device cannot be used here, for want of ONNX Runtime or coremltools too,
            or gives wrong answers; the message says what is missing and how to install it.
        ServerError: a server does not answer; it is a ``DeviceError``.
        MissingDependencyError: ONNX Runtime, coremltools or tritonclient cannot be imported after
            all.
        OptionsError: the options contradict the device.
    """
    path = Path(name)
    if device == "auto" and path.suffix == ".mlpackage":
        device = "coreml"  # nothing else runs a package
    wanted = None if fallback or device == "auto" else _format_of(device)
    if wanted == COREML:
        # Before anything that another machine could do something about.
        require_macos()
    if path.suffix in _SUFFIXES:
        if is_server(device):
            raise DeviceError(f"{path}: a server runs artifacts by their names, not files")
        source = _source_of_path(path, precision, wanted, self_check=self_check)
    else:
        source = _Source.named(find_models(models), str(name), precision, wanted)
    environment = _environment(device, fallback=fallback)
    request = _Request(device, options, fallback, self_check, environment)
    session = _opened(source, request)
    return session.share_calls() if options.batch_across_calls else session


def load_first(  # noqa: PLR0913 -- as ``load``
    names: Sequence[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    models: str | os.PathLike[str] | None = None,
    fallback: bool = False,
    options: Options = DEFAULT_OPTIONS,
) -> Session:
    """Load the first of several artifacts that serve the same end: the first that the device runs.

    Args:
        names: of artifacts, the best first.
        device: see ``load``; likewise what follows.
        precision: of the artifact; one that lacks it is passed over.
        models: folder to look in.
        fallback: where the named device cannot be used.
        options: memory, threads, exactness and speed.

    Raises:
        ArtifactNotFoundError: there is none of them, for the last one's reason.
        ArtifactError, DeviceError, MissingDependencyError, OptionsError: as ``load``.
    """
    folder = find_models(models)
    wanted = None if fallback or device == "auto" else _format_of(device)
    formats = {name: _formats(folder, name, precision) for name in names}
    held = frozenset[str]().union(*formats.values())
    if not held or (wanted is not None and wanted not in held):
        chosen = names[-1]  # which will say what is wrong
    else:
        environment = _environment(device, fallback=fallback)
        plan = plan_device(device, environment, options, fallback=fallback, formats=held)
        chosen = next(name for name in names if plan.artifact_format in formats[name])
    return load(
        chosen,
        device=device,
        precision=precision,
        models=folder,
        fallback=fallback,
        options=options,
    )


def _formats(folder: Path, name: str, precision: str) -> frozenset[str]:
    """The formats in which a folder has an artifact."""
    rows = Manifest.read(folder / MANIFEST_NAME).artifacts
    return frozenset(
        row.format for row in rows if row.name == name and precision in ("auto", row.precision)
    )


def _environment(device: str, *, fallback: bool) -> Environment:
    """What there is to run on; this machine is not looked at for a server's client."""
    alone = is_server(device) and not fallback
    return client_environment() if alone else known_environment()


def _format_of(device: str) -> str:
    """The format that a named device runs."""
    return COREML if device in (COREML, "metal") else ONNX


@dataclass(frozen=True)
class _Request:
    """How to run whatever is loaded."""

    device: str
    options: Options
    fallback: bool
    self_check: bool
    environment: Environment


@dataclass(frozen=True)
class _Source:
    """An artifact in the formats and precisions in which it may be loaded.

    ``rows`` by format. One that is given by its path has a single row, or, where nothing is to
    be checked, none.
    """

    name: str
    folder: Path
    rows: dict[str, list[ArtifactRow]]
    precision: str
    by_path: bool = False

    @classmethod
    def named(cls, folder: Path, name: str, precision: str, wanted: str | None) -> _Source:
        """The rows of a manifest that have this name and precision.

        ``wanted`` is the only format that will do, or None.

        Raises:
            ArtifactNotFoundError: there is none.
        """
        manifest = Manifest.read(folder / MANIFEST_NAME)
        rows: dict[str, list[ArtifactRow]] = {}
        for row in manifest.artifacts:
            if row.name == name and precision in ("auto", row.precision):
                rows.setdefault(row.format, []).append(row)
        if not rows or (precision != "auto" and wanted not in (None, *rows)):
            manifest.find(name, "fp32" if precision == "auto" else precision, wanted or ONNX)
        return cls(name, folder, rows, precision)

    @property
    def formats(self) -> frozenset[str]:
        return frozenset(self.rows)

    def row(self, plan: DevicePlan) -> ArtifactRow | None:
        """The row for a plan; for an automatic precision the one that suits the device."""
        rows = {row.precision: row for row in self.rows[plan.artifact_format]}
        if self.by_path and (self.precision == "auto" or not rows):
            return next(iter(rows.values()), None)
        suitable = AUTO_PRECISIONS[plan.artifact_format]
        for precision in suitable if self.precision == "auto" else (self.precision,):
            if precision in rows:
                return rows[precision]
        raise ArtifactNotFoundError(
            f"{self.name} has no {' or '.join(suitable)} {plan.artifact_format} variant; there "
            f"are: {', '.join(rows)}. Name a precision."
        )


def _source_of_path(path: Path, precision: str, wanted: str | None, *, self_check: bool) -> _Source:
    """A file or package by its path; with ``self_check`` its row of the folder's manifest."""
    found = _SUFFIXES[path.suffix]
    if wanted not in (None, found):
        kind, devices = _KINDS[found]
        raise DeviceError(f"{path} is {kind}, which runs on {devices} only")
    rows: list[ArtifactRow] = []
    manifest = path.parent / MANIFEST_NAME
    if self_check:
        rows = [row for row in Manifest.read(manifest).artifacts if row.path == path.name]
        if not rows:
            raise ArtifactError(f"{path}: {manifest} does not list it, so nothing can be checked")
    return _Source(str(path), path.parent, {found: rows}, precision, by_path=True)


def _opened(source: _Source, request: _Request) -> Session:
    """A session on the first device that the plan, and those it may fall back to, allow."""
    formats = source.formats
    plan = plan_device(
        request.device,
        request.environment,
        request.options,
        fallback=request.fallback,
        formats=formats,
    )
    if plan.is_fallback:
        _LOG.warning("%s: %s", source.name, plan)
    try:
        if not plan.parts:
            return _session(source, plan, request)
        together = opened_together(plan, source.name, lambda part: _session(source, part, request))
        return _with_remembered_size(together)
    except (DeviceError, MissingDependencyError) as error:
        if plan.strict or plan.kind == "cpu" or ONNX not in formats:
            raise
        cpu = plan_device("cpu", request.environment, request.options, formats=formats)
        _LOG.warning("%s: runs on cpu instead of %s: %s", source.name, plan.device, error)
        reasons = (f"{plan.device} failed: {error}", *cpu.reasons[1:])
        cpu = replace(
            cpu, requested=request.device, reasons=reasons, is_fallback=True, strict=False
        )
    return _session(source, cpu, request)


def _session(source: _Source, plan: DevicePlan, request: _Request) -> Session:
    """An open session whose answers were right, where they were asked for."""
    row = source.row(plan)
    session = _open_row(source, row, plan, request) if row else _open_path(source, plan, request)
    _with_remembered_size(session)
    always = plan.artifact_format == COREML or is_server(plan.device)
    if row is not None and (request.self_check or always):
        try:
            check_probe(session, row, _advice(plan, request.options))
        except VoxportError:
            session.close()  # its memory may be wanted by what is loaded instead
            raise
    _LOG.info("%s: %s", source.name, session.plan)
    return session


def _with_remembered_size(session: Session) -> Session:
    remembered = remembered_batch_size(session)
    return session if remembered is None else session.use_batch_size(remembered)


def _advice(plan: DevicePlan, options: Options) -> str:
    if plan.artifact_format == COREML:
        return (
            f"It ran with compute units {options.compute_units}; try others, precision='fp32', or "
            "device='cpu'."
        )
    if is_server(plan.device):
        return (
            "The server may run another file under this name: serve what `voxport export --triton` "
            "writes from this models folder."
        )
    return "`voxport doctor` may tell why; device='cpu' runs without the card's libraries."


def _open_row(source: _Source, row: ArtifactRow, plan: DevicePlan, request: _Request) -> Session:
    """A session on the artifact of a row, its bytes checked, its answers not."""
    if is_server(plan.device):
        return ServerSession(row, plan, request.options)
    if row.format != ONNX:
        return open_package(source.folder, row, request.options.compute_units, plan=plan)
    path = source.folder / row.path
    content = _read(path)
    _check_digest(path, row, hashlib.sha256(content).hexdigest())
    session = _onnx_session(content, path, plan, request)
    _check_description(path, row, session)
    return session


def open_package(
    folder: Path,
    row: ArtifactRow,
    compute_units: ComputeUnits = "all",
    *,
    plan: DevicePlan = COREML_PLAN,
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
    session = CoreMLSession(path, compute_units=compute_units, plan=plan)
    _check_description(path, row, session)
    return session


def _open_path(source: _Source, plan: DevicePlan, request: _Request) -> Session:
    """A session on whatever lies at a path."""
    path = Path(source.name)
    session: Session
    if plan.artifact_format == ONNX:
        session = _onnx_session(_read(path), path, plan, request)
    else:
        session = CoreMLSession(path, compute_units=request.options.compute_units, plan=plan)
    found = session.description.precision
    if source.precision not in ("auto", found):
        raise ArtifactError(f"{path}: is {found}, not {source.precision}")
    return session


def _onnx_session(content: bytes, path: Path, plan: DevicePlan, request: _Request) -> OnnxSession:
    size = CPU_BATCH_SIZE
    if plan.kind != "cpu":
        index = int(plan.device.rpartition(":")[2])
        cards = [card for card in request.environment.cuda.cards if card.index == index]
        size = cuda_batch_size(cards[0].memory_bytes if cards else 0)
    return OnnxSession(content, str(path), plan=plan, options=request.options, batch_size=size)


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
