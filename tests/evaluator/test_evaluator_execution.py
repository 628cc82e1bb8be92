"""Reading packages and running them: modes, functions, checks, damaged packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_programs import builder, coremltools, quiet, save_program
from voxport.export.coreml.tools import import_coremltools
from voxport.export.evaluator import (
    OpFailedError,
    ProgramFormatError,
    ResultMismatchError,
    UnknownOpError,
    UnsupportedOpError,
    WeightFileError,
    evaluate,
    load_program,
)
from voxport.export.evaluator import executor as executor_module
from voxport.runtime.errors import ArtifactError, InputError, MissingDependencyError

mb = builder()
X = np.array([[0.1, -0.2, 3.0], [1000.0, 2.0, -7.0]], np.float32)
WEIGHT = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def _network(x: Any) -> Any:
    return mb.relu(x=mb.linear(x=mb.square(x=x), weight=WEIGHT), name="out")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """square, linear (weights in a file), relu."""
    return save_program(_network, {"x": X}, tmp_path / "network.mlpackage")


def _edit(package: Path, change: Callable[[Any], None]) -> None:
    """Change the protobuf of a package."""
    (file,) = (package / "Data" / "com.apple.CoreML").glob("*.mlmodel")
    model = import_coremltools("proto.Model_pb2").Model()
    model.ParseFromString(file.read_bytes())
    change(model)
    file.write_bytes(model.SerializeToString())


def _block(model: Any) -> Any:
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def _op(model: Any, kind: str) -> Any:
    return next(each for each in _block(model).operations if each.type == kind)


def test_exact_mode_rounds_nothing(package: Path) -> None:
    program = load_program(package)
    assert program.ops == {"linear": 1, "relu": 1, "square": 1}
    outputs = program.run({"x": X})
    assert outputs["out"].dtype == np.float64
    expected = np.maximum(X.astype(np.float64) ** 2 @ WEIGHT.T.astype(np.float64), 0)
    np.testing.assert_allclose(outputs["out"], expected, rtol=1e-14)


def test_stored_mode_rounds_every_result_to_its_type(tmp_path: Path) -> None:
    x = np.array([[0.1, 300.0, 1e-4]], np.float16)
    package = save_program(
        lambda x: mb.mul(x=mb.square(x=x), y=np.float16(1e-2), name="out"),
        {"x": x},
        tmp_path / "h.mlpackage",
    )
    stored = evaluate(package, {"x": x}, mode="stored")["out"]
    # 300 squared is beyond FP16, and 1e-4 squared below its normal numbers.
    with np.errstate(over="ignore"):
        squares = (x.astype(np.float32) ** 2).astype(np.float16)
    expected = (squares.astype(np.float32) * np.float32(np.float16(1e-2))).astype(np.float16)
    assert stored.dtype == np.float16
    assert np.isposinf(stored[0, 1])
    np.testing.assert_array_equal(stored, expected)
    exact = evaluate(package, {"x": x})["out"]
    np.testing.assert_allclose(exact, x.astype(np.float64) ** 2 * float(np.float16(1e-2)))


def test_results_are_released_after_their_last_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chain(x: Any) -> Any:
        first = mb.square(x=x)
        for _ in range(6):
            x = mb.add(x=mb.square(x=x), y=first)
        return x

    package = save_program(chain, {"x": X}, tmp_path / "chain.mlpackage")
    alive: list[int] = []
    original = executor_module.Executor._results

    def spy(self: Any, operation: Any, kernel: Any, values: dict[str, Any]) -> Any:
        alive.append(sum(isinstance(each.content, torch.Tensor) for each in values.values()))
        return original(self, operation, kernel, values)

    monkeypatch.setattr(executor_module.Executor, "_results", spy)
    evaluate(package, {"x": X})
    assert max(alive) == 2


def test_a_program_runs_many_times_with_the_same_result(package: Path) -> None:
    program = load_program(package)
    first, again = (program.run({"x": X}, "stored")["out"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32


def test_sizes_known_at_run_time_only(tmp_path: Path) -> None:
    ct = coremltools()
    with quiet():
        size = ct.converters.mil.mil.get_new_symbol()

        @mb.program(input_specs=[mb.TensorSpec((size, 3))], opset_version=ct.target.iOS17)
        def program(x: Any) -> Any:
            return mb.reduce_sum(x=x, axes=[1], name="out")

        shape = ct.Shape((ct.RangeDim(1, 9), 3))
        model = ct.convert(
            program,
            inputs=[ct.TensorType("x", shape)],
            convert_to="mlprogram",
            skip_model_load=True,
        )
        model.save(str(tmp_path / "ranges.mlpackage"))
    loaded = load_program(tmp_path / "ranges.mlpackage")
    assert loaded.function().inputs[0].type.shape == (None, 3)
    for rows in (1, 5):
        x = np.ones((rows, 3), np.float32)
        np.testing.assert_allclose(loaded.run({"x": x})["out"], [3.0] * rows)


def test_packages_with_several_functions(tmp_path: Path) -> None:
    ct = coremltools()
    plan = ct.utils.MultiFunctionDescriptor()
    for rows in (1, 2):
        save_program(_network, {"x": X[:rows]}, tmp_path / f"{rows}.mlpackage", "iOS18")
        plan.add_function(str(tmp_path / f"{rows}.mlpackage"), "main", f"batch_{rows}")
    plan.default_function_name = "batch_2"
    with quiet():
        ct.utils.save_multifunction(plan, str(tmp_path / "both.mlpackage"))
    program = load_program(tmp_path / "both.mlpackage")
    assert program.functions == ("batch_2", "batch_1")
    both = program.run({"x": X})["out"]
    one = program.run({"x": X[:1]}, function="batch_1")["out"]
    np.testing.assert_allclose(one, both[:1])
    with pytest.raises(InputError, match="batch_3"):
        program.run({"x": X}, function="batch_3")


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"y": X},
        {"x": X, "y": X},
        {"x": X[:1]},
        {"x": X[0]},
        {"x": X.astype(np.int32)},
    ],
)
def test_refuses_inputs_that_do_not_fit(package: Path, inputs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"expected"):
        evaluate(package, inputs)


def test_refuses_unknown_modes(package: Path) -> None:
    with pytest.raises(InputError, match="approximate"):
        evaluate(package, {"x": X}, mode="approximate")  # type: ignore[arg-type]


def test_names_unknown_ops(package: Path) -> None:
    def change(model: Any) -> None:
        _op(model, "relu").type = "hyper_relu"

    _edit(package, change)
    assert load_program(package).ops["hyper_relu"] == 1
    with pytest.raises(UnknownOpError, match=r"'hyper_relu' \(1\)") as caught:
        evaluate(package, {"x": X})
    assert isinstance(caught.value, ArtifactError)


def test_names_unknown_and_missing_inputs_of_an_op(package: Path) -> None:
    def change(model: Any) -> None:
        inputs = _op(model, "relu").inputs
        inputs["slope"].CopyFrom(inputs["x"])
        del inputs["x"]

    _edit(package, change)
    with pytest.raises(UnsupportedOpError, match=r"'relu' \(output out\).*slope.*x"):
        evaluate(package, {"x": X})


@pytest.mark.parametrize(
    ("kind", "change", "found"),
    [
        ("relu", lambda declared: declared.dimensions[1].constant.__setattr__("size", 5), "4"),
        ("square", lambda declared: declared.__setattr__("dataType", 10), "fp32"),
        ("linear", lambda declared: declared.__setattr__("dataType", 23), "fp32"),
    ],
)
def test_results_must_be_what_the_program_declares(
    package: Path, kind: str, change: Callable[[Any], None], found: str
) -> None:
    _edit(package, lambda model: change(_op(model, kind).outputs[0].type.tensorType))
    with pytest.raises(ResultMismatchError, match=f"'{kind}'.*declared.*the result is.*{found}"):
        evaluate(package, {"x": X})


def test_operands_must_fit_together(package: Path) -> None:
    def change(model: Any) -> None:
        _op(model, "linear").inputs["x"].arguments[0].name = (
            _op(model, "linear").inputs["weight"].arguments[0].name
        )

    _edit(package, change)
    with pytest.raises((OpFailedError, ResultMismatchError), match="'linear'"):
        evaluate(package, {"x": X})


def test_a_damaged_weight_file_is_named(package: Path) -> None:
    (file,) = package.rglob("weight.bin")
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(WeightFileError, match=r"weight\.bin: offset .* outside of the file"):
        evaluate(package, {"x": X})
    file.unlink()
    with pytest.raises(WeightFileError, match=r"weight\.bin: cannot be read"):
        evaluate(package, {"x": X})


def test_an_offset_outside_of_the_weights_is_refused(package: Path) -> None:
    def change(model: Any) -> None:
        for operation in _block(model).operations:
            if operation.attributes["val"].HasField("blobFileValue"):
                operation.attributes["val"].blobFileValue.offset += 1 << 40
            elif operation.type != "const":
                # Asking a map for a key makes one.
                del operation.attributes["val"]

    _edit(package, change)
    with pytest.raises(WeightFileError, match="outside of the file"):
        evaluate(package, {"x": X})


def test_damaged_packages_are_refused(package: Path, tmp_path: Path) -> None:
    (file,) = package.rglob("*.mlmodel")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ProgramFormatError, match="not a Core ML model"):
        load_program(package)
    file.write_bytes(b"")
    with pytest.raises(ProgramFormatError, match="not an ML Program"):
        load_program(package)
    file.unlink()
    with pytest.raises(ProgramFormatError, match="expected one"):
        load_program(package)


def test_values_without_a_supported_type_are_refused(package: Path) -> None:
    def change(model: Any) -> None:
        _op(model, "relu").outputs[0].type.tensorType.dataType = 13

    _edit(package, change)
    with pytest.raises(ProgramFormatError, match="BFLOAT16"):
        load_program(package)


def test_says_what_is_missing_without_coremltools(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, *_: object) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(MissingDependencyError, match="pip install"):
        import_coremltools("proto.Model_pb2")
