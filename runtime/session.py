"""Load an artifact and run it on numpy arrays."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ArtifactError, ArtifactNotFoundError, DeviceError, VoxportError
from .inputs import Arrays, checked_inputs
from .locate import find_models
from .manifest import MANIFEST_NAME, METADATA_KEY, Description, Manifest, TensorSpec
from .onnx_runtime import import_onnxruntime, load_errors

_DEVICES = ("auto", "cpu")
_ERRORS_ONLY = 3
# ONNX Runtime's names of the manifest's dtypes.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}


class Session:
    """A loaded artifact.

    ``description`` tells its inputs, outputs and recipe; ``device`` where it runs. Calls do not
    share state, so one session may serve several threads.
    """

    device = "cpu"

    def __init__(self, content: bytes, source: str, *, threads: int | None = None) -> None:
        """Load a graph from the bytes of an ``.onnx`` file; ``source`` names it in errors.

        Raises:
            ArtifactError: not a loadable ONNX file, not one of voxport's, or one whose inputs and
                outputs are not those that its metadata declares.
            MissingDependencyError: ONNX Runtime is not installed.
        """
        ort = import_onnxruntime()
        self._errors = load_errors(ort)
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            # Its fallback prints to stdout and tries the very same provider again.
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
            metadata = self._session.get_modelmeta().custom_metadata_map
            inputs = [_signature(value) for value in self._session.get_inputs()]
            outputs = [_signature(value) for value in self._session.get_outputs()]
        except self._errors as error:
            raise ArtifactError(f"{source}: ONNX Runtime cannot load it: {error}") from error
        if METADATA_KEY not in metadata:
            raise ArtifactError(f"{source}: has no voxport metadata; was it exported by voxport?")
        self.description = Description.from_json(metadata[METADATA_KEY], source)
        self._output_names = [spec.name for spec in self.description.outputs]
        _check_signatures("inputs", self.description.inputs, inputs, source)
        _check_signatures("outputs", self.description.outputs, outputs, source)

    def run(self, **arrays: Any) -> Arrays:
        """Run the graph on named numpy arrays; returns its outputs by name.

        Dtypes must match exactly (nothing is cast silently) and values must be finite.

        Raises:
            InputError: names, dtypes, shapes or values do not fit the declared inputs.
            VoxportError: the graph failed although its inputs are as declared.
        """
        inputs = checked_inputs(self.description, arrays)
        try:
            outputs = self._session.run(self._output_names, inputs)
        except self._errors as error:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise VoxportError(f"{self.description.name} failed on {shapes}: {error}") from error
        return dict(zip(self._output_names, map(np.asarray, outputs), strict=True))

    def __repr__(self) -> str:
        inputs, outputs = (
            ", ".join(map(str, specs))
            for specs in (self.description.inputs, self.description.outputs)
        )
        name, precision = self.description.name, self.description.precision
        return f"<{name} {precision} on {self.device}: ({inputs}) -> ({outputs})>"


def _signature(value: Any) -> TensorSpec:
    """What a graph says of one of its inputs or outputs; axes without a size are "?"."""
    axes = tuple(axis if isinstance(axis, int) else "?" for axis in value.shape)
    return TensorSpec(value.name, _DTYPES.get(value.type, value.type), axes)


def _check_signatures(
    kind: str, declared: tuple[TensorSpec, ...], found: list[TensorSpec], source: str
) -> None:
    """Names, order, dtypes, ranks and fixed sizes must agree; names of axes are free."""
    plain = [
        TensorSpec(
            spec.name, spec.dtype, tuple(a if isinstance(a, int) else "?" for a in spec.axes)
        )
        for spec in declared
    ]
    if plain != found:
        expected, actual = ("; ".join(map(str, specs)) or "none" for specs in (declared, found))
        raise ArtifactError(f"{source}: declares the {kind} {expected}, but has {actual}")


def load(
    name: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    models: str | os.PathLike[str] | None = None,
    threads: int | None = None,
) -> Session:
    """Load an artifact by name from a models folder, or an ``.onnx`` file by path.

    Args:
        name: an artifact's name, e.g. ``"segmentation_masks"``, or a path ending in ``.onnx``.
        device: ``"auto"`` or ``"cpu"``; this version runs on the CPU.
        precision: ``"fp32"``, ``"fp16"``, ``"int8"``; ``"auto"`` is FP32 on the CPU, where FP16
            has no kernels of its own, and whatever a file holds that is given by its path.
        models: folder to look in; see ``model_folders`` for the default places.
        threads: threads within an operator; ONNX Runtime's default if None.

    Raises:
        ArtifactNotFoundError: no such artifact; the message names the places looked at.
        ArtifactError: the file is damaged, not the one that was verified, or not what the
            manifest or the caller says it is.
        DeviceError: the device is not one that this version runs on.
    """
    if device not in _DEVICES:
        raise DeviceError(f"device must be one of {_DEVICES}, got {device!r}")
    if str(name).endswith(".onnx"):
        session = Session(_read(Path(name)), str(name), threads=threads)
        if precision not in ("auto", session.description.precision):
            raise ArtifactError(f"{name}: is {session.description.precision}, not {precision}")
        return session
    folder = find_models(models)
    wanted = "fp32" if precision == "auto" else precision
    row = Manifest.read(folder / MANIFEST_NAME).find(str(name), wanted)
    path = folder / row.path
    content = _read(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != row.sha256:
        raise ArtifactError(
            f"{path}: SHA-256 is {digest}, but {row.sha256} was verified: the file has changed "
            "since. Run `voxport export` again."
        )
    session = Session(content, str(path), threads=threads)
    if session.description != row.description:
        raise ArtifactError(
            f"{path}: is not what the manifest describes. Run `voxport export` again."
        )
    return session


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(f"{path}: no such file; run `voxport export`") from error
    except OSError as error:
        raise ArtifactError(f"{path}: unreadable: {error}") from error
