"""From a torch module to Core ML programs: traced and converted once, in every precision.

The FP32 program is converted; FP16 and 8-bit variants are derived from it, so that all have the
same structure, which also takes half the time. All of it runs on any platform: nothing here
loads a program into Apple's runtime.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...runtime.manifest import Description, TensorSpec
from ..errors import ExportError
from ..specs import ExportSpec, Precision
from .islands import ModulePaths, eight_bit_weights, half_ops
from .package import joined, write_described
from .patches import patched
from .shapes import FunctionShapes, Target, function_shapes
from .tools import import_coremltools, quiet

_CLEANUP = ("cast_optimization", "const_elimination", "dead_code_elimination")


@dataclass(frozen=True)
class Converted:
    """A spec's programs of one precision, by function (coremltools ``MLModel`` objects)."""

    spec: ExportSpec
    target: Target
    shapes: tuple[FunctionShapes, ...]
    models: Mapping[str, Any]
    paths: ModulePaths


def precisions(spec: ExportSpec) -> tuple[Precision, ...]:
    """What a spec is converted to, the reference first: as for ONNX, ``w8`` for ``int8``."""
    if not spec.coreml:
        return ()
    half: tuple[Precision, ...] = ("fp16",) if spec.half_scopes else ()
    compressed: tuple[Precision, ...] = ("w8",) if spec.int8 else ()
    return ("fp32", *half, *compressed)


def convert(spec: ExportSpec, module: nn.Module, target: Target = "iOS17") -> Converted:
    """The FP32 programs of a module in evaluation mode.

    Raises:
        ExportError: it could not be traced or converted.
        MissingDependencyError: coremltools is not installed.
    """
    import_coremltools()
    shapes = function_shapes(spec, target)
    traced = _traced(spec, module, shapes[0])
    models = {each.function: _converted(spec, traced, each, target) for each in shapes}
    return Converted(spec, target, shapes, models, ModulePaths.of(module))


def to_precision(reference: Converted, precision: Precision) -> Converted:
    """A variant of the FP32 programs; inputs and outputs stay FP32.

    Raises:
        ExportError: the spec has no such variant.
    """
    spec = reference.spec
    if precision not in precisions(spec):
        raise ExportError(f"{spec.name} has no {precision} variant, only {precisions(spec)}")
    if precision == "fp32":
        return reference
    derive = _half if precision == "fp16" else _compressed
    models = {
        name: derive(spec, reference.paths, model) for name, model in reference.models.items()
    }
    return replace(reference, models=models)


def write_package(converted: Converted, description: Description, path: Path) -> None:
    """Write ``path`` (a folder, ``.mlpackage``): the same bytes for the same input.

    Raises:
        FileExistsError: there is something at ``path``.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = joined(converted.models, Path(folder))
        write_described(source, description, converted.shapes, path)


def _traced(spec: ExportSpec, module: nn.Module, shapes: FunctionShapes) -> torch.jit.ScriptModule:
    """One trace serves all batches: it holds sizes as computations, which conversion folds."""
    rng = np.random.default_rng(0)
    arguments = tuple(
        torch.from_numpy(rng.random(shapes.shape(tensor), np.float32)) for tensor in spec.inputs
    )
    with quiet(), torch.no_grad():
        traced: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            module, arguments, check_trace=False
        )
    return traced


def _converted(
    spec: ExportSpec, traced: torch.jit.ScriptModule, shapes: FunctionShapes, target: Target
) -> Any:
    coremltools = import_coremltools()
    with quiet(), patched():
        try:
            return coremltools.convert(
                traced,
                convert_to="mlprogram",
                inputs=_input_types(spec, shapes),
                outputs=[_tensor_type(output) for output in spec.outputs],
                minimum_deployment_target=getattr(coremltools.target, target),
                compute_precision=coremltools.precision.FLOAT32,
                skip_model_load=True,
            )
        # coremltools raises whatever its handlers raise.
        except (ValueError, TypeError, RuntimeError, NotImplementedError, KeyError) as error:
            # Its temporary folders warn when they are collected: now, not at some later time.
            traceback.clear_frames(error.__traceback__)
            raise ExportError(f"{spec.name}: coremltools failed: {error}") from error


def _tensor_type(tensor: TensorSpec, shape: Any = None) -> Any:
    return import_coremltools().TensorType(tensor.name, shape, dtype=np.dtype(tensor.dtype).type)


def _input_types(spec: ExportSpec, shapes: FunctionShapes) -> list[Any]:
    """Inputs with fixed axes, or one range per named axis, shared by all inputs that have it."""
    coremltools = import_coremltools()
    ranges = {
        axis: coremltools.RangeDim(limits.low, limits.high, shapes.sizes[axis], symbol=axis)
        for axis, limits in shapes.ranges.items()
    }
    return [
        _tensor_type(
            tensor,
            coremltools.Shape(
                [
                    ranges.get(str(axis), size)
                    for axis, size in zip(tensor.axes, shapes.shape(tensor), strict=True)
                ]
            ),
        )
        for tensor in spec.inputs
    ]


def _half(spec: ExportSpec, paths: ModulePaths, model: Any) -> Any:
    chosen = half_ops(spec, paths, model._mil_program)
    quantization = import_coremltools("converters.mil.mil.passes.defs.quantization")
    registry = import_coremltools("converters.mil.mil.passes.pass_registry").PASS_REGISTRY
    cast = quantization.add_fp16_cast(op_selector=lambda op: op.name in chosen)
    return _derived(model, [cast, *(registry[f"common::{name}"] for name in _CLEANUP)])


def _compressed(spec: ExportSpec, paths: ModulePaths, model: Any) -> Any:
    if spec.int8 is None:
        raise ExportError(f"{spec.name} declares no 8-bit weights")
    optimize = import_coremltools("optimize.coreml")
    registry = import_coremltools("converters.mil.mil.passes.pass_registry").PASS_REGISTRY
    how = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
    weights = eight_bit_weights(spec.int8, paths, model._mil_program)
    config = optimize.OptimizationConfig(op_name_configs=dict.fromkeys(weights, how))
    option = import_coremltools("converters.mil.mil.passes.graph_pass").PassOption
    quantize = type(registry["compression::linear_quantize_weights"])()
    quantize.set_options([option("config", config)])
    return _derived(model, [quantize])


def _derived(model: Any, passes: list[Any]) -> Any:
    """A copy of a converted model after some passes, and no others."""
    load = import_coremltools("converters.mil.frontend.milproto.load").load
    mil_convert = import_coremltools("converters.mil.converter").mil_convert
    spec = model.get_spec()
    with quiet():
        program = load(spec, spec.specificationVersion, model.weights_dir)
        for each in passes:
            each(program)
        program.skip_all_passes = True
        return mil_convert(
            program,
            convert_from="milinternal",
            convert_to="mlprogram",
            specification_version=spec.specificationVersion,
            model_description=spec.description,
            compute_units=import_coremltools().ComputeUnit.ALL,
            skip_model_load=True,
        )
