"""Reads ``.mlpackage`` folders, whose program is a protobuf that coremltools has classes for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..coreml.tools import import_coremltools
from .errors import ProgramFormatError
from .types import (
    DTYPES,
    Array,
    BlobReference,
    Constant,
    Function,
    NamedType,
    Operand,
    Operation,
    Reference,
    StoredProgram,
    TensorType,
)
from .weights import decode

_MODEL_FOLDER = Path("Data") / "com.apple.CoreML"
# The name of an operation is an attribute in the file, and no input of the op.
NAME_ATTRIBUTE = "name"


def read_package(path: Path) -> StoredProgram:
    """The program of an ``.mlpackage``.

    Raises:
        ProgramFormatError: it is not a package with one ML Program, or it is damaged.
        MissingDependencyError: coremltools is not installed.
    """
    files = sorted((path / _MODEL_FOLDER).glob("*.mlmodel"))
    if len(files) != 1:
        raise ProgramFormatError(f"{path}: expected one {_MODEL_FOLDER}/*.mlmodel, found {files}")
    model = _parse(files[0])
    if model.WhichOneof("Type") != "mlProgram":
        raise ProgramFormatError(f"{files[0]}: not an ML Program but {model.WhichOneof('Type')}")
    try:
        functions = {
            name: _function(name, spec) for name, spec in sorted(model.mlProgram.functions.items())
        }
    except (ValueError, KeyError) as error:
        raise ProgramFormatError(f"{files[0]}: {error}") from error
    default = model.description.defaultFunctionName or "main"
    if default not in functions:
        raise ProgramFormatError(f"{files[0]}: no function {default!r} among {sorted(functions)}")
    return StoredProgram(path, files[0].parent, functions, default)


def _parse(file: Path) -> Any:
    decode_error = importlib.import_module("google.protobuf.message").DecodeError
    model = import_coremltools("proto.Model_pb2").Model()
    try:
        model.ParseFromString(file.read_bytes())
    except (decode_error, OSError) as error:
        raise ProgramFormatError(f"{file}: not a Core ML model: {error}") from error
    return model


def _function(name: str, spec: Any) -> Function:
    if spec.opset not in spec.block_specializations:
        raise ValueError(f"function {name!r} has no block for its opset {spec.opset!r}")
    block = spec.block_specializations[spec.opset]
    return Function(
        name=name,
        opset=spec.opset,
        inputs=tuple(_named_type(each) for each in spec.inputs),
        operations=tuple(_operation(each) for each in block.operations),
        outputs=tuple(block.outputs),
    )


def _operation(spec: Any) -> Operation:
    if spec.blocks:
        raise ValueError(f"op {spec.type!r}: control flow is not supported")
    operands = {
        parameter: tuple(_operand(binding) for binding in argument.arguments)
        for parameter, argument in spec.inputs.items()
    }
    for name, value in spec.attributes.items():
        if name != NAME_ATTRIBUTE:
            operands[name] = (_constant(value),)
    return Operation(spec.type, operands, tuple(_named_type(each) for each in spec.outputs))


def _operand(binding: Any) -> Operand:
    if binding.WhichOneof("binding") == "name":
        return Reference(binding.name)
    return _constant(binding.value)


def _named_type(spec: Any) -> NamedType:
    return NamedType(spec.name, _tensor_type(spec.type, spec.name))


def _tensor_type(spec: Any, owner: str) -> TensorType:
    if spec.WhichOneof("type") != "tensorType":
        raise ValueError(f"{owner!r} is no tensor but a {spec.WhichOneof('type')}")
    tensor = spec.tensorType
    name = import_coremltools("proto.MIL_pb2").DataType.Name(tensor.dataType)
    dtype = name.lower().replace("float", "fp")
    if dtype not in DTYPES:
        raise ValueError(f"{owner!r} has elements of an unsupported type: {name}")
    if tensor.rank != len(tensor.dimensions):
        raise ValueError(f"{owner!r} has rank {tensor.rank}, but {len(tensor.dimensions)} sizes")
    return TensorType(dtype, tuple(_sizes(tensor.dimensions)))


def _sizes(dimensions: Iterable[Any]) -> Iterable[int | None]:
    for each in dimensions:
        yield each.constant.size if each.WhichOneof("dimension") == "constant" else None


def _constant(spec: Any) -> Constant:
    declared = _tensor_type(spec.type, "a constant")
    if spec.WhichOneof("value") == "blobFileValue":
        blob = spec.blobFileValue
        return Constant(declared, BlobReference(blob.fileName, blob.offset))
    tensor = spec.immediateValue.tensor
    field = tensor.WhichOneof("value")
    if field is None:
        raise ValueError(f"a constant of {declared} has no value")
    return Constant(declared, _content(getattr(tensor, field).values, declared))


def _content(values: Any, declared: TensorType) -> Array | str:
    dtype, shape = DTYPES[declared.dtype], tuple(size or 0 for size in declared.shape)
    if dtype.kind == "string":
        if len(values) != 1:
            raise ValueError(f"expected one string, found {len(values)}")
        return str(values[0])
    if isinstance(values, bytes):
        return decode(values, dtype, shape)
    return np.asarray(list(values)).astype(dtype.numpy).reshape(shape)
