"""Every kernel against an independent oracle."""

from __future__ import annotations

from pathlib import Path

import compressed_cases
import layer_cases
import numpy as np
import op_cases
import pytest
from op_cases import Case
from small_programs import builder, save_program
from voxport.export.evaluator import load_program
from voxport.export.evaluator.kernels import KERNELS

builder()  # Skips the module where coremltools is missing.
CASES = [*op_cases.CASES, *layer_cases.CASES, *compressed_cases.cases()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_op_computes_what_its_definition_says(case: Case, tmp_path: Path) -> None:
    build = case.build(builder())
    program = load_program(save_program(build, case.inputs, tmp_path / "op.mlpackage", case.target))
    assert case.op in program.ops
    for mode, tolerance in (("exact", 1e-9), ("stored", 1e-5)):
        outputs = program.run(case.inputs, mode)
        values = [outputs[name] for name in program.function().outputs]
        assert len(values) == len(case.expected)
        for value, expected in zip(values, case.expected, strict=True):
            np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance)


def test_every_kernel_has_a_case() -> None:
    assert set(KERNELS) == {case.op for case in CASES}
