"""Devices that fail and inputs that make any device fail: who goes out of service, and who not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_devices import POISON, FakeDevice, answers, batch, together
from voxport.runtime import DeviceError, InputError, OutOfMemoryError, VoxportError


def raising(error: Exception) -> FakeDevice:
    def on_call(_: int) -> None:
        raise error

    return FakeDevice(0, on_call=on_call)


def test_a_broken_device_is_reported_and_its_batch_redone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, sound = FakeDevice(0, breaks_at=1, delay_s=0.001), FakeDevice(1, delay_s=0.001)
    several = together(broken, sound)
    assert answers(several, 40) == list(range(1, 41))
    assert several.sessions == (sound,)
    assert several.remarks == ("cuda:0 is out of service: cuda:0 fell off the bus",)
    assert caplog.messages == ["doubling: cuda:0 is out of service: cuda:0 fell off the bus"]
    # Its first call, the one with which it broke, and the question whether it was its own fault.
    assert len(broken.seen) == 3
    assert several.concurrency == 1


def test_what_fails_where_another_answers_is_out_of_service() -> None:
    # It answers the synthetic question, which is its second call.
    several = together(FakeDevice(0, fails_at=frozenset([0])), FakeDevice(1))
    np.testing.assert_array_equal(several.run(x=batch(3))["y"], [[6, 6]])
    assert [session.device for session in several.sessions] == ["cuda:1"]
    (remark,) = several.remarks
    assert remark == "cuda:0 is out of service: cuda:0 stumbled (cuda:1 answered the same)"


def test_inputs_that_no_device_answers_cost_no_device() -> None:
    devices = [FakeDevice(index, refuses=POISON) for index in range(3)]
    several = together(*devices)
    with pytest.raises(VoxportError) as caught:
        several.run(x=batch(1, POISON))
    assert "cuda:1 cannot divide by zero (on cuda:0 and cuda:1" in str(caught.value)
    assert "doubling failed on {'x': (2, 2)}" in str(caught.value)
    # Two are enough to tell.
    assert [len(device.seen) for device in devices] == [2, 2, 0]
    assert several.sessions == tuple(devices)
    assert several.remarks == ()
    assert answers(several, 20) == list(range(1, 21))


def test_poison_beside_a_broken_device() -> None:
    broken = FakeDevice(0, breaks_at=0)
    sound = [FakeDevice(index, refuses=POISON) for index in (1, 2)]
    several = together(broken, *sound)
    with pytest.raises(VoxportError, match=r"cannot divide by zero .on cuda:1 and cuda:2"):
        several.run(x=batch(POISON))
    assert several.sessions == tuple(sound)


def test_poison_for_the_last_one_left() -> None:
    last = FakeDevice(1, refuses=POISON)
    several = together(FakeDevice(0, breaks_at=0), last)
    with pytest.raises(VoxportError, match=r"cannot divide by zero .on cuda:1,"):
        several.run(x=batch(POISON))
    assert several.sessions == (last,)
    assert several.run(x=batch(1))["y"][0, 0] == 2
    with pytest.raises(VoxportError, match="cannot divide by zero"):
        several.run(x=batch(POISON))
    assert several.sessions == (last,)


def test_two_who_stumble_do_not_both_go() -> None:
    # Each fails what the other one answers.
    first = FakeDevice(0, fails_at=frozenset([0]))
    second = FakeDevice(1, fails_at=frozenset([1]))
    several = together(first, second)
    assert several.run(x=batch(1))["y"][0, 0] == 2
    assert several.sessions == (second,)
    with pytest.raises(VoxportError, match="cuda:1 stumbled"):
        several.run(x=batch(2))
    assert several.sessions == (second,)
    assert several.run(x=batch(3))["y"][0, 0] == 6


def test_with_the_last_device_goes_the_session() -> None:
    several = together(*(FakeDevice(index, breaks_at=0) for index in range(2)))
    told = "no session is left in service: cuda:0 is out of service: .*; cuda:1 is out of service"
    for _ in range(2):
        with pytest.raises(DeviceError, match=told):
            several.run(x=batch(1))
    assert several.remarks == several._members.reports
    assert several.sessions == ()
    assert several.concurrency == 1  # of which one is told so
    with pytest.raises(DeviceError, match=told):
        answers(several, 3)
    with pytest.raises(DeviceError, match=told):
        several.warmup()


@pytest.mark.parametrize("error", [InputError("no such frame"), OutOfMemoryError("full")])
def test_what_is_not_the_device_fault_is_raised_at_once(error: VoxportError) -> None:
    other = FakeDevice(1)
    several = together(raising(error), other)
    with pytest.raises(type(error), match=str(error)):
        several.run(x=batch(1))
    assert other.seen == []
    assert len(several.sessions) == 2


def test_an_error_of_no_kind_frees_the_device() -> None:
    device = raising(ZeroDivisionError("a defect"))
    several = together(device)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="a defect"):
            several.run(x=batch(1))


def test_a_device_without_memory_for_the_question_stays() -> None:
    def on_call(_: int) -> None:
        if len(full.seen) == 2:
            raise OutOfMemoryError("others have it")

    full = FakeDevice(0, fails_at=frozenset([0]), on_call=on_call)
    several = together(full)
    with pytest.raises(VoxportError, match="cuda:0 stumbled"):
        several.run(x=batch(1))
    assert len(full.seen) == 2
    assert several.sessions == (full,)


def test_poison_among_the_calls_of_many_threads() -> None:
    devices = [FakeDevice(index, refuses=POISON, delay_s=0.0005) for index in range(3)]
    several = together(*devices)

    def run(number: int) -> bool:
        value = POISON if number % 5 == 0 else number
        try:
            return bool(several.run(x=batch(value))["y"][0, 0] == 2 * value)
        except VoxportError as error:
            return value == POISON and "cannot divide by zero" in str(error)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(run, range(1, 61)))
    assert several.sessions == tuple(devices)
