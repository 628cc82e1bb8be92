"""The structure gate finds what is wrong with a package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voxport.export.coreml.artifacts import CoreMLFormat
from voxport.export.coreml.convert import convert, write_package
from voxport.export.coreml.package import model_path, read_model
from voxport.export.coreml.structure import problems
from voxport.export.networks import Networks, evaluation_mode
from voxport.export.specs import ExportSpec
from voxport.runtime.manifest import Description
from voxport.runtime.package import package_sha256, package_size


@pytest.fixture
def spec(small_specs: dict[str, ExportSpec]) -> ExportSpec:
    return small_specs["powerset"]


@pytest.fixture
def description(spec: ExportSpec, small_networks: Networks) -> Description:
    return CoreMLFormat().describe(spec, "fp32", small_networks)


@pytest.fixture
def package(
    spec: ExportSpec, description: Description, small_networks: Networks, tmp_path: Path
) -> Path:
    path = tmp_path / "powerset.mlpackage"
    write_package(convert(spec, evaluation_mode(spec.build, small_networks)), description, path)
    return path


def _rename_input(model: Any) -> None:
    model.description.input[0].name = "x"


def _half_output(model: Any) -> None:
    array = model.description.output[0].type.multiArrayType
    array.dataType = array.ArrayDataType.Value("FLOAT16")


def _flexible_input(model: Any) -> None:
    sizes = model.description.input[0].type.multiArrayType.shapeRange.sizeRanges
    for size in (1, 58, 7):
        limits = sizes.add()
        limits.lowerBound, limits.upperBound = 1, size


def _wrong_output(model: Any) -> None:
    model.description.output[0].type.multiArrayType.shape[1] = 57


def _slice(model: Any) -> None:
    (block,) = model.mlProgram.functions["main"].block_specializations.values()
    next(op for op in block.operations if op.type != "const").type = "slice_by_index"


def _other_metadata(model: Any) -> None:
    model.description.metadata.userDefined["voxport"] = "{}"


def _other_author(model: Any) -> None:
    model.description.metadata.author = "nobody"


def _other_version(model: Any) -> None:
    model.specificationVersion = 7


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_rename_input, "inputs are"),
        (_half_output, "outputs are"),
        (_flexible_input, "inputs are"),
        (_wrong_output, "output masks"),
        (_slice, "op slice_by_index is not allowed"),
        (_other_metadata, "metadata"),
        (_other_author, "author 'nobody'"),
        (_other_version, "specification 7"),
    ],
)
def test_damage_is_found(
    damage: Callable[[Any], None],
    message: str,
    spec: ExportSpec,
    description: Description,
    package: Path,
) -> None:
    assert problems(spec, description, "iOS17", package) == []
    model = read_model(package)
    damage(model)
    model_path(package).write_bytes(model.SerializeToString())
    (problem,) = problems(spec, description, "iOS17", package)
    assert message in problem


def test_too_many_ops(spec: ExportSpec, description: Description, package: Path) -> None:
    (problem,) = problems(replace(spec, max_nodes=0), description, "iOS17", package)
    assert problem == "5 ops, at most 4 allowed"


def test_another_description(spec: ExportSpec, description: Description, package: Path) -> None:
    other = replace(description, recipe={})
    (problem,) = problems(spec, other, "iOS17", package)
    assert problem == "the metadata in the package is not what the export declares"


def test_missing_functions(spec: ExportSpec, description: Description, package: Path) -> None:
    found = problems(spec, description, "iOS18", package)
    assert "functions are ['main'], declared ['batch_1', 'batch_32']" in found


def test_the_hash_covers_names_and_contents(package: Path) -> None:
    before = package_sha256(package)
    manifest = package / "Manifest.json"
    size = package_size(package)
    manifest.write_text(manifest.read_text() + " ")
    assert package_size(package) == size + 1
    changed = package_sha256(package)
    manifest.rename(package / "Other.json")
    assert len({before, changed, package_sha256(package)}) == 3
