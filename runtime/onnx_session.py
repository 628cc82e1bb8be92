"""Run an ONNX artifact through ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import ArtifactError, VoxportError
from .inputs import Arrays
from .manifest import METADATA_KEY, Description, TensorSpec
from .onnx_runtime import import_onnxruntime, load_errors
from .session import Session

_ERRORS_ONLY = 3
# ONNX Runtime's names of the manifest's dtypes.
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}


class OnnxSession(Session):
    """An ONNX artifact on the CPU."""

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
        super().__init__(Description.from_json(metadata[METADATA_KEY], source), "cpu")
        self._output_names = [spec.name for spec in self.description.outputs]
        _check_signatures("inputs", self.description.inputs, inputs, source)
        _check_signatures("outputs", self.description.outputs, outputs, source)

    def _compute(self, inputs: Arrays) -> Arrays:
        try:
            outputs = self._session.run(self._output_names, inputs)
        except self._errors as error:
            raise VoxportError(f"{error}") from error
        return dict(zip(self._output_names, map(np.asarray, outputs), strict=True))


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
