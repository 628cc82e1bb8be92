"""The choice of a device, for every request on every machine, from a table written by hand."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace

import pytest
from environments import ENVIRONMENTS, GIB, L4
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import DeviceError, availability, devices
from voxport.runtime.availability import device_status, device_statuses
from voxport.runtime.devices import DevicePlan, detect_available_devices, plan_device
from voxport.runtime.environment import Environment, OnnxRuntime
from voxport.runtime.errors import OptionsError
from voxport.runtime.options import Options
from voxport.runtime.several.processors import NumaNode

REQUESTS = ("auto", "cpu", "cuda", "cuda:1", "coreml", "tensorrt", "cuda:0,1", "cuda:*")
# The same request by other names: these machines have one processor.
SAME = {"cpu": ("cpu*1", "cpu:0", "cpu:*"), "cuda": ("gpu", "cuda:0"), "coreml": ("metal",)}
REFUSED = "-"

# For each machine what each of REQUESTS gives, alone and with fallback=True.
STRICT = {
    "linux": "cpu cpu - - - - - -",
    "linux, no ORT": "- - - - - - - -",
    "linux, broken ORT": "- - - - - - - -",
    "linux, gpu wheel": "cpu cpu - - - - - -",
    "linux, both wheels": "cpu cpu - - - - - -",
    "card": "cuda:0 cpu cuda:0 - - - - cuda:0",
    "card, no ORT": "- - - - - - - -",
    "card, cpu wheel": "cpu cpu - - - - - -",
    "card, both wheels": "cpu cpu - - - - - -",
    "card, no cuDNN": "cpu cpu - - - - - -",
    "card, old driver": "cpu cpu - - - - - -",
    "card, hidden": "cpu cpu - - - - - -",
    "card, libraries unknown": "cuda:0 cpu cuda:0 - - tensorrt:0 - cuda:0",
    "card, TensorRT": "cuda:0 cpu cuda:0 - - tensorrt:0 - cuda:0",
    "two cards": "cuda:0 cpu cuda:0 cuda:1 - - cuda:0,1 cuda:0,1",
    "apple": "coreml cpu - - coreml - - -",
    "apple, no coremltools": "cpu cpu - - - - - -",
    "apple, no ORT": "coreml - - - coreml - - -",
    "apple, macOS 13": "cpu cpu - - - - - -",
    "intel mac": "cpu cpu - - coreml - - -",
    "windows": "cpu cpu - - - - - -",
    "windows, card": "cuda:0 cpu cuda:0 - - - - cuda:0",
}
FALLBACK = {
    "linux": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "linux, no ORT": "- - - - - - - -",
    "linux, broken ORT": "- - - - - - - -",
    "linux, gpu wheel": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "linux, both wheels": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "card": "cuda:0 cpu cuda:0 cuda:0 cuda:0 cuda:0 cuda:0 cuda:0",
    "card, no ORT": "- - - - - - - -",
    "card, cpu wheel": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "card, both wheels": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "card, no cuDNN": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "card, old driver": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "card, hidden": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "card, libraries unknown": "cuda:0 cpu cuda:0 cuda:0 cuda:0 tensorrt:0 cuda:0 cuda:0",
    "card, TensorRT": "cuda:0 cpu cuda:0 cuda:0 cuda:0 tensorrt:0 cuda:0 cuda:0",
    "two cards": "cuda:0 cpu cuda:0 cuda:1 cuda:0 cuda:0 cuda:0,1 cuda:0,1",
    "apple": "coreml cpu coreml coreml coreml coreml coreml coreml",
    "apple, no coremltools": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "apple, no ORT": "coreml coreml coreml coreml coreml coreml coreml coreml",
    "apple, macOS 13": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "intel mac": "cpu cpu cpu cpu coreml cpu cpu cpu",
    "windows": "cpu cpu cpu cpu cpu cpu cpu cpu",
    "windows, card": "cuda:0 cpu cuda:0 cuda:0 cuda:0 cuda:0 cuda:0 cuda:0",
}
# Machines on which "auto" leaves hardware unused that is there.
AUTO_IS_A_FALLBACK = {
    "card, cpu wheel",
    "card, both wheels",
    "card, no cuDNN",
    "card, old driver",
    "card, hidden",
    "apple, no coremltools",
    "apple, macOS 13",
}
# What a refusal must say: what is missing, and what to install.
MESSAGES = {
    ("linux", "cuda"): ["no NVIDIA card was found", "libcuda.so.1"],
    ("linux", "tensorrt"): ["no NVIDIA card was found"],
    ("linux", "coreml"): ["CoreML needs macOS; this is Linux"],
    ("linux, no ORT", "cpu"): ["ONNX Runtime is not installed", "pip install 'voxport[cpu]'"],
    ("linux, no ORT", "auto"): ["no device can be used", "pip install 'voxport[cpu]'"],
    ("linux, broken ORT", "cpu"): [
        "DLL load failed while importing the binding",
        "pip uninstall -y onnxruntime; pip install 'voxport[cpu]'",
    ],
    ("linux, gpu wheel", "cuda"): ["no NVIDIA card was found"],
    ("card", "cuda:1"): ["there is no card 1", "cuda:0 NVIDIA H200, 140 GiB"],
    ("card", "tensorrt"): [
        "needs TensorRT 10, but libnvinfer.so.10, libnvonnxparser.so.10 cannot be found",
        "pip install 'tensorrt-cu13<11'",
    ],
    ("card, no ORT", "cuda"): ["ONNX Runtime is not installed", "pip install 'voxport[gpu]'"],
    ("card, cpu wheel", "cuda"): [
        "onnxruntime is a build without CUDAExecutionProvider",
        "pip uninstall -y onnxruntime; pip install 'voxport[gpu]'",
    ],
    ("card, both wheels", "cuda"): [
        "onnxruntime and onnxruntime-gpu are installed together",
        "pip uninstall -y onnxruntime onnxruntime-gpu; pip install 'voxport[gpu]'",
    ],
    ("card, no cuDNN", "cuda"): [
        "needs CUDA 13.0 and cuDNN 9, but libcudnn.so.9 cannot be found",
        "pip install 'onnxruntime-gpu[cuda,cudnn]'",
    ],
    ("card, old driver", "cuda"): [
        "built for CUDA 13.0, but the driver runs CUDA 12.8 at most",
        "update NVIDIA's driver",
    ],
    ("card, hidden", "cuda"): ["no CUDA-capable device (CUDA_VISIBLE_DEVICES is '')"],
    ("two cards", "coreml"): ["CoreML needs macOS"],
    ("apple", "cuda"): ["there is no CUDA for macOS"],
    ("apple, no ORT", "cpu"): ["ONNX Runtime is not installed", "pip install 'voxport[cpu]'"],
    ("apple, no coremltools", "coreml"): [
        "coremltools is missing",
        "pip install 'voxport[coreml]'",
    ],
    ("apple, macOS 13", "coreml"): ["macOS 14 or later; this is 13.6.1"],
    ("windows", "coreml"): ["CoreML needs macOS; this is Windows"],
    ("windows, card", "tensorrt"): ["nvinfer_10.dll, nvonnxparser_10.dll cannot be found"],
}


def rows(table: dict[str, str]) -> list[tuple[str, str, str]]:
    """(machine, request, device), aliases included."""
    cells = [
        (machine, request, device)
        for machine, line in table.items()
        for request, device in zip(REQUESTS, line.split(), strict=True)
    ]
    return cells + [
        (machine, alias, device)
        for machine, request, device in cells
        for alias in SAME.get(request, ())
    ]


def outcome(request: str, environment: Environment, *, fallback: bool) -> str:
    try:
        return plan_device(request, environment, fallback=fallback).device
    except DeviceError:
        return REFUSED


def test_the_tables_cover_every_machine() -> None:
    assert set(STRICT) == set(FALLBACK) == set(ENVIRONMENTS)


@pytest.mark.parametrize(("machine", "request_", "device"), rows(STRICT))
def test_a_named_device_is_strict(machine: str, request_: str, device: str) -> None:
    assert outcome(request_, ENVIRONMENTS[machine], fallback=False) == device


@pytest.mark.parametrize(("machine", "request_", "device"), rows(FALLBACK))
def test_with_fallback(machine: str, request_: str, device: str) -> None:
    assert outcome(request_, ENVIRONMENTS[machine], fallback=True) == device


@pytest.mark.parametrize(("case", "fragments"), MESSAGES.items(), ids=map(", ".join, MESSAGES))
def test_a_refusal_says_what_is_missing(case: tuple[str, str], fragments: list[str]) -> None:
    machine, request_ = case
    with pytest.raises(DeviceError) as caught:
        plan_device(request_, ENVIRONMENTS[machine])
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("machine", "request_"),
    [(machine, request_) for machine, request_, device in rows(FALLBACK) if device != REFUSED],
)
def test_a_plan_says_whether_it_is_a_fallback(machine: str, request_: str) -> None:
    environment = ENVIRONMENTS[machine]
    plan = plan_device(request_, environment, fallback=True)
    assert plan.requested == request_
    assert not plan.strict
    if request_ == "auto":
        assert plan.is_fallback == (machine in AUTO_IS_A_FALLBACK)
        return
    refused = outcome(request_, environment, fallback=False) == REFUSED
    assert plan.is_fallback == refused
    if refused:
        with pytest.raises(DeviceError) as caught:
            plan_device(request_, environment)
        # The reason of the refusal is the first of the plan's reasons.
        assert plan.reasons[0] in str(caught.value).replace("device ", "", 1)


@pytest.mark.parametrize(
    "request_",
    [
        *("", "CUDA", "cuda:", "cuda:-1", "cuda:1x", "cuda: 1", "cuda:\u0661", "cuda:99999"),
        *("gpu:0", "coreml:0", "tensorrt:0", "mps", "tpu", " cpu", "auto "),
    ],
)
@pytest.mark.parametrize("fallback", [False, True])
def test_unknown_devices(request_: str, fallback: bool) -> None:
    with pytest.raises(DeviceError, match="expected one of: auto, cpu, cuda") as caught:
        plan_device(request_, ENVIRONMENTS["two cards"], fallback=fallback)
    assert repr(request_) in str(caught.value)


def test_a_card_that_is_not_there_lists_the_cards() -> None:
    with pytest.raises(DeviceError, match="there is no card 7") as caught:
        plan_device("cuda:7", ENVIRONMENTS["two cards"])
    assert "cuda:0 NVIDIA H200, 140 GiB; cuda:1 NVIDIA L4, 22 GiB" in str(caught.value)


def test_the_card_by_options() -> None:
    environment = ENVIRONMENTS["two cards"]
    second = Options(device_id=1)
    for request_ in ("auto", "cuda", "gpu", "cuda:1"):
        plan = plan_device(request_, environment, second)
        assert plan.device == "cuda:1"
        assert plan.providers[0][1]["device_id"] == "1"
    with pytest.raises(OptionsError, match=r"'cuda:0', but options\.device_id is 1"):
        plan_device("cuda:0", environment, second)
    with pytest.raises(DeviceError, match="there is no card 2"):
        plan_device("gpu", environment, Options(device_id=2))


# Providers


def test_cuda_options_by_default() -> None:
    plan = plan_device("cuda", ENVIRONMENTS["card"])
    assert plan.providers == (
        (
            "CUDAExecutionProvider",
            {
                "device_id": "0",
                "arena_extend_strategy": "kNextPowerOfTwo",
                "cudnn_conv_algo_search": "HEURISTIC",
                "use_tf32": "0",
                "enable_cuda_graph": "0",
            },
        ),
        ("CPUExecutionProvider", {}),
    )


def test_cuda_options_that_were_chosen() -> None:
    options = Options(
        gpu_memory_fraction=0.5,
        gpu_allow_growth=False,
        tf32=True,
        exhaustive_convolution_search=True,
        cuda_graphs=True,
        batch_buckets=(1, 32),
    )
    plan = plan_device("cuda:1", ENVIRONMENTS["two cards"], options)
    assert plan.providers[0][1] == {
        "device_id": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "use_tf32": "1",
        "enable_cuda_graph": "1",
        "gpu_mem_limit": str(11 * GIB),
    }
    assert "TF32 is on: results differ from those that were verified" in plan.reasons


def test_memory_in_bytes() -> None:
    options = Options(gpu_memory_limit_bytes=3 * GIB)
    plan = plan_device("cuda", ENVIRONMENTS["card"], options)
    assert plan.providers[0][1]["gpu_mem_limit"] == "3221225472"


def test_tensorrt_comes_before_cuda_and_cpu() -> None:
    plan = plan_device("tensorrt", ENVIRONMENTS["card, TensorRT"])
    names = [name for name, _ in plan.providers]
    assert names == [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "CPUExecutionProvider",
    ]
    assert plan.providers[0][1] == {"device_id": "0", "trt_cuda_graph_enable": "0"}
    assert any("NVIDIA_TF32_OVERRIDE=0" in reason for reason in plan.reasons)


def test_cpu_ignores_what_a_card_is_told() -> None:
    plan = plan_device("cpu", ENVIRONMENTS["card"], Options(device_id=5, gpu_memory_fraction=0.1))
    assert plan.providers == (("CPUExecutionProvider", {}),)
    assert (plan.device, plan.artifact_format, plan.strict) == ("cpu", "onnx", True)


def test_coreml_runs_the_native_package() -> None:
    plan = plan_device("auto", ENVIRONMENTS["apple"], Options(compute_units="cpu_and_ne"))
    assert (plan.device, plan.artifact_format, plan.providers) == ("coreml", "coreml", ())
    assert any("not ONNX Runtime's CoreML provider" in reason for reason in plan.reasons)
    assert "compute units: cpu_and_ne" in plan.reasons


def test_libraries_that_nobody_looked_at_are_mentioned() -> None:
    remark = "CUDA's libraries were not checked"
    unknown = plan_device("cuda", ENVIRONMENTS["card, libraries unknown"])
    assert remark in unknown.reasons
    assert remark not in plan_device("cuda", ENVIRONMENTS["card"]).reasons


# What there is of an artifact


def test_auto_takes_what_the_artifact_has() -> None:
    apple = ENVIRONMENTS["apple"]
    plan = plan_device("auto", apple, formats=frozenset({"onnx"}))
    assert (plan.device, plan.artifact_format, plan.is_fallback) == ("cpu", "onnx", True)
    assert any("there is no Core ML package of this artifact" in text for text in plan.reasons)
    plan = plan_device("auto", apple, formats=frozenset({"coreml"}))
    assert (plan.device, plan.is_fallback) == ("coreml", False)


@pytest.mark.parametrize(
    ("machine", "request_", "has", "message"),
    [
        ("apple", "coreml", "onnx", "there is no Core ML package of this artifact"),
        ("apple", "cpu", "coreml", "there is no ONNX file of this artifact"),
        ("card", "cuda", "coreml", "there is no ONNX file of this artifact"),
        ("card", "auto", "coreml", "there is no ONNX file of this artifact"),
    ],
)
def test_a_named_device_without_its_format(
    machine: str, request_: str, has: str, message: str
) -> None:
    with pytest.raises(DeviceError, match=message):
        plan_device(request_, ENVIRONMENTS[machine], formats=frozenset({has}))


# Plans as text


def test_the_reasons_of_a_fallback() -> None:
    plan = plan_device("metal", ENVIRONMENTS["card"], fallback=True)
    assert plan.reasons == (
        "'metal' cannot be used: CoreML needs macOS; this is Linux",
        "cuda:0 is the first usable device",
    )


def test_a_plan_as_text_and_json() -> None:
    plan = plan_device("cuda", ENVIRONMENTS["card, cpu wheel"], fallback=True)
    assert str(plan).startswith("cpu (fallback from 'cuda'): 'cuda' cannot be used: onnxruntime ")
    data = json.loads(plan.to_json())
    assert data["device"] == "cpu"
    assert data["is_fallback"] is True
    assert data["providers"] == [["CPUExecutionProvider", {}]]
    assert data["reasons"] == list(plan.reasons)
    assert (
        str(plan_device("cpu", ENVIRONMENTS["card"]))
        == "cpu (requested 'cpu'): 'cpu' was requested"
    )


# Any machine, any request

_MACHINES = st.sampled_from(sorted(ENVIRONMENTS)).map(ENVIRONMENTS.__getitem__)
_NODES = st.sampled_from(
    [
        (NumaNode(0, (0,)),),
        (NumaNode(0, (0, 1)), NumaNode(1, (2, 3))),
        (NumaNode(0, ()), NumaNode(1, (5,))),
    ]
)
_ENVIRONMENTS = st.builds(
    replace,
    _MACHINES,
    onnxruntime=st.one_of(
        _MACHINES.map(lambda machine: machine.onnxruntime),
        st.builds(
            OnnxRuntime,
            version=st.none() | st.just("1.31.1"),
            providers=st.lists(
                st.sampled_from(
                    [
                        "CUDAExecutionProvider",
                        "TensorrtExecutionProvider",
                        "CPUExecutionProvider",
                    ]
                )
            ).map(tuple),
            cuda_version=st.none() | st.sampled_from(["11.8", "12.9", "13.0", "14.0", "", "x.y"]),
        ),
    ),
    cuda=_MACHINES.map(lambda machine: machine.cuda),
    coremltools_version=st.none() | st.just("9.0"),
    macos_version=st.none() | st.sampled_from(["13.0", "14", "26.1", "", "?"]),
    numa=_NODES,
)
_OPTIONS = st.builds(
    Options,
    device_id=st.integers(0, 3),
    gpu_memory_fraction=st.none() | st.floats(0.01, 1),
    tf32=st.booleans(),
)
_REQUESTS = st.sampled_from(
    [
        *("auto", "cpu", "cuda", "cuda:0", "cuda:1", "cuda:7", "gpu", "coreml", "metal"),
        *("tensorrt", "cuda:0,1", "cuda:1,0", "cuda:0,7", "cuda:*", "cpu:0", "cpu:0,1", "cpu:*"),
        *("cpu*1", "cpu*2", "cpu*3"),
    ]
)
_FORMATS = st.sets(st.sampled_from(["onnx", "coreml"])).map(frozenset)
_KINDS = {"gpu": "cuda", "metal": "coreml"}


@given(_REQUESTS | st.text(max_size=8), _ENVIRONMENTS, _OPTIONS, st.booleans(), _FORMATS)
def test_any_plan_keeps_the_rules(
    request_: str,
    environment: Environment,
    options: Options,
    fallback: bool,
    formats: frozenset[str],
) -> None:
    def plan() -> DevicePlan | str:
        try:
            return plan_device(request_, environment, options, fallback=fallback, formats=formats)
        except (DeviceError, OptionsError) as error:
            return f"{type(error)}: {error}"

    first = plan()
    assert first == plan()
    if isinstance(first, str):
        return
    assert first.artifact_format in formats
    assert first.reasons
    assert first.strict == (request_ != "auto" and not fallback)
    for part in first.parts or (first,):
        check_part(part, first, environment)
    if first.strict:
        assert first.kind == _KINDS.get(request_, re.split("[:*]", request_)[0])
        assert not first.is_fallback
        if re.fullmatch("cuda:[0-9,]+", request_):
            assert first.device == request_


def check_part(part: DevicePlan, whole: DevicePlan, environment: Environment) -> None:
    """A session of a plan: its device can be used, and it is like the others."""
    index = part.device.partition(":")[2] if part.kind in ("cuda", "tensorrt") else ""
    assert device_status(part.kind, int(index or 0), environment).usable
    assert (part.kind, part.strict, part.is_fallback) == (
        whole.kind,
        whole.strict,
        whole.is_fallback,
    )
    assert (part.requested, part.artifact_format) == (whole.requested, whole.artifact_format)
    assert not part.parts
    assert (part.providers != ()) == (part.kind != "coreml")


# What is there


def test_statuses_in_the_order_of_preference() -> None:
    def listed(machine: str) -> list[tuple[str, bool, bool]]:
        statuses = device_statuses(ENVIRONMENTS[machine])
        return [(status.device, status.available, status.usable) for status in statuses]

    assert listed("two cards") == [
        ("coreml", False, False),
        ("cuda:0", True, True),
        ("cuda:1", True, True),
        ("cpu", True, True),
        ("tensorrt", True, False),
    ]
    assert listed("apple") == [
        ("coreml", True, True),
        ("cuda", False, False),
        ("cpu", True, True),
        ("tensorrt", False, False),
    ]
    assert listed("linux, no ORT") == [
        ("coreml", False, False),
        ("cuda", False, False),
        ("cpu", True, False),
        ("tensorrt", False, False),
    ]


def test_a_status_tells_the_card() -> None:
    status = device_status("cuda", 1, ENVIRONMENTS["two cards"])
    assert status.details["name"] == L4.name
    assert status.details["memory_bytes"] == L4.memory_bytes
    assert status.details["cuda_version"] == "13.0"
    assert str(status) == "cuda:1: usable, ready with ONNX Runtime 1.31.1"
    status = device_status("cuda", 0, ENVIRONMENTS["card, cpu wheel"])
    assert str(status).startswith("cuda:0: not usable, onnxruntime is a build without")
    assert status.remedy in str(status)


def test_detection_describes_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "probe_environment", lambda: ENVIRONMENTS["two cards"])
    assert detect_available_devices() == availability.device_statuses(ENVIRONMENTS["two cards"])


@pytest.mark.parametrize(
    ("machine", "automatic"),
    [
        ("two cards", "auto: cuda:0 (requested 'auto')"),
        ("linux, no ORT", "auto: no device can be used"),
    ],
)
def test_devices_are_logged(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    machine: str,
    automatic: str,
) -> None:
    monkeypatch.setattr(devices, "probe_environment", lambda: ENVIRONMENTS[machine])
    caplog.set_level(logging.INFO)
    devices.log_device_info()
    expected = list(map(str, device_statuses(ENVIRONMENTS[machine])))
    assert caplog.messages[:-1] == expected
    assert caplog.messages[-1].startswith(automatic)
    assert {(record.name, record.levelname) for record in caplog.records} == {("voxport", "INFO")}
    caplog.clear()
    devices.log_device_info(logging.getLogger("mine"))
    assert {record.name for record in caplog.records} == {"mine"}
