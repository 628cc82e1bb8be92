"""Small ML Programs made with coremltools' builder, saved as packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxport.export.coreml.tools import quiet

Arrays = dict[str, npt.NDArray[Any]]
Build = Callable[..., Any]


def coremltools() -> Any:
    """coremltools, or the test is skipped."""
    import pytest  # noqa: PLC0415 -- only tests that build programs need it

    with quiet():
        return pytest.importorskip("coremltools", reason="building programs needs coremltools")


def builder() -> Any:
    """coremltools' ``Builder``, usually called ``mb``."""
    coremltools()
    from coremltools.converters.mil import Builder  # noqa: PLC0415 -- slow, and optional

    return Builder


def save_program(
    build: Build,
    inputs: Mapping[str, Any],
    path: Path,
    target: str = "iOS17",
    *,
    half: bool = False,
) -> Path:
    """Write the program that ``build`` makes of inputs named as its parameters.

    ``inputs`` are examples: their shapes and types are declared. Nothing is optimised, so that
    the ops are those that ``build`` wrote. Outputs are named by it, or by coremltools.
    """
    ct, mb = coremltools(), builder()
    types = {
        np.dtype(np.float32): ct.converters.mil.mil.types.fp32,
        np.dtype(np.float16): ct.converters.mil.mil.types.fp16,
        np.dtype(np.int32): ct.converters.mil.mil.types.int32,
    }
    with quiet():
        specs = [mb.TensorSpec(each.shape, types[each.dtype]) for each in inputs.values()]
        opset = getattr(ct.target, target)
        program = mb.program(input_specs=specs, opset_version=opset)(build)
        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=opset,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.DEFAULT if half else ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(path))
    return path
