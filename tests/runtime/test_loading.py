"""Which device ``load`` takes, on machines that are made up, and what it says of it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_coremltools as fake
import numpy as np
import onnxruntime
import pytest
import tiny_artifacts
from environments import ENVIRONMENTS
from onnx import helper
from tiny_artifacts import WEIGHT, linear, publish
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    DeviceError,
    Options,
    OptionsError,
    TensorSpec,
    VoxportError,
    load,
    loading,
    tune,
)
from voxport.runtime.manifest import MANIFEST_NAME, Manifest
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.probe import probe_record
from voxport.runtime.synthetic import probe_inputs

X = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 0.5]], np.float32)
WITHOUT_CUDA = "the session runs on CPUExecutionProvider without CUDAExecutionProvider"
Use = Callable[[str], None]

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="needs an ONNX Runtime without CUDA",
)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Makes ``load`` believe to be on a machine of ``ENVIRONMENTS``."""

    def chosen(name: str) -> None:
        monkeypatch.setattr(loading, "known_environment", lambda: ENVIRONMENTS[name])

    return chosen


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``linear`` in FP32, FP16 and INT8, and ``batched``; FP32 with its probe."""
    monkeypatch.setenv("VOXPORT_CACHE", str(tmp_path / "cache"))
    artifacts = [linear(precision=precision) for precision in ("fp32", "fp16", "int8")]
    folder = publish(tmp_path / "models", [*artifacts, batched()])
    inputs = probe_inputs({"x": (4, 3)})
    set_probe(folder, probe_record({"x": (4, 3)}, {"y": inputs["x"] @ WEIGHT}))
    return folder


def batched() -> tuple[Any, bytes]:
    described = tiny_artifacts.description(
        "batched",
        [TensorSpec("x", "float32", ("batch", 3))],
        [TensorSpec("y", "float32", ("batch", 2))],
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return described, tiny_artifacts.graph(described, nodes, {"w": WEIGHT})


def set_probe(models: Path, probe: dict[str, Any]) -> None:
    """Give ``linear`` in FP32 this question."""
    path = models / MANIFEST_NAME
    rows = [
        replace(row, probe=probe) if row.key == ("linear", "onnx", "fp32") else row
        for row in Manifest.read(path).artifacts
    ]
    path.write_text(Manifest(tuple(rows)).to_json(), encoding="utf-8")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


# A named device is strict


@pytest.mark.parametrize(
    ("machine", "device", "message"),
    [
        ("linux", "cuda", "no NVIDIA card was found"),
        ("linux", "gpu", "device 'gpu' cannot be used: no NVIDIA card"),
        ("linux", "tensorrt", "no NVIDIA card was found"),
        ("card", "cuda:1", "there is no card 1"),
        ("card, cpu wheel", "cuda", r"without CUDAExecutionProvider.*pip install .*voxport\[gpu\]"),
        ("card, both wheels", "cuda", "installed together, overwrite each other.*pip uninstall"),
        ("card, no cuDNN", "cuda", r"libcudnn\.so\.9 cannot be found: pip install"),
        ("card, old driver", "cuda", "update NVIDIA's driver"),
        ("card", "tensorrt", "TensorRT 10.* cannot be found: pip install 'tensorrt-cu13<11'"),
        ("linux, no ORT", "cpu", r"ONNX Runtime is not installed: .*voxport\[cpu\]"),
        ("linux, broken ORT", "cpu", "cannot be imported .DLL load failed.*pip uninstall"),
        ("apple", "cuda", "there is no CUDA for macOS"),
    ],
)
def test_a_named_device_or_an_error_that_helps(
    machine: str, device: str, message: str, models: Path, use: Use
) -> None:
    use(machine)
    with pytest.raises(DeviceError, match=message):
        load("linear", device=device, models=models)


def test_the_provider_is_there_but_does_not_run(models: Path, use: Use) -> None:
    # The machine that is made up has CUDA, this ONNX Runtime has not: as where it cannot load it.
    use("card")
    with pytest.raises(DeviceError, match=f"cuda:0 was asked for, but {WITHOUT_CUDA}"):
        load("linear", device="cuda", models=models)


def test_options_that_contradict_the_device(models: Path, use: Use) -> None:
    use("two cards")
    with pytest.raises(OptionsError, match=r"device is 'cuda:1', but options\.device_id is 2"):
        load("linear", device="cuda:1", models=models, options=Options(device_id=2))


# Falling back


@pytest.mark.parametrize(
    ("machine", "device", "reason"),
    [
        ("linux", "cuda", "'cuda' cannot be used: no NVIDIA card was found"),
        ("card, no cuDNN", "cuda", "'cuda' cannot be used: .* pip install"),
        ("card, old driver", "auto", "cpu is the first usable device; .* update NVIDIA's driver"),
        ("linux", "coreml", "'coreml' cannot be used: .* needs macOS; this is Linux"),
    ],
)
def test_a_fallback_is_told(
    machine: str,
    device: str,
    reason: str,
    models: Path,
    use: Use,
    caplog: pytest.LogCaptureFixture,
) -> None:
    use(machine)
    session = load("linear", device=device, models=models, fallback=True)
    np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)
    assert (session.device, session.description.precision) == ("cpu", "fp32")
    assert (session.plan.requested, session.plan.is_fallback) == (device, True)
    (warning,) = warnings_of(caplog)
    assert warning == f"linear: {session.plan}"
    assert warning.startswith(f"linear: cpu (fallback from {device!r}): ")
    assert re.search(reason, warning)


@pytest.mark.parametrize(("device", "fallback"), [("auto", False), ("cuda", True)])
def test_a_card_that_fails_at_loading(
    device: str, fallback: bool, models: Path, use: Use, caplog: pytest.LogCaptureFixture
) -> None:
    use("card")
    session = load("linear", device=device, models=models, fallback=fallback)
    np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)
    assert (session.device, session.plan.device) == ("cpu", "cpu")
    assert (session.plan.requested, session.plan.is_fallback) == (device, True)
    assert session.plan.reasons[0] == f"cuda:0 failed: {WITHOUT_CUDA}"
    assert session.remarks == (WITHOUT_CUDA,)
    assert warnings_of(caplog) == [f"{models / 'linear.fp32.onnx'}: {WITHOUT_CUDA}"]


@pytest.mark.parametrize(("device", "fallback"), [("auto", False), ("cuda", True), ("cuda", False)])
def test_a_session_that_cannot_be_made_on_the_card(
    device: str,
    fallback: bool,
    models: Path,
    use: Use,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OnlyCpu(OnnxSession):
        def __init__(self, content: bytes, source: str, **choices: Any) -> None:
            if choices["plan"].device != "cpu":
                raise DeviceError("cuDNN is broken")
            super().__init__(content, source, **choices)

    monkeypatch.setattr(loading, "OnnxSession", OnlyCpu)
    use("card")
    if device == "cuda" and not fallback:
        with pytest.raises(DeviceError, match="cuDNN is broken"):
            load("linear", device=device, models=models)
        return
    session = load("linear", device=device, models=models, fallback=fallback)
    assert (session.device, session.plan.is_fallback, session.plan.strict) == ("cpu", True, False)
    assert session.plan.requested == device
    assert session.plan.reasons == ("cuda:0 failed: cuDNN is broken",)
    assert warnings_of(caplog) == ["linear: runs on cpu instead of cuda:0: cuDNN is broken"]


def test_nothing_to_fall_back_to(models: Path, use: Use) -> None:
    use("card, no ORT")
    with pytest.raises(DeviceError, match=r"'cuda' cannot be used: .*no device can be used"):
        load("linear", device="cuda", models=models, fallback=True)


def test_unknown_devices_are_no_reason_to_fall_back(models: Path, use: Use) -> None:
    use("linux")
    with pytest.raises(DeviceError, match="there is no device 'cdua'"):
        load("linear", device="cdua", models=models, fallback=True)


def test_damaged_files_are_no_reason_to_fall_back(models: Path, use: Use) -> None:
    use("card")
    (models / "linear.fp32.onnx").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="SHA-256"):
        load("linear", models=models, fallback=True)


# What is said where all is well


def test_the_device_is_logged(models: Path, use: Use, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "voxport")
    use("linux")
    session = load("linear", models=models)
    assert (session.device, session.plan.requested, session.remarks) == ("cpu", "auto", ())
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.INFO, f"linear: {session.plan}")
    assert "cuda:0 was passed over: no NVIDIA card was found" in record.getMessage()
    caplog.clear()
    load(models / "linear.fp32.onnx", device="cpu")
    assert caplog.messages == [
        f"{models / 'linear.fp32.onnx'}: cpu (requested 'cpu'): 'cpu' was requested"
    ]


def test_a_machine_without_a_card_is_no_fallback(
    models: Path, use: Use, caplog: pytest.LogCaptureFixture
) -> None:
    use("linux")
    assert not load("linear", models=models).plan.is_fallback
    assert warnings_of(caplog) == []


# Precisions


@pytest.mark.parametrize(
    ("precision", "found"),
    [("auto", "fp32"), ("fp32", "fp32"), ("fp16", "fp16"), ("int8", "int8")],
)
def test_precisions(precision: str, found: str, models: Path, use: Use) -> None:
    use("linux")
    session = load("linear", precision=precision, models=models)
    assert session.description.precision == found


def test_an_artifact_without_the_automatic_precision(tmp_path: Path, use: Use) -> None:
    use("linux")
    folder = publish(tmp_path, [linear(precision="int8")])
    with pytest.raises(
        ArtifactNotFoundError, match=r"no fp32 onnx variant; there are: int8. Name a precision"
    ):
        load("linear", models=folder)
    assert load("linear", precision="int8", models=folder).description.precision == "int8"


def test_a_precision_that_only_another_format_has(tmp_path: Path, use: Use) -> None:
    rows = [fake.onnx_row(tmp_path), fake.coreml_row(tmp_path, fake.linear("fp16"))]
    folder = fake.write_manifest(tmp_path, rows)
    use("linux")
    there = "there are: coreml fp16, onnx fp32"
    with pytest.raises(ArtifactNotFoundError, match=f"no onnx fp16 variant; {there}"):
        load("linear", device="cpu", precision="fp16", models=folder)
    with pytest.raises(DeviceError, match="there is no ONNX file of this artifact"):
        load("linear", precision="fp16", models=folder)


# By path


def test_by_path_with_and_without_a_manifest(models: Path, use: Use) -> None:
    use("linux")
    path = models / "linear.fp32.onnx"
    # Neither is needed to run it: the manifest says something else of it, or nothing.
    (models / MANIFEST_NAME).write_text("{}", encoding="utf-8")
    assert load(path).description == linear()[0]
    (models / MANIFEST_NAME).unlink()
    assert load(path).description == linear()[0]
    with pytest.raises(ArtifactNotFoundError, match="no manifest at"):
        load(path, self_check=True)


def test_a_path_and_a_device_that_do_not_fit(tmp_path: Path, use: Use) -> None:
    use("linux")
    path = tmp_path / "net.mlpackage"
    for device in ("cpu", "cuda"):
        with pytest.raises(DeviceError, match=r"net\.mlpackage is a Core ML package, which runs"):
            load(path, device=device)
    with pytest.raises(
        DeviceError, match=r"'cpu' cannot be used: there is no ONNX file.*no device can be used"
    ):
        load(path, device="cpu", fallback=True)
    with pytest.raises(DeviceError, match="runs on macOS only, and this is"):
        load(path)


def test_a_file_falls_back_from_core_ml(models: Path, use: Use) -> None:
    use("linux")
    session = load(models / "linear.fp32.onnx", device="coreml", fallback=True)
    assert (session.device, session.plan.is_fallback) == ("cpu", True)


# The question with a known answer


def test_a_right_answer(models: Path, use: Use) -> None:
    use("linux")
    for name in ("linear", models / "linear.fp32.onnx"):
        session = load(name, models=models, self_check=True)
        np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)


@pytest.mark.parametrize("by_path", [False, True])
def test_a_wrong_answer(
    by_path: bool, models: Path, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("linux")
    closed: list[OnnxSession] = []

    def released(session: OnnxSession) -> None:
        closed.append(session)

    monkeypatch.setattr(OnnxSession, "_release", released)
    inputs = probe_inputs({"x": (4, 3)})
    set_probe(models, probe_record({"x": (4, 3)}, {"y": 1.01 * inputs["x"] @ WEIGHT}))
    name = models / "linear.fp32.onnx" if by_path else "linear"
    message = r"linear fp32 on cpu gives wrong answers: its probe is off by 0\.0099, .*voxport doct"
    with pytest.raises(DeviceError, match=message):
        load(name, models=models, self_check=True)
    # What gave it does not keep its memory.
    assert len(closed) == 1
    # Nobody asked.
    load(name, models=models)


def test_a_wrong_answer_of_a_card_falls_back(
    models: Path, use: Use, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Card(OnnxSession):
        """On "cuda:0" as far as it says, and wrong there."""

        def __init__(self, content: bytes, source: str, **choices: Any) -> None:
            self._wrong = choices["plan"].device != "cpu"
            plan = choices.pop("plan")
            super().__init__(content, source, **choices)
            self.plan, self.device = plan, plan.device

        def _compute(self, inputs: Any) -> Any:
            outputs = super()._compute(inputs)
            return {"y": outputs["y"] * (2 if self._wrong else 1)}

    monkeypatch.setattr(loading, "OnnxSession", Card)
    use("card")
    with pytest.raises(DeviceError, match="linear fp32 on cuda:0 gives wrong answers"):
        load("linear", device="cuda", models=models, self_check=True)
    session = load("linear", models=models, self_check=True)
    assert session.device == "cpu"
    np.testing.assert_array_equal(session.run(x=X)["y"], X @ WEIGHT)
    assert "cuda:0 failed: linear fp32 on cuda:0 gives wrong answers" in session.plan.reasons[0]
    assert "runs on cpu instead of cuda:0" in warnings_of(caplog)[0]


def test_a_row_without_a_question(models: Path, use: Use) -> None:
    use("linux")
    for name in ("batched", models / "batched.fp32.onnx"):
        with pytest.raises(ArtifactError, match="has no probe"):
            load(name, models=models, self_check=True)


def test_a_file_that_the_manifest_does_not_list(models: Path, use: Use) -> None:
    use("linux")
    other = models / "other.onnx"
    other.write_bytes(linear()[1])
    with pytest.raises(ArtifactError, match=r"manifest\.json does not list it"):
        load(other, self_check=True)


# Batch sizes


def test_the_batch_size_of_the_device(
    models: Path, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, int] = {}

    class Asked(OnnxSession):
        def __init__(self, content: bytes, source: str, **choices: Any) -> None:
            asked[choices["plan"].device] = choices["batch_size"]
            super().__init__(content, source, **choices)

    monkeypatch.setattr(loading, "OnnxSession", Asked)
    use("two cards")
    for device in ("cpu", "cuda:0", "cuda:1"):
        for options in (Options(), Options(batch_buckets=(1, 4))):
            try:
                load("batched", device=device, models=models, options=options)
            except DeviceError:  # there is no such card here, but it was asked for
                assert device != "cpu"
    assert asked == {"cpu": 8, "cuda:0": 64, "cuda:1": 64}
    assert load("batched", device="cpu", models=models).batch_size == 8
    assert load("linear", device="cpu", models=models).batch_size == 1


def test_a_tuned_batch_size_is_remembered(models: Path, use: Use, tmp_path: Path) -> None:
    use("linux")
    chosen = tune(load("batched", models=models), (2,)).batch_size
    assert chosen == 2
    assert load("batched", models=models).batch_size == 2
    assert load("batched", models=models, options=Options(batch_buckets=(1, 4))).batch_size == 1
    cache = tmp_path / "cache" / "batch-sizes.json"
    sizes = json.loads(cache.read_text(encoding="utf-8"))
    # Whatever stands in there, nothing that cannot be batched is.
    key = next(iter(sizes)).replace(
        load("batched", models=models).identity, load("linear", models=models).identity
    )
    cache.write_text(json.dumps({key: 4}), encoding="utf-8")
    assert load("linear", models=models).batch_size == 1


def test_errors_of_loading_are_voxports(models: Path, use: Use) -> None:
    use("linux")
    for wrong in ({"device": "x"}, {"precision": "fp64"}, {"models": "nowhere"}):
        with pytest.raises(VoxportError):
            load("linear", **{"models": models, **wrong})
