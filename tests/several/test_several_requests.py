"""Plans of several sessions, from tables written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from environments import ENVIRONMENTS, LINUX
from voxport.runtime import DeviceError, Options, OptionsError, devices, plan_device
from voxport.runtime.environment import Environment
from voxport.runtime.several.processors import NumaNode

TWO_NODES = replace(LINUX, numa=(NumaNode(0, (0, 1, 2, 3)), NumaNode(1, (4, 5, 6, 7))))
# Processors of node 0 are taken by others, and node 2 is only memory.
NARROW = replace(LINUX, numa=(NumaNode(0, ()), NumaNode(1, (4, 5, 7)), NumaNode(2, ())))
ONE = replace(LINUX, numa=(NumaNode(0, (0, 1)),))
CARDS = replace(ENVIRONMENTS["two cards"], numa=TWO_NODES.numa)
MACHINES = {"two nodes": TWO_NODES, "narrow": NARROW, "one": ONE, "cards": CARDS}

Parts = dict[str, tuple[int, ...]]
# The device of the whole, and the processors of each part; a single one has no parts.
PLANS: list[tuple[str, str, str, Parts]] = [
    ("two nodes", "cpu:0,1", "cpu:0,1", {"cpu:0": (0, 1, 2, 3), "cpu:1": (4, 5, 6, 7)}),
    ("two nodes", "cpu:1,0", "cpu:1,0", {"cpu:1": (4, 5, 6, 7), "cpu:0": (0, 1, 2, 3)}),
    ("two nodes", "cpu:*", "cpu:0,1", {"cpu:0": (0, 1, 2, 3), "cpu:1": (4, 5, 6, 7)}),
    ("two nodes", "cpu:1", "cpu:1", {"cpu:1": (4, 5, 6, 7)}),
    ("two nodes", "cpu*1", "cpu", {"cpu": ()}),
    ("two nodes", "cpu*2", "cpu*2", {"cpu@0-3": (0, 1, 2, 3), "cpu@4-7": (4, 5, 6, 7)}),
    (
        "two nodes",
        "cpu*3",
        "cpu*3",
        {"cpu@0-1": (0, 1), "cpu@2-4": (2, 3, 4), "cpu@5-7": (5, 6, 7)},
    ),
    ("narrow", "cpu:*", "cpu", {"cpu": ()}),
    ("narrow", "cpu:1", "cpu", {"cpu": ()}),
    ("narrow", "cpu*2", "cpu*2", {"cpu@4": (4,), "cpu@5,7": (5, 7)}),
    ("one", "cpu:0", "cpu", {"cpu": ()}),
    ("one", "cpu:*", "cpu", {"cpu": ()}),
    ("one", "cpu*2", "cpu*2", {"cpu@0": (0,), "cpu@1": (1,)}),
    ("cards", "cuda:0,1", "cuda:0,1", {"cuda:0": (), "cuda:1": ()}),
    ("cards", "cuda:1,0", "cuda:1,0", {"cuda:1": (), "cuda:0": ()}),
    ("cards", "cuda:*", "cuda:0,1", {"cuda:0": (), "cuda:1": ()}),
    ("cards", "cuda:1", "cuda:1", {"cuda:1": ()}),
    ("cards", "cpu:*", "cpu:0,1", {"cpu:0": (0, 1, 2, 3), "cpu:1": (4, 5, 6, 7)}),
]
# What cannot be met, what the error says of it, and what is taken with fallback=True.
REFUSALS = [
    ("two nodes", "cpu:0,2", "there is no NUMA node 2; processors by node: cpu:0 0-3", "cpu:0"),
    ("two nodes", "cpu*9", "9 sessions cannot share 8 processors", "cpu*8"),
    ("narrow", "cpu:0,1", "this process may use no processor of NUMA node 0", "cpu"),
    ("narrow", "cpu:2", "this process may use no processor of NUMA node 2", "cpu"),
    ("one", "cpu:0,1", "there is no NUMA node 1", "cpu"),
    ("one", "cuda:0,1", "'cuda:1' cannot be used: no NVIDIA card was found", "cpu"),
    ("one", "cuda:*", "no NVIDIA card was found", "cpu"),
    ("cards", "cuda:0,7", "'cuda:7' cannot be used: there is no card 7", "cuda:0"),
    ("cards", "cuda:0,1,7", "'cuda:7' cannot be used: there is no card 7", "cuda:0,1"),
    ("cards", "cuda:5,7", "there is no card 5", "cuda:0"),
]


@pytest.mark.parametrize(("machine", "request_", "device", "parts"), PLANS)
@pytest.mark.parametrize("fallback", [False, True])
def test_a_request_for_several(
    machine: str, request_: str, device: str, parts: Parts, fallback: bool
) -> None:
    plan = plan_device(request_, MACHINES[machine], fallback=fallback)
    assert (plan.requested, plan.device) == (request_, device)
    assert (plan.strict, plan.is_fallback) == (not fallback, False)
    found = plan.parts or (plan,)
    assert {part.device: part.cpus for part in found} == parts
    assert [part.device for part in found] == list(parts)
    assert bool(plan.parts) == (len(parts) > 1)
    assert plan.reasons[0] == f"{request_!r} was requested"
    for part in plan.parts:
        assert (plan.providers, plan.cpus) == ((), ())
        assert (part.requested, part.strict) == (request_, not fallback)
        index = part.device.partition(":")[2]
        assert part.providers[0][1].get("device_id", index) == index


@pytest.mark.parametrize(("machine", "request_", "message", "instead"), REFUSALS)
def test_what_cannot_be_used_is_an_error_that_names_it(
    machine: str, request_: str, message: str, instead: str
) -> None:
    environment = MACHINES[machine]
    with pytest.raises(DeviceError) as caught:
        plan_device(request_, environment)
    assert str(caught.value).startswith(f"device {request_!r} cannot be used: ")
    assert message in str(caught.value)
    plan = plan_device(request_, environment, fallback=True)
    assert (plan.device, plan.is_fallback, plan.strict) == (instead, True, False)
    assert plan.requested == request_
    assert message in plan.reasons[0]


def test_all_cards_are_those_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in an environment stands in the way of one card only; this one is made up."""
    usable = devices._obstacle

    def obstacle(target: Any, *rest: Any) -> str | None:
        return "it is on fire" if target.index == 1 else usable(target, *rest)

    monkeypatch.setattr(devices, "_obstacle", obstacle)
    plan = plan_device("cuda:*", CARDS)
    assert (plan.device, plan.parts, plan.strict, plan.is_fallback) == ("cuda:0", (), True, False)
    assert plan.reasons == (
        "'cuda:*' was requested",
        "left out: 'cuda:1' cannot be used: it is on fire",
    )
    with pytest.raises(DeviceError, match="'cuda:1' cannot be used: it is on fire"):
        plan_device("cuda:0,1", CARDS)


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("cuda:0,0", "names 0 more than once"),
        ("cuda:3,1,3,1", "names 1, 3 more than once"),
        ("cpu:1,01", "names 1 more than once"),
        ("cpu*0", "names no session"),
        *(
            (text, "there is no device .* expected one of: auto, cpu, .* cuda:N,M, .* cpu[*]N")
            for text in (
                "cuda:,",
                "cuda:0,",
                "cuda:,1",
                "cuda:0, 1",
                "cuda:0,*",
                "cuda:**",
                "gpu:*",
            )
        ),
        *(
            (text, "there is no device")
            for text in ("cpu:", "cpu*", "cpu**", "cpu:-1", "cpu*-1", "cpu*x", "cpu*10000")
        ),
        *((text, "there is no device") for text in ("coreml*2", "tensorrt:0,1", "cpu:\u0661")),
    ],
)
def test_what_is_no_request(request_: str, message: str, fallback: bool) -> None:
    with pytest.raises(DeviceError, match=message):
        plan_device(request_, CARDS, fallback=fallback)


@pytest.mark.parametrize("request_", ["cuda:0,1", "cuda:1,0", "cuda:*"])
def test_the_card_by_options_contradicts_a_list(request_: str) -> None:
    with pytest.raises(OptionsError, match=r"but options\.device_id is 1"):
        plan_device(request_, CARDS, Options(device_id=1))


def test_processors_ignore_the_card_by_options() -> None:
    assert plan_device("cpu*2", CARDS, Options(device_id=1)).device == "cpu*2"


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("Linux", "cpu@0: its threads keep to the processors 0"),
        ("Darwin", "cpu@0: 1 threads, which Darwin lets run on any processor"),
    ],
)
def test_reasons_tell_where_threads_run(system: str, told: str) -> None:
    environment: Environment = replace(ONE, system=system)
    plan = plan_device("cpu*2", environment)
    assert told in plan.reasons
    assert told in plan.parts[0].reasons
    assert told not in plan.parts[1].reasons


def test_each_card_has_its_own_memory_limit() -> None:
    plan = plan_device("cuda:*", CARDS, Options(gpu_memory_fraction=0.5, tf32=True))
    limits = [part.providers[0][1]["gpu_mem_limit"] for part in plan.parts]
    assert limits == [str(70 * 2**30), str(11 * 2**30)]
    assert plan.reasons.count("TF32 is on: results differ from those that were verified") == 1


def test_a_plan_of_several_as_json() -> None:
    data = json.loads(plan_device("cpu*2", ONE).to_json())
    assert data["device"] == "cpu*2"
    assert [part["cpus"] for part in data["parts"]] == [[0], [1]]


def test_without_the_format_none_can_be_used() -> None:
    with pytest.raises(DeviceError, match="there is no ONNX file of this artifact"):
        plan_device("cpu*2", ONE, formats=frozenset({"coreml"}))


def test_without_onnx_runtime_none_can_be_used() -> None:
    environment = replace(ENVIRONMENTS["linux, no ORT"], numa=ONE.numa)
    message = "^device 'cpu[*]2' cannot be used: 'cpu' cannot be used: ONNX Runtime is not"
    with pytest.raises(DeviceError, match=message):
        plan_device("cpu*2", environment)
