"""Real sessions: several on the processors of this machine, and on its cards where it has them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tiny_artifacts
from environments import ENVIRONMENTS
from onnx import helper
from tiny_diarization import (
    embedding,
    publish,
    segmentation,
    segmentation_windows,
)
from voxport.runtime import (
    DeviceError,
    Options,
    TensorSpec,
    VoxportError,
    load,
    loading,
    plan_device,
    tune,
    tuning,
)
from voxport.runtime.devices import DevicePlan
from voxport.runtime.environment import known_environment
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.several.opening import opened_together
from voxport.runtime.several.pinning import can_pin
from voxport.runtime.several.processors import NumaNode, allowed_cpus
from voxport.runtime.several.session import SeveralSessions

TWO = pytest.mark.skipif(len(allowed_cpus()) < 2, reason="needs two processors")
PINS = pytest.mark.skipif(not can_pin(), reason="this system does not pin threads")
CARDS = len(known_environment().cuda.cards)
HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXPORT_CACHE", str(tmp_path / "cache"))
    artifacts = (segmentation(), segmentation_windows(), embedding(), dividing())
    return publish(tmp_path / "models", *artifacts)


def dividing() -> tuple[tiny_artifacts.Description, bytes]:
    """y = table[x]: fails on any x beyond the table, on any device."""
    described = tiny_artifacts.description(
        "lookup",
        [TensorSpec("x", "int64", ("batch",))],
        [TensorSpec("y", "float32", ("batch",))],
    )
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    table = {"table": np.arange(10, dtype=np.float32)}
    return described, tiny_artifacts.graph(described, nodes, table)


def windows(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.standard_normal((1, 1600)).astype(np.float32) for _ in range(count)]


# On the CPU


@TWO
def test_two_sessions_answer_as_one_does(models: Path) -> None:
    inputs = windows(37)
    with (
        load("segmentation_masks", device="cpu", models=models) as alone,
        load("segmentation_masks", device="cpu*2", models=models, self_check=False) as both,
    ):
        assert isinstance(both, SeveralSessions)
        assert (both.device, both.on_cpu, both.concurrency) == ("cpu*2", True, 2)
        assert both.identity == alone.identity
        assert "on cpu*2: (waveform" in repr(both)
        expected = list(alone.run_batched(inputs, batch_size=4))
        found = list(both.warmup().run_batched(inputs, batch_size=4))
        whole = both.run(waveform=np.stack(inputs))["masks"]
    for one, other, row in zip(expected, found, whole, strict=True):
        np.testing.assert_array_equal(one["masks"], other["masks"])
        np.testing.assert_array_equal(one["masks"], row)


@TWO
def test_inputs_at_fault_retire_no_session(models: Path) -> None:
    with load("lookup", device="cpu*2", models=models) as session:
        with pytest.raises(VoxportError, match=r"on cpu@.* and cpu@.*, which answer other inputs"):
            session.run(x=np.array([3, 99]))
        assert session.run(x=np.array([3, 4]))["y"].tolist() == [3, 4]
        assert session.remarks == ()


@TWO
def test_the_batch_size_of_several_is_remembered(models: Path) -> None:
    with load("segmentation_masks", device="cpu*2", models=models) as session:
        chosen = tune(session, candidates=(2, 3)).batch_size
        assert session.batch_size == chosen
    with load("segmentation_masks", device="cpu*2", models=models) as session:
        assert session.batch_size == chosen
    with load("segmentation_masks", device="cpu", models=models) as session:
        assert session.batch_size == 8


def test_remembered_sizes_tell_cards_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "known_environment", lambda: ENVIRONMENTS["two cards"])
    devices = ("cuda:0,1", "cuda:1", "cpu:1", "cpu:0,1", "cpu*2", "cpu")
    names = ["NVIDIA H200,NVIDIA L4", "NVIDIA L4", "", "", "", ""]
    assert [tuning._hardware(device) for device in devices] == names


@TWO
def test_each_session_is_asked_its_question(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(loading, "check_probe", lambda session, *_: asked.append(session.device))
    with load("lookup", device="cpu*2", models=models, self_check=True) as session:
        assert asked == [part.device for part in session.plan.parts]


def test_more_sessions_than_processors_are_refused(models: Path) -> None:
    count = len(allowed_cpus())
    with pytest.raises(DeviceError, match=f"{count + 1} sessions cannot share {count} processors"):
        load("lookup", device=f"cpu*{count + 1}", models=models)
    with load("lookup", device=f"cpu*{count + 1}", models=models, fallback=True) as session:
        assert session.plan.is_fallback
        assert len(session.plan.parts or (session.plan,)) == count


@pytest.mark.parametrize(
    ("threads", "cpus", "concurrency"),
    [(1, (0, 0, 0), 3), (2, (0, 0, 0), 1), (None, (0, 0), 1), (4, (0, 0), 1)],
)
def test_concurrency_is_what_the_threads_leave_room_for(
    threads: int | None, cpus: tuple[int, ...], concurrency: int
) -> None:
    first = allowed_cpus()[0]
    plan = replace(plan_device("cpu", known_environment()), cpus=tuple(first + cpu for cpu in cpus))
    options = Options(intra_op_threads=threads)
    with OnnxSession(segmentation()[1], "tiny", plan=plan, options=options) as session:
        assert session.concurrency == concurrency
        assert session.run(waveform=np.stack(windows(2)))["masks"].shape == (2, 100, 3)


# Threads


def affinities() -> dict[int, str]:
    """The processors of each thread of this process, as Linux tells them."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        lines = (task / "status").read_text(encoding="ascii").splitlines()
        allowed = next(line for line in lines if line.startswith("Cpus_allowed_list:"))
        found[int(task.name)] = allowed.split()[1]
    return found


@PINS
@TWO
def test_each_session_keeps_to_its_processors(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes are made of one processor each, which both have a second thread."""
    first, second = allowed_cpus()[:2]
    nodes = (NumaNode(0, (first,)), NumaNode(1, (second,)))
    monkeypatch.setattr(
        loading, "known_environment", lambda: replace(known_environment(), numa=nodes)
    )
    before = affinities()
    options = Options(intra_op_threads=3)
    with load("segmentation_masks", device="cpu:0,1", models=models, options=options) as session:
        assert isinstance(session, SeveralSessions)
        begun = sorted(list_ for task, list_ in affinities().items() if task not in before)
        # Two in the pool of each session; the third is whoever calls.
        assert begun == sorted([str(first), str(first), str(second), str(second)])
        ran_on = [_seen_by_callers(each) for each in session.sessions]
        session.run(waveform=np.stack(windows(2)))
    assert ran_on == [{first}, {second}]
    after = affinities()
    assert {task: after[task] for task in before if task in after} == {
        task: before[task] for task in before if task in after
    }


@PINS
@TWO
def test_each_thread_of_a_pool_has_a_processor_of_its_own() -> None:
    first, second = allowed_cpus()[:2]
    plan = replace(plan_device("cpu", known_environment()), cpus=(first, second))
    before = affinities()
    with OnnxSession(segmentation()[1], "tiny", plan=plan) as session:
        begun = [list_ for task, list_ in affinities().items() if task not in before]
        assert begun == [str(second)]
        assert _seen_by_callers(session) == {first}


def _seen_by_callers(session: object) -> set[int]:
    """Where a thread may run that is within a call."""
    assert isinstance(session, OnnxSession)
    seen: list[set[int]] = []
    engine = session._session

    class Spy:
        def run(self, *arguments: object) -> object:
            seen.append(os.sched_getaffinity(0))
            return engine.run(*arguments)

    session._session = Spy()
    session.run(waveform=np.stack(windows(1)))
    session._session = engine
    return seen[0]


@PINS
def test_a_caller_may_run_where_it_could_before(models: Path) -> None:
    before = os.sched_getaffinity(0)
    plan = replace(plan_device("cpu", known_environment()), cpus=(min(before),))
    with OnnxSession(dividing()[1], "lookup", plan=plan) as session:
        assert os.sched_getaffinity(0) == before
        session.run(x=np.array([1]))
        with pytest.raises(VoxportError):
            session.run(x=np.array([99]))
    assert os.sched_getaffinity(0) == before


# Shared calls


@TWO
def test_calls_of_several_threads_are_shared(models: Path) -> None:
    inputs = windows(30)
    options = Options(batch_across_calls=True)
    with load("segmentation_masks", device="cpu*2", models=models, options=options) as session:
        assert session._shared is not None
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda x: session.run(waveform=x[None])["masks"][0], inputs))
        plain = load("segmentation_masks", device="cpu", models=models)
        for x, masks in zip(inputs, found, strict=True):
            np.testing.assert_array_equal(masks, plain.run(waveform=x[None])["masks"][0])
    with load("segmentation_windows", models=models, device="cpu", options=options) as session:
        assert session._shared is None  # one waveform, however many windows


# Opening


Open = Callable[[DevicePlan], OnnxSession]


def opening(failing: dict[str, Exception], opened: list[OnnxSession]) -> Open:
    """Opens sessions on the CPU under the names of cards; some fail."""

    def open_one(part: DevicePlan) -> OnnxSession:
        if part.device in failing:
            raise failing[part.device]
        cpu = replace(plan_device("cpu", known_environment()), requested="cuda:*")
        session = OnnxSession(dividing()[1], "lookup", plan=cpu)
        session.device = part.device
        opened.append(session)
        return session

    return open_one


@pytest.mark.parametrize("fallback", [False, True])
def test_a_card_that_does_not_load(fallback: bool, caplog: pytest.LogCaptureFixture) -> None:
    cards = ENVIRONMENTS["two cards"]
    third = replace(cards.cuda.cards[0], index=2)
    cards = replace(cards, cuda=replace(cards.cuda, cards=(*cards.cuda.cards, third)))
    plan = plan_device("cuda:*", cards, fallback=fallback)
    opened: list[OnnxSession] = []
    open_one = opening({"cuda:1": DeviceError("driver too old")}, opened)
    if not fallback:
        with pytest.raises(DeviceError, match="driver too old"):
            opened_together(plan, "lookup", open_one)
        assert [session._closed for session in opened] == [True]
        return
    with opened_together(plan, "lookup", open_one) as session:
        assert isinstance(session, SeveralSessions)
        assert (session.device, session.plan.is_fallback) == ("cuda:0,2", True)
        assert session.remarks == ("cuda:1 was left out: driver too old",)
        assert caplog.messages == ["lookup: cuda:1 was left out: driver too old"]
        assert session.run(x=np.array([5]))["y"] == [5]


def test_one_or_none_that_loads() -> None:
    plan = plan_device("cuda:0,1", ENVIRONMENTS["two cards"], fallback=True)
    gone = DeviceError("gone")
    opened: list[OnnxSession] = []
    with opened_together(plan, "lookup", opening({"cuda:0": gone}, opened)) as session:
        assert session is opened[0]
        assert session.remarks == ("cuda:0 was left out: gone",)
    with pytest.raises(DeviceError, match="cuda:0 was left out: gone; cuda:1 was left out: gone"):
        opened_together(plan, "lookup", opening({"cuda:0": gone, "cuda:1": gone}, []))


@pytest.mark.skipif(HAS_CUDA, reason="needs an ONNX Runtime without CUDA")
@pytest.mark.parametrize("device", ["cuda:0,1", "cuda:*"])
def test_cards_that_onnx_runtime_leaves_out(
    models: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(loading, "known_environment", lambda: ENVIRONMENTS["two cards"])
    with pytest.raises(DeviceError, match="without CUDAExecutionProvider"):
        load("lookup", device=device, models=models)
    with load("lookup", device=device, models=models, fallback=True) as session:
        assert (session.device, session.plan.is_fallback) == ("cpu", True)
        assert "cuda:1 was left out" in session.plan.reasons[0]


# On cards


@pytest.mark.skipif(CARDS < 2 or not HAS_CUDA, reason=f"needs two cards, there are {CARDS}")
def test_two_cards_answer_as_one_does(models: Path) -> None:
    inputs = windows(200)
    with (
        load("segmentation_masks", device="cuda:0", models=models) as alone,
        load("segmentation_masks", device="cuda:0,1", models=models) as both,
    ):
        assert both.concurrency == 4
        expected = list(alone.run_batched(inputs, batch_size=8))
        found = list(both.warmup().run_batched(inputs, batch_size=8))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one["masks"], other["masks"])


def test_no_thread_of_a_closed_session_stays(models: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    with load("lookup", device="cpu", models=models):
        pass
    before = set(affinities())
    count = len(allowed_cpus())
    with load("lookup", device=f"cpu*{count}", models=models) as session:
        session.run(x=np.array([1]))
    assert set(affinities()) <= before
