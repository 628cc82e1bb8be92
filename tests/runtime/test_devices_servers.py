"""Servers as devices: planned without being asked, and never chosen by "auto"."""

from __future__ import annotations

from dataclasses import replace

import pytest
from environments import ENVIRONMENTS
from voxport.runtime import DeviceError
from voxport.runtime.availability import device_status, device_statuses
from voxport.runtime.devices import plan_device
from voxport.runtime.environment import client_environment

CLIENT = {name: replace(each, tritonclient_version="2.73.0") for name, each in ENVIRONMENTS.items()}
BARE = ENVIRONMENTS
REFUSED = "-"

# (machine, whether it has tritonclient, request, device alone, device with fallback=True)
TABLE = [
    ("linux", True, "triton://gpu-1:9001", "triton://gpu-1:9001", "triton://gpu-1:9001"),
    ("linux", True, "triton://gpu-1", "triton://gpu-1:8001", "triton://gpu-1:8001"),
    ("linux", True, "triton+http://gpu-1", "triton+http://gpu-1:8000", "triton+http://gpu-1:8000"),
    ("linux", False, "triton://gpu-1", REFUSED, "cpu"),
    ("linux, no ORT", True, "triton://gpu-1", "triton://gpu-1:8001", "triton://gpu-1:8001"),
    ("linux, no ORT", False, "triton://gpu-1", REFUSED, REFUSED),
    (
        "card",
        True,
        "triton+grpcs://[::1]",
        "triton+grpcs://[::1]:8001",
        "triton+grpcs://[::1]:8001",
    ),
    ("card", False, "triton+https://gpu-1", REFUSED, "cuda:0"),
    ("apple", True, "triton://gpu-1", "triton://gpu-1:8001", "triton://gpu-1:8001"),
    ("apple", False, "triton://gpu-1", REFUSED, "coreml"),
    ("windows", True, "triton://gpu-1:1", "triton://gpu-1:1", "triton://gpu-1:1"),
    ("linux", True, "triton://", REFUSED, REFUSED),
    ("linux", True, "triton://gpu-1:70000", REFUSED, REFUSED),
    ("linux", True, "https://gpu-1", REFUSED, REFUSED),
]


def outcome(request: str, machine: str, *, client: bool, fallback: bool) -> str:
    environment = (CLIENT if client else BARE)[machine]
    try:
        return plan_device(request, environment, fallback=fallback).device
    except DeviceError:
        return REFUSED


@pytest.mark.parametrize(("machine", "client", "request_", "strict", "fallback"), TABLE)
def test_servers(machine: str, client: bool, request_: str, strict: str, fallback: str) -> None:
    assert outcome(request_, machine, client=client, fallback=False) == strict
    assert outcome(request_, machine, client=client, fallback=True) == fallback


@pytest.mark.parametrize("machine", sorted(ENVIRONMENTS))
def test_auto_never_takes_a_server(machine: str) -> None:
    with_client, without = (
        outcome("auto", machine, client=client, fallback=False) for client in (True, False)
    )
    assert with_client == without
    listed = [status.device for status in device_statuses(CLIENT[machine])]
    assert not any("triton" in device for device in listed)


def test_a_plan_for_a_server() -> None:
    plan = plan_device("triton+http://gpu-1", CLIENT["linux"])
    assert (plan.kind, plan.artifact_format, plan.providers) == ("triton", "onnx", ())
    assert plan.strict
    assert not plan.is_fallback
    assert str(plan) == (
        "triton+http://gpu-1:8000 (requested 'triton+http://gpu-1'): 'triton+http://gpu-1' was "
        "requested"
    )


def test_a_server_needs_the_artifact_as_onnx() -> None:
    with pytest.raises(DeviceError, match="there is no ONNX file of this artifact"):
        plan_device("triton://gpu-1", CLIENT["apple"], formats=frozenset({"coreml"}))


def test_without_tritonclient() -> None:
    with pytest.raises(DeviceError) as caught:
        plan_device("triton://gpu-1", ENVIRONMENTS["linux"])
    message = "the package tritonclient is missing: pip install 'voxport[serving]'"
    assert str(caught.value) == f"device 'triton://gpu-1' cannot be used: {message}"
    status = device_status("triton", 0, CLIENT["linux"])
    assert str(status) == "triton: usable, ready with tritonclient 2.73.0"
    assert status.details == {"tritonclient_version": "2.73.0"}


def test_the_client_looks_for_nothing_else() -> None:
    environment = client_environment()
    assert environment.onnxruntime.version is None
    assert environment.cuda.cards == ()
    assert environment.tritonclient_version
