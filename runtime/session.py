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
from .manifest import MANIFEST_NAME, METADATA_KEY, Description, Manifest
from .onnx_runtime import import_onnxruntime, load_errors

_DEVICES = ("auto", "cpu")
_ERRORS_ONLY = 3


class Session:
    """A loaded artifact.

    ``description`` tells its inputs, outputs and recipe; ``device`` where it runs. Calls do not
    share state, so one session may serve several threads.
    """

    device = "cpu"

    def __init__(self, content: bytes, source: str, *, threads: int | None = None) -> None:
        """Load a graph from the bytes of an ``.onnx`` file; ``source`` names it in errors.

        Raises:
            ArtifactError: not a loadable ONNX file, or not one of voxport's.
            MissingDependencyError: ONNX Runtime is not installed.
        """
        ort = import_onnxruntime()
        self._errors = load_errors(ort)
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except self._errors as error:
            raise ArtifactError(f"{source}: ONNX Runtime cannot load it: {error}") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise ArtifactError(f"{source}: has no voxport metadata; was it exported by voxport?")
        self.description = Description.from_json(metadata[METADATA_KEY], source)
        self._output_names = [spec.name for spec in self.description.outputs]
        self._check_graph(source)

    def _check_graph(self, source: str) -> None:
        """The graph must have the inputs and outputs that its description declares."""
        for kind, declared, actual in (
            ("inputs", self.description.inputs, self._session.get_inputs()),
            ("outputs", self.description.outputs, self._session.get_outputs()),
        ):
            expected, found = [spec.name for spec in declared], [value.name for value in actual]
            if expected != found:
                raise ArtifactError(f"{source}: declares {kind} {expected}, but has {found}")

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
            has no kernels of its own.
        models: folder to look in; see ``model_folders`` for the default places.
        threads: threads within an operator; ONNX Runtime's default if None.

    Raises:
        ArtifactNotFoundError: no such artifact; the message names the places looked at.
        ArtifactError: the file is damaged, or not the one that was verified.
        DeviceError: the device is not one that this version runs on.
    """
    if device not in _DEVICES:
        raise DeviceError(f"device must be one of {_DEVICES}, got {device!r}")
    if str(name).endswith(".onnx"):
        return Session(_read(Path(name)), str(name), threads=threads)
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
    return Session(content, str(path), threads=threads)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(f"{path}: no such file; run `voxport export`") from error
    except OSError as error:
        raise ArtifactError(f"{path}: unreadable: {error}") from error
