"""What a package holds, read from its protobuf: ops, shapes, types, size.

And whether that is what was declared, with nothing else: the structure gate of Core ML packages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.errors import ArtifactError
from ...runtime.manifest import METADATA_KEY, Description, TensorSpec
from ...runtime.package import package_size
from ..specs import ExportSpec
from .package import AUTHOR, function_descriptions, read_model
from .shapes import FunctionShapes, Range, Target, function_shapes

# Control flow and data-dependent shapes keep a program on the CPU; slices are the mark of the
# textbook CAM++ (52 of them), and each one costs a copy.
FORBIDDEN_OPS = frozenset(
    {"slice_by_index", "slice_by_size", "while_loop", "cond", "non_zero", "custom_layer", "shape"}
)
_SLICES = frozenset({"slice_by_index", "slice_by_size"})
_SPECIFICATION: Mapping[Target, int] = {"iOS17": 8, "iOS18": 9}
# Against the ONNX graph: four ops that normalise the indices of gathers; a cast per border of an
# FP32 island; an op that expands each 8-bit weight.
_EXTRA_OPS: Mapping[str, int] = {"fp32": 4, "fp16": 34, "w8": 254}


@dataclass(frozen=True)
class Feature:
    """An input or output of a function; ``shape`` is empty where it is not declared."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    ranges: tuple[Range, ...] = ()


@dataclass(frozen=True)
class FunctionStructure:
    """One function: ops by type, most frequent first (constants left out), and its features."""

    ops: dict[str, int]
    slices: tuple[str, ...]
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]


@dataclass(frozen=True)
class Structure:
    """A package: its functions, the default one first, and its size on disk."""

    functions: dict[str, FunctionStructure]
    specification: int
    size_bytes: int

    @property
    def ops(self) -> dict[str, int]:
        """Ops of the default function."""
        return next(iter(self.functions.values())).ops


def read_structure(package: Path) -> Structure:
    """The structure of a package."""
    return _structure(read_model(package), package)


def limits(spec: ExportSpec, precision: str) -> dict[str, float]:
    """The most ops that a function may have."""
    return {"ops": spec.max_nodes + _EXTRA_OPS[precision]}


def problems(
    spec: ExportSpec, description: Description, target: Target, package: Path
) -> list[str]:
    """Everything in a package that is not as declared; empty if nothing is."""
    model = read_model(package)
    structure = _structure(model, package)
    expected = function_shapes(spec, target)
    found = list(_header(model, structure, description, target))
    names = [shapes.function for shapes in expected]
    if list(structure.functions) != names:
        return [*found, f"functions are {list(structure.functions)}, declared {names}"]
    limit = limits(spec, description.precision)["ops"]
    for shapes in expected:
        function = structure.functions[shapes.function]
        found += _operations(function.ops, limit)
        found += _inputs(description.inputs, function.inputs, shapes)
        found += _outputs(description.outputs, function.outputs, shapes)
    return found


def _structure(model: Any, package: Path) -> Structure:
    functions = {}
    for name, described in function_descriptions(model).items():
        operations = list(_nodes(model.mlProgram.functions[name]))
        counts = Counter(op.type for op in operations)
        functions[name] = FunctionStructure(
            ops=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
            slices=tuple(op.outputs[0].name for op in operations if op.type in _SLICES),
            inputs=tuple(_feature(value) for value in described.input),
            outputs=tuple(_feature(value) for value in described.output),
        )
    return Structure(functions, model.specificationVersion, package_size(package))


def _nodes(holder: Any) -> Iterator[Any]:
    """All operations of a function or an operation, inner blocks included, without constants."""
    blocks = getattr(holder, "block_specializations", None)
    for block in holder.blocks if blocks is None else blocks.values():
        for op in block.operations:
            if op.type != "const":
                yield op
            yield from _nodes(op)


def _feature(value: Any) -> Feature:
    array = value.type.multiArrayType
    dtype = array.ArrayDataType.Name(array.dataType).lower() if array.dataType else "none"
    ranges = tuple(
        Range(limits.lowerBound, limits.upperBound) for limits in array.shapeRange.sizeRanges
    )
    return Feature(value.name, dtype, tuple(array.shape), ranges)


def _header(
    model: Any, structure: Structure, description: Description, target: Target
) -> Iterator[str]:
    if structure.specification != _SPECIFICATION[target]:
        yield f"specification {structure.specification}, {target} is {_SPECIFICATION[target]}"
    metadata = model.description.metadata
    try:
        stored = Description.from_json(metadata.userDefined.get(METADATA_KEY, ""), "metadata")
    except ArtifactError as error:
        yield str(error)
        return
    if stored != description:
        yield "the metadata in the package is not what the export declares"
    if metadata.author != AUTHOR or metadata.versionString != description.voxport_version:
        yield f"author {metadata.author!r}, version {metadata.versionString!r}"


def _operations(ops: Mapping[str, int], limit: float) -> Iterator[str]:
    total = sum(ops.values())
    if total > limit:
        yield f"{total} ops, at most {limit:g} allowed"
    for name in sorted(FORBIDDEN_OPS & set(ops)):
        yield f"op {name} is not allowed, there are {ops[name]}"


def _inputs(
    declared: tuple[TensorSpec, ...], found: tuple[Feature, ...], shapes: FunctionShapes
) -> Iterator[str]:
    """Inputs must match in full: names, types, shapes and ranges."""
    expected = tuple(
        Feature(tensor.name, tensor.dtype, shapes.shape(tensor), shapes.feature_ranges(tensor))
        for tensor in declared
    )
    if found != expected:
        yield f"inputs are {found}; declared {expected}"


def _outputs(
    declared: tuple[TensorSpec, ...], found: tuple[Feature, ...], shapes: FunctionShapes
) -> Iterator[str]:
    """Names and types must match, and sizes where both sides know them."""
    names = [(tensor.name, tensor.dtype) for tensor in declared]
    if [(feature.name, feature.dtype) for feature in found] != names:
        yield f"outputs are {found}; declared {', '.join(map(str, declared))}"
        return
    for tensor, feature in zip(declared, found, strict=True):
        if not _is_flexible(tensor, shapes) and not _fits(tensor, feature.shape, shapes):
            yield f"output {tensor} has shape {feature.shape}"


def _is_flexible(tensor: TensorSpec, shapes: FunctionShapes) -> bool:
    """Whether an axis has a range, or follows from one: no input has it."""
    named = [axis for axis in tensor.axes if isinstance(axis, str)]
    derived = any(axis not in shapes.sizes for axis in named) and bool(shapes.ranges)
    return derived or any(axis in shapes.ranges for axis in named)


def _fits(tensor: TensorSpec, shape: tuple[int, ...], shapes: FunctionShapes) -> bool:
    sizes = [axis if isinstance(axis, int) else shapes.sizes.get(axis) for axis in tensor.axes]
    return len(shape) == len(sizes) and all(
        size in (None, found) for size, found in zip(sizes, shape, strict=True)
    )
