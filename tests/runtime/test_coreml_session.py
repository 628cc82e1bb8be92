"""Core ML sessions on a Mac that is made up: loading, running, falling back.

The fake behind them is compared with the real coremltools, which is there on Linux too, but runs
nothing.
"""

from __future__ import annotations

import inspect
import json
import logging
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_coremltools as fake
import numpy as np
import pytest
from fake_coremltools import Behaviour, ComputeUnit
from tiny_artifacts import WEIGHT
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    DeviceError,
    InputError,
    Options,
    TensorSpec,
    VoxportError,
    load,
)
from voxport.runtime.coreml_session import (
    COMPUTE_UNITS,
    CoreMLSession,
    Platform,
    current_platform,
    placement,
)
from voxport.runtime.coreml_tools import import_coremltools, quiet
from voxport.runtime.probe import check_probe, measure_probe

X = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]], np.float32)
LINUX = Platform("Linux", "x86_64", ())


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Behaviour:
    return fake.install(monkeypatch)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """``linear`` as FP32 and FP16 package and as FP32 ONNX, ``batched`` as FP32 package."""
    rows = [fake.coreml_row(tmp_path, fake.linear(precision)) for precision in ("fp32", "fp16")]
    rows.append(fake.coreml_row(tmp_path, fake.batched(), rows=1))
    rows.append(fake.onnx_row(tmp_path))
    return fake.write_manifest(tmp_path, rows)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return fake.package(tmp_path / "net.mlpackage", fake.linear(), WEIGHT)


def coreml(models: Path, name: str = "linear", **options: Any) -> CoreMLSession:
    session = load(name, device="coreml", models=models, **options)
    assert isinstance(session, CoreMLSession)
    return session


def rewrite(models: Path, name: str, precision: str, **changes: Any) -> None:
    """Change a package's row in the manifest."""
    path = models / "manifest.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    (row,) = (
        row
        for row in data["artifacts"]
        if (row["format"], row["path"]) == ("coreml", f"{name}.{precision}.mlpackage")
    )
    row.update(changes)
    path.write_text(json.dumps(data), encoding="utf-8")


# Loading and running


def test_load_and_run(models: Path, mac: Behaviour) -> None:
    session = coreml(models, precision="fp32")
    outputs = session.run(x=X)
    assert list(outputs) == ["y"]
    assert (outputs["y"].dtype, outputs["y"].flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(outputs["y"], X @ WEIGHT)
    assert repr(session).startswith("<linear fp32 on coreml: ")


def test_auto_precision_is_fp16_where_there_is_such_a_package(models: Path, mac: Behaviour) -> None:
    assert coreml(models).description.precision == "fp16"
    assert coreml(models, "batched").description.precision == "fp32"


@pytest.mark.parametrize("units", COMPUTE_UNITS)
def test_compute_units_are_passed_on(models: Path, mac: Behaviour, units: Any) -> None:
    assert coreml(models, options=Options(compute_units=units)).compute_units == units
    assert mac.loads == [("linear.fp16.mlpackage", units.upper(), None)]


def test_unknown_compute_units(package: Path, mac: Behaviour) -> None:
    with pytest.raises(DeviceError, match=r"'cpu_and_ne'.*got 'gpu'"):
        CoreMLSession(package, compute_units="gpu")  # type: ignore[arg-type]


def test_loading_asks_the_probe_which_warms_up(models: Path, mac: Behaviour) -> None:
    coreml(models)
    assert mac.calls == [None]


def test_load_by_path_needs_no_manifest(package: Path, mac: Behaviour) -> None:
    for session in (load(package), load(str(package), device="coreml", precision="fp32")):
        assert session.device == "coreml"
        np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)
    with pytest.raises(ArtifactError, match="is fp32, not fp16"):
        load(package, precision="fp16")
    with pytest.raises(DeviceError, match="is a Core ML package, which runs on coreml only"):
        load(package, device="cpu")
    with pytest.raises(DeviceError, match=r"net\.onnx is an ONNX file, which runs on cpu, cuda"):
        load("net.onnx", device="coreml")


def test_inputs_are_checked_and_kept(package: Path, mac: Behaviour) -> None:
    session = CoreMLSession(package)
    with pytest.raises(InputError, match="x has 1 rows, but needs at least 2"):
        session.run(x=X[:1])
    x = X.copy()
    session.run(x=x)
    np.testing.assert_array_equal(x, X)


def test_outputs_are_not_overwritten_by_the_next_run(package: Path, mac: Behaviour) -> None:
    session = CoreMLSession(package)
    first = session.run(x=X)["y"]
    session.run(x=X + 1)
    np.testing.assert_array_equal(first, X @ WEIGHT)


def test_one_call_at_a_time(package: Path, mac: Behaviour) -> None:
    session = CoreMLSession(package)
    mac.wait_s = 0.002
    batches = [X * factor for factor in range(1, 25)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: session.run(x=batch)["y"], batches))
    for one, batch in zip(found, batches, strict=True):
        np.testing.assert_array_equal(one, batch @ WEIGHT)
    assert not mac.overlapped


# Packages with a function for each batch size


def test_functions_are_chosen_by_batch_and_loaded_when_needed(models: Path, mac: Behaviour) -> None:
    session = coreml(models, "batched")
    assert session.functions == ("batch_1", "batch_4")
    assert [load[2] for load in mac.loads] == ["batch_1"]
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    for batch in (x, x[:1], x):
        np.testing.assert_array_equal(session.run(x=batch)["y"], batch @ WEIGHT)
    assert [load[2] for load in mac.loads] == ["batch_1", "batch_4"]
    # The probe's call comes first.
    assert mac.calls == ["batch_1", "batch_4", "batch_1", "batch_4"]


def test_other_batches_are_refused(models: Path, mac: Behaviour) -> None:
    with pytest.raises(InputError, match="x has 2 batch, but takes 1 or 4"):
        coreml(models, "batched").run(x=X)


def test_a_package_without_its_functions(tmp_path: Path, mac: Behaviour) -> None:
    path = fake.package(tmp_path / "net.mlpackage", fake.batched(), WEIGHT)
    single = replace(fake.batched(), sizes={"batch": (4, 8)})
    (path / "Data" / "signature.json").write_text(single.to_json(), encoding="utf-8")
    with pytest.raises(ArtifactError, match="no function batch_1; there are: batch_4, batch_8"):
        CoreMLSession(path)


# Where operations run


def test_placement(models: Path, mac: Behaviour) -> None:
    # Constants count for nothing, nested blocks do.
    counts = {"cpu": 1, "gpu": 1, "neural engine": 2}
    assert placement(coreml(models)) == {"main": counts}
    assert placement(coreml(models, "batched")) == {"batch_1": counts, "batch_4": counts}


def test_placement_that_cannot_be_had(
    models: Path, mac: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = coreml(models)
    mac.plan_fails = True
    with pytest.raises(DeviceError, match="MLComputePlan is not supported"):
        placement(session)
    mac.plan_fails = False
    fake.set_platform(monkeypatch, replace(fake.MAC, macos=(14, 3)))
    with pytest.raises(DeviceError, match=r"from macOS 14\.4 on"):
        placement(session)


# Other machines


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        (LINUX, "runs on macOS only, and this is Linux: use device='cpu'"),
        (Platform("Windows", "AMD64", ()), "runs on macOS only, and this is Windows"),
        (
            replace(fake.MAC, macos=(13, 6, 1)),
            r"need macOS 14\.0 or later, and this is .* 13\.6\.1",
        ),
    ],
)
def test_machines_without_core_ml(
    package: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform, message: str
) -> None:
    behaviour = fake.install(monkeypatch, platform)
    for name in ("linear", package):
        with pytest.raises(DeviceError, match=message):
            # Before anything else: there is no such folder.
            load(name, device="coreml", models="no such folder")
    assert behaviour.loads == []


def test_this_machine_is_known() -> None:
    here = current_platform()
    assert here.system == {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[sys.platform]
    assert bool(here.macos) == (sys.platform == "darwin")


@pytest.mark.parametrize("platform", [LINUX, replace(fake.MAC, machine="x86_64")])
def test_auto_is_the_cpu_off_apple_silicon(
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    platform: Platform,
) -> None:
    fake.install(monkeypatch, platform)
    assert load("linear", models=models).device == "cpu"
    assert caplog.records == []


def test_auto_is_core_ml_on_apple_silicon(models: Path, mac: Behaviour) -> None:
    session = load("linear", models=models)
    assert (session.device, session.description.precision) == ("coreml", "fp16")
    assert load("linear", precision="fp32", models=models).device == "coreml"


def test_auto_without_a_package_or_coremltools(
    models: Path, mac: Behaviour, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "onnx").mkdir()
    only_onnx = fake.write_manifest(tmp_path / "onnx", [fake.onnx_row(tmp_path / "onnx")])
    assert load("linear", models=only_onnx).device == "cpu"
    monkeypatch.setitem(sys.modules, "coremltools", None)
    assert load("linear", models=models).device == "cpu"


def test_auto_falls_back_and_says_why(
    models: Path, mac: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    mac.scale = 2.0
    session = load("linear", models=models)
    np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)
    assert (session.device, session.description.precision) == ("cpu", "fp32")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("voxport", logging.WARNING)
    assert "linear: runs on cpu instead of coreml: " in record.getMessage()
    assert "wrong answers" in record.getMessage()
    assert (session.plan.requested, session.plan.is_fallback) == ("auto", True)
    assert "coreml failed: linear fp16 on coreml gives wrong answers" in session.plan.reasons[0]
    assert "was requested" not in str(session.plan.reasons)


def test_cpu_means_the_cpu(models: Path, mac: Behaviour) -> None:
    assert load("linear", device="cpu", models=models).device == "cpu"
    assert mac.loads == []


def test_missing_coremltools(models: Path, mac: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(
        DeviceError, match=r"coremltools is missing: pip install 'voxport\[coreml\]'"
    ):
        coreml(models)


# Falling back when asked


@pytest.mark.parametrize("case", ["linux", "missing", "refused", "raises", "wrong", "nan"])
def test_fallback(
    case: str,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mac = fake.install(monkeypatch, LINUX if case == "linux" else fake.MAC)
    if case == "missing":
        monkeypatch.setitem(sys.modules, "coremltools", None)
    mac.refuses = "no room" if case == "refused" else ""
    mac.raises = RuntimeError("lost") if case == "raises" else None
    mac.scale = 1.5 if case == "wrong" else 1.0
    mac.nan = case == "nan"
    reason = {
        "linux": "needs macOS; this is Linux",
        "missing": "the package coremltools is missing: pip install",
        "refused": "no room",
        "raises": "lost",
        "wrong": "off by 0.5",
        "nan": "off by inf",
    }[case]
    alone = "runs on macOS only, and this is Linux: use" if case == "linux" else reason
    with pytest.raises(DeviceError, match=alone):
        load("linear", device="coreml", models=models)
    assert caplog.records == []
    session = load("linear", device="coreml", models=models, fallback=True)
    assert (session.device, session.description.precision) == ("cpu", "fp32")
    np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert reason in record.getMessage()
    assert (session.plan.requested, session.plan.is_fallback) == ("coreml", True)
    assert reason in session.plan.reasons[0]


def test_no_fallback_from_files_that_are_wrong(models: Path, mac: Behaviour) -> None:
    np.save(models / "linear.fp16.mlpackage" / "Data" / "matrix.npy", WEIGHT + 1)
    with pytest.raises(ArtifactError, match=r"SHA-256 is .* the file has changed since"):
        load("linear", device="coreml", models=models, fallback=True)
    assert mac.loads == []


def test_a_probe_that_fails_names_figures_and_what_to_try(models: Path, mac: Behaviour) -> None:
    mac.scale = 1.03
    expected = (
        r"linear fp16 on coreml gives wrong answers: its probe is off by 0\.03, and fp16 allows "
        r"0\.02\. It ran with compute units cpu_and_ne; try others, precision='fp32', or "
        r"device='cpu'\."
    )
    with pytest.raises(DeviceError, match=expected):
        coreml(models, options=Options(compute_units="cpu_and_ne"))
    mac.scale = 1.01
    assert coreml(models).device == "coreml"


# What may be wrong with packages and manifests


@pytest.mark.parametrize("change", ["byte", "extra", "renamed", "gone"])
def test_any_change_of_a_package_is_found(models: Path, mac: Behaviour, change: str) -> None:
    path = models / "linear.fp16.mlpackage"
    if change == "byte":
        content = bytearray((path / "Data" / "matrix.npy").read_bytes())
        content[-1] ^= 1
        (path / "Data" / "matrix.npy").write_bytes(content)
    elif change == "extra":
        (path / "extra").write_text("", encoding="utf-8")
    elif change == "renamed":
        (path / "Manifest.json").rename(path / "manifest.json")
    else:
        shutil.rmtree(path)
    error = ArtifactNotFoundError if change == "gone" else ArtifactError
    with pytest.raises(error, match="no such package" if change == "gone" else "SHA-256"):
        coreml(models)


def test_rows_without_a_package(models: Path, mac: Behaviour) -> None:
    with pytest.raises(
        ArtifactNotFoundError, match=r"no coreml w8 variant; there are: .*coreml fp16"
    ):
        coreml(models, precision="w8")
    with pytest.raises(ArtifactNotFoundError, match="there are: batched, linear"):
        coreml(models, "other")


def test_a_package_that_the_manifest_does_not_describe(models: Path, mac: Behaviour) -> None:
    described = json.loads(fake.linear("fp16").to_json())
    described.pop("schema_version")
    rewrite(models, "linear", "fp16", description={**described, "voxport_version": "9"})
    with pytest.raises(ArtifactError, match="is not what the manifest describes"):
        coreml(models)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ({}, "has no probe, .* `voxport export` again"),
        ({"inputs": {"x": [1, 3]}, "outputs": {}}, "its probe does not fit it: .* at least 2"),
        ({"inputs": {"x": [4, 3]}, "outputs": {}}, "its probe has no answers"),
        ({"inputs": {"x": "4"}, "outputs": {}}, "its probe has no shapes"),
        (
            {"inputs": {"x": [4, 3]}, "outputs": {"y": {"shape": [4, 2], "values": [1]}}},
            "its probe has a damaged answer",
        ),
        ({"inputs": {"x": [4, 3]}, "outputs": {"y": {"shape": 4}}}, "has a damaged answer"),
    ],
)
def test_probes_that_say_nothing(models: Path, mac: Behaviour, probe: Any, message: str) -> None:
    rewrite(models, "linear", "fp16", probe=probe)
    # Not even with a fallback: the manifest is wrong, not the device.
    with pytest.raises(ArtifactError, match=message) as caught:
        coreml(models, fallback=True)
    assert "linear.fp16.mlpackage" in str(caught.value)


def test_a_precision_without_a_tolerance(tmp_path: Path, mac: Behaviour) -> None:
    fake.write_manifest(tmp_path, [fake.coreml_row(tmp_path, fake.linear("fp4"))])
    with pytest.raises(ArtifactError, match="'fp4' is not one of"):
        coreml(tmp_path, precision="fp4")


def test_a_missing_package(tmp_path: Path, mac: Behaviour) -> None:
    with pytest.raises(ArtifactNotFoundError, match=r"none\.mlpackage: no such package"):
        load(tmp_path / "none.mlpackage")


def test_an_unreadable_package(tmp_path: Path, mac: Behaviour) -> None:
    (tmp_path / "empty.mlpackage").mkdir()
    with pytest.raises(ArtifactError, match=r"empty\.mlpackage: coremltools cannot read it"):
        load(tmp_path / "empty.mlpackage")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("", r"net\.mlpackage: has no voxport metadata"),
        ("hello", r"net\.mlpackage: not valid JSON"),
        ('{"schema_version": 99}', r"net\.mlpackage: schema version 99"),
    ],
)
def test_metadata_that_is_no_description(
    package: Path, mac: Behaviour, metadata: str, message: str
) -> None:
    (package / "Data" / "description.json").write_text(metadata, encoding="utf-8")
    with pytest.raises(ArtifactError, match=message):
        load(package)


GOOD_X = TensorSpec("x", "float32", ("rows", 3))
GOOD_Y = TensorSpec("y", "float32", ("rows", 2))


@pytest.mark.parametrize(
    ("kind", "specs"),
    [
        ("inputs", (replace(GOOD_X, name="z"),)),
        ("inputs", (replace(GOOD_X, dtype="int32"),)),
        ("inputs", (GOOD_X, replace(GOOD_X, name="z"))),
        ("outputs", (replace(GOOD_Y, name="z"),)),
        ("outputs", ()),
    ],
)
def test_metadata_that_contradicts_the_program(
    package: Path, mac: Behaviour, kind: str, specs: tuple[TensorSpec, ...]
) -> None:
    changes: dict[str, Any] = {kind: specs}
    text = replace(fake.linear(), **changes).to_json()
    (package / "Data" / "signature.json").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=f"declares the {kind} .*, but has "):
        load(package)


# What may go wrong at run time


@pytest.mark.parametrize("action", ["always", "ignore", "error"])
def test_a_package_that_core_ml_refuses(package: Path, mac: Behaviour, action: Any) -> None:
    # coremltools' warning holds the reason, whatever the caller does with warnings.
    mac.refuses = "needs a newer system"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        with pytest.raises(DeviceError, match=r"needs a newer system.*iOS 18 macOS 15"):
            load(package)
    assert caught == []


@pytest.mark.parametrize("error", [RuntimeError("lost"), ValueError("lost"), Exception("lost")])
def test_a_prediction_that_fails(package: Path, mac: Behaviour, error: Exception) -> None:
    session = CoreMLSession(package)
    mac.raises = error
    with pytest.raises(VoxportError, match=r"linear failed on \{'x': \(2, 3\)\}: Core ML: lost"):
        session.run(x=X)
    # And it serves on.
    mac.raises = None
    np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"renamed": "z"}, "Core ML gave no y, only z"),
        ({"flat": True}, r"Core ML gave float32\[4\] for y: float32\[rows, 2\]"),
        ({"dtype": np.str_}, "Core ML gave <U.* for y"),
    ],
)
def test_outputs_that_are_not_the_declared_ones(
    package: Path, mac: Behaviour, change: dict[str, Any], message: str
) -> None:
    session = CoreMLSession(package)
    for name, value in change.items():
        setattr(mac, name, value)
    with pytest.raises(VoxportError, match=message):
        session.run(x=X)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_float32(package: Path, mac: Behaviour, dtype: type) -> None:
    mac.dtype = dtype
    y = CoreMLSession(package).run(x=X)["y"]
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, X @ WEIGHT)


# The probe, for any session


def test_the_probe_of_another_session(tmp_path: Path, mac: Behaviour) -> None:
    row = fake.coreml_row(tmp_path, fake.linear())
    fake.write_manifest(tmp_path, [row, fake.onnx_row(tmp_path)])
    # The answers are kept with five digits.
    assert check_probe(load("linear", device="cpu", models=tmp_path), row) < 1e-4
    wrong = load(fake.package(tmp_path / "wrong.mlpackage", fake.linear(), WEIGHT * 1.01))
    assert measure_probe(wrong, row) == pytest.approx(0.01, rel=0.01)
    with pytest.raises(DeviceError, match=r"off by 0\.01, and fp32 allows 0\.001\.$"):
        check_probe(wrong, row)
    renamed = load(fake.package(tmp_path / "renamed.mlpackage", fake.linear(), WEIGHT))
    mac.renamed = "z"
    with pytest.raises(DeviceError, match=r"on coreml failed its probe: .* gave no y"):
        check_probe(renamed, row)


# The fake, and the real one


def test_importing_the_runtime_does_not_import_coremltools() -> None:
    code = "import sys, voxport.runtime.check_coreml; print('coremltools' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.strip() == "False"


def test_the_fake_has_the_signatures_of_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = import_coremltools()
    fake.install(monkeypatch)
    made_up = sys.modules["coremltools"]
    assert {unit.name: unit.value for unit in real.ComputeUnit} == {
        unit.name: unit.value for unit in ComputeUnit
    }
    for path in (
        "models.MLModel.__init__",
        "models.MLModel.predict",
        "models.MLModel.get_spec",
        "models.MLModel.get_compiled_model_path",
        "models.compute_plan.MLComputePlan.load_from_path",
        "models.compute_plan.MLComputePlan.get_compute_device_usage_for_mlprogram_operation",
    ):
        ours, theirs = (_parameters(module, path) for module in (made_up, real))
        assert set(ours) <= set(theirs), path
        for name, default in ours.items():
            assert getattr(default, "name", default) == getattr(
                theirs[name], "name", theirs[name]
            ), (path, name)
    for name in ("MLCPUComputeDevice", "MLGPUComputeDevice", "MLNeuralEngineComputeDevice"):
        assert hasattr(real.models.compute_device, name)
    plan = real.models.compute_plan
    assert {"operator_name", "blocks"} <= set(
        plan.MLModelStructureProgramOperation.__dataclass_fields__
    )
    assert "preferred_compute_device" in plan.MLComputePlanDeviceUsage.__dataclass_fields__


def _parameters(module: Any, path: str) -> dict[str, Any]:
    """The defaults of a function's parameters by name."""
    function = module
    for part in path.split("."):
        function = getattr(function, part)
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
    }


@pytest.fixture(scope="module")
def real_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real package of ``linear``, as coremltools writes it."""
    coremltools = import_coremltools()
    path = tmp_path_factory.mktemp("real") / "linear.mlpackage"
    with quiet():
        builder = coremltools.converters.mil.Builder

        @builder.program(input_specs=[builder.TensorSpec(shape=(4, 3))])  # type: ignore[untyped-decorator]
        def program(x: Any) -> Any:
            return builder.matmul(x=x, y=WEIGHT, name="y")

        model = coremltools.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS17,
            compute_precision=coremltools.precision.FLOAT32,
            skip_model_load=True,
        )
        model.user_defined_metadata["voxport"] = fake.linear().to_json()
        model.save(str(path))
    return path


def test_a_real_package_is_read_and_refused_where_core_ml_is_not(
    real_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "darwin":
        pytest.skip("Core ML is here")
    fake.set_platform(monkeypatch, fake.MAC)
    # Its inputs and outputs have been compared by then.
    with pytest.raises(DeviceError, match="was not loaded or compiled with the Core ML Framework"):
        CoreMLSession(real_package)


def test_a_real_package_with_other_inputs(
    real_package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake.set_platform(monkeypatch, fake.MAC)
    path = tmp_path / "other.mlpackage"
    with quiet():
        model = import_coremltools().models.MLModel(str(real_package), skip_model_load=True)
        wrong = replace(fake.linear(), inputs=(replace(GOOD_X, name="z"),))
        model.user_defined_metadata["voxport"] = wrong.to_json()
        model.save(str(path))
    with pytest.raises(ArtifactError, match=r"inputs z: float32, but has x: float32"):
        CoreMLSession(path)


@pytest.mark.skipif(sys.platform != "darwin", reason="Core ML runs on macOS only")
def test_a_real_package_on_a_real_mac(real_package: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    session = load(real_package, options=Options(compute_units="cpu_only"))
    np.testing.assert_allclose(session.run(x=x)["y"], x @ WEIGHT, rtol=1e-3)
