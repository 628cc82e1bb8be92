"""``Profiler`` on tiny artifacts, on the CPU, with ONNX Runtime's real profiles."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_artifacts
from profile_samples import calls, network
from tiny_artifacts import RATE_HZ, WINDOW
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    AudioError,
    DeviceError,
    InputError,
    Options,
    load,
)
from voxport.runtime.profiling import Profiler, TraceError, network_names
from voxport.runtime.profiling.measuring import profiled_calls, require_profile_of_operators
from voxport.runtime.profiling.memory import PeakMemory
from voxport.runtime.profiling.trace import parse_trace
from voxport.runtime.profiling.workload import AudioWorkload, batch_plan_of, workload_for
from voxport.runtime.session import Session

# Ten windows and a half.
AUDIO: npt.NDArray[np.float32] = np.sin(np.arange(10 * WINDOW + WINDOW // 2) / 9).astype("f4")
NO_GPU = "no GPU may be used by these tests"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the demo's artifacts the segmentation counts as a network."""
    _, *others = tiny_artifacts.demo_artifacts()
    artifacts = [network(), *others, tiny_artifacts.linear()]
    return tiny_artifacts.publish(tmp_path_factory.mktemp("models"), artifacts)


def profiler(models: Path, **choices: Any) -> Profiler:
    return Profiler(models, "cpu", **{"rounds": 2, **choices})


def test_a_recording(models: Path) -> None:
    stage = profiler(models, batch_size=4).profile(
        "segmentation_masks", AUDIO, source_rate_hz=RATE_HZ
    )
    assert (stage.name, stage.precision, stage.device) == ("segmentation_masks", "fp32", "cpu")
    assert stage.basis == "operator times"
    assert (stage.batch_size, stage.num_windows, stage.num_calls) == (4, 11, 3)
    assert stage.audio_duration_s == 10.5
    counts = {one.op: one.count for one in stage.operators}
    assert counts["Conv"] == counts["Greater"] == 3
    assert {one.provider for one in stage.operators} == {"CPUExecutionProvider"}
    assert stage.num_device_nodes == sum(counts.values())


def test_parts_are_a_round(models: Path) -> None:
    parts = profiler(models).profile("segmentation_masks", AUDIO, source_rate_hz=RATE_HZ).parts
    assert parts.audio_s > 0
    assert parts.windows_s > 0
    assert parts.host_s > 0
    assert parts.device_s >= 0
    assert (parts.copies_s, parts.cpu_operators_s) == (0, 0)


def test_windows_that_overlap(models: Path) -> None:
    stage = profiler(models).profile(
        "segmentation_masks", AUDIO[: 2 * WINDOW], source_rate_hz=RATE_HZ, step_s=0.25
    )
    assert stage.num_windows == 5
    assert stage.audio_duration_s == 2.0


def test_arrays(models: Path) -> None:
    masks = np.ones((2, 3, 100), np.float32)
    waveform = np.ones((2, 1, WINDOW), np.float32)
    stage = profiler(models).profile(
        "embedding_tiny", arrays={"waveform": waveform, "masks": masks}
    )
    assert (stage.num_windows, stage.num_calls, stage.batch_size) == (2, 1, 2)
    assert stage.audio_duration_s == 2.0
    # ONNX Runtime may fuse it with the transposition.
    assert sum("MatMul" in one.op for one in stage.operators) == 1


def test_synthetic_inputs_where_nothing_is_given(models: Path) -> None:
    stage = profiler(models).profile("cosine_distance")
    assert (stage.num_windows, stage.batch_size) == (1, 1)
    assert stage.audio_duration_s is stage.rtfx is None
    assert {one.op: one.count for one in stage.operators}["ReduceL2"] == 2


def test_a_file_by_its_path(models: Path) -> None:
    path = models / "linear.fp32.onnx"
    stage = Profiler(device="cpu", rounds=1).profile(path, arrays={"x": np.ones((2, 3), "f4")})
    assert [one.op for one in stage.operators] == ["MatMul"]


def test_many_calls_are_not_all_profiled_but_all_counted(models: Path) -> None:
    """Eight of 22 calls are profiled; the figures are those of all."""
    audio = np.concatenate([AUDIO[: 10 * WINDOW]] * 2 + [AUDIO[: 2 * WINDOW]])
    stage = profiler(models, batch_size=1, rounds=1).profile(
        "segmentation_masks", audio, source_rate_hz=RATE_HZ
    )
    assert stage.num_calls == 22
    assert {one.op: one.count for one in stage.operators}["Conv"] == 22


def test_nothing_is_left_behind(models: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    profiler(models).profile("cosine_distance")
    assert list(tmp_path.iterdir()) == []


# Batches


def test_every_sample_is_in_one_window(models: Path) -> None:
    with load("segmentation_masks", device="cpu", models=models) as session:
        plan = batch_plan_of(session, 4, Options())
        workload = AudioWorkload(session.description, AUDIO, plan, source_rate_hz=RATE_HZ)
    batches = list(workload.batches(workload.read()))
    assert [(batch.inputs["waveform"].shape, batch.num_windows) for batch in batches] == [
        ((4, 1, WINDOW), 4),
        ((4, 1, WINDOW), 4),
        ((3, 1, WINDOW), 3),
    ]
    joined = np.concatenate([batch.inputs["waveform"].ravel() for batch in batches])
    np.testing.assert_array_equal(joined[: len(AUDIO)], AUDIO)
    assert not joined[len(AUDIO) :].any()


def test_buckets_pad_the_last_batch(models: Path) -> None:
    options = Options(batch_buckets=(2, 4))
    with load("segmentation_masks", device="cpu", models=models, options=options) as session:
        plan = batch_plan_of(session, None, options)
        workload = AudioWorkload(session.description, AUDIO, plan, source_rate_hz=RATE_HZ)
    *_, last = workload.batches(workload.read())
    assert (last.inputs["waveform"].shape, last.num_windows) == ((4, 1, WINDOW), 3)
    assert not last.inputs["waveform"][3].any()


def test_other_inputs_are_synthetic_and_of_the_same_batch(models: Path) -> None:
    with load("embedding_tiny", device="cpu", models=models) as session:
        plan = batch_plan_of(session, 2, Options())
        workload = AudioWorkload(session.description, AUDIO, plan, source_rate_hz=RATE_HZ)
    batch = next(workload.batches(workload.read()))
    assert batch.inputs["masks"].shape[0] == batch.inputs["waveform"].shape[0]
    assert batch.inputs["masks"].any()


# Errors


def test_choices_out_of_range(models: Path) -> None:
    for choices in ({"rounds": 0}, {"batch_size": 0}):
        with pytest.raises(InputError, match="must be at least 1"):
            profiler(models, **choices)


def test_audio_for_an_artifact_that_takes_none(models: Path) -> None:
    with pytest.raises(InputError, match="cosine_distance: does not take audio"):
        profiler(models).profile("cosine_distance", AUDIO, source_rate_hz=RATE_HZ)


def test_audio_and_arrays(models: Path) -> None:
    with pytest.raises(InputError, match="not on both"):
        profiler(models).profile("linear", AUDIO, arrays={"x": AUDIO})


def test_a_batch_size_for_what_has_no_batch(models: Path) -> None:
    with pytest.raises(InputError, match="nothing can be batched"):
        profiler(models, batch_size=2).profile("linear")


@pytest.mark.parametrize("step_s", [0.0, -1.0, 1e9, float("nan"), float("inf")])
def test_steps_out_of_range(models: Path, step_s: float) -> None:
    with pytest.raises(AudioError, match="step"):
        profiler(models).profile("segmentation_masks", AUDIO, source_rate_hz=RATE_HZ, step_s=step_s)


def test_arrays_that_do_not_fit(models: Path) -> None:
    for arrays in ({}, {"x": [[1.0]]}, {"x": np.ones((1, 3), np.float32)}, {"z": AUDIO}):
        with pytest.raises(InputError, match="linear"):
            profiler(models).profile("linear", arrays=arrays)


def test_a_file_that_changes_meanwhile(models: Path, tmp_path: Path) -> None:
    path = tmp_path / "linear.onnx"
    arrays = {"x": np.ones((2, 3), np.float32)}
    for change in (lambda: path.write_bytes(b"other"), path.unlink):
        path.write_bytes((models / "linear.fp32.onnx").read_bytes())
        with load(path, device="cpu") as session:
            workload = workload_for(session, None, arrays, batch_plan_of(session, None, Options()))
            change()
            with pytest.raises(ArtifactError, match=r"changed while|unreadable"):
                profiled_calls(path, None, session, workload, Options())


def test_a_session_without_a_profile_of_operators(models: Path) -> None:
    class Other(Session):
        def _compute(self, inputs: Any) -> Any:
            raise NotImplementedError

        def _release(self) -> None:
            return

    with load("linear", device="cpu", models=models) as session:
        require_profile_of_operators("linear", session)
        other = Other(
            session.description, session.plan, "other", batch_plan_of(session, None, Options())
        )
    other.device = "coreml"
    with pytest.raises(DeviceError, match="linear: runs on coreml, which has no profile"):
        require_profile_of_operators("linear", other)


# Several devices


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """``load`` refuses every device but the CPU."""

    def refuse(name: Any, *, device: str, **choices: Any) -> Session:
        if device != "cpu":
            raise DeviceError(NO_GPU)
        return load(name, device=device, **choices)

    monkeypatch.setattr("voxport.runtime.profiling.profiler.load", refuse)


@pytest.mark.usefixtures("without_gpu")
def test_a_device_that_cannot_be_used_does_not_stop_the_others(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = profiler(models, rounds=1)
    found = one.compare("cosine_distance", devices=("cuda", "cpu", "cuda:1"))
    assert [stage.device for stage in found] == ["cpu"]
    report = one.report()
    assert report.stages == found
    assert [(entry.device, entry.reason) for entry in report.unavailable] == [
        ("cuda", NO_GPU),
        ("cuda:1", NO_GPU),
    ]
    assert caplog.text.count(NO_GPU) == 2


@pytest.mark.usefixtures("without_gpu")
def test_a_named_device_that_cannot_be_used_is_an_error(models: Path) -> None:
    with pytest.raises(DeviceError, match=NO_GPU):
        profiler(models).profile("cosine_distance", device="cuda")


def on_a_card(monkeypatch: pytest.MonkeyPatch, num_calls: int, *, kernels: bool) -> None:
    """Let sessions say that they run on a card, and profiles be those of one."""

    def loaded(name: Any, **choices: Any) -> Session:
        session = load(name, **choices)
        session.device = "cuda:0"
        return session

    monkeypatch.setattr(Session, "on_cpu", property(lambda session: session.device == "cpu"))
    text = json.dumps(calls(num_calls, kernels=kernels))
    monkeypatch.setattr("voxport.runtime.profiling.profiler.load", loaded)
    monkeypatch.setattr(
        "voxport.runtime.profiling.measuring.read_trace", lambda path: parse_trace(text, str(path))
    )


@pytest.mark.parametrize(
    ("kernels", "basis"), [(True, "kernel events"), (False, "synchronised calls")]
)
def test_a_card(models: Path, monkeypatch: pytest.MonkeyPatch, kernels: bool, basis: str) -> None:
    """Calls that warm up, and two that count."""
    on_a_card(monkeypatch, 4, kernels=kernels)
    stage = profiler(models).profile("linear", arrays={"x": np.ones((2, 3), np.float32)})
    assert (stage.device, stage.basis, stage.on_gpu) == ("cuda:0", basis, True)
    assert stage.peak_device_bytes == 9_000_000
    assert stage.num_device_nodes == 2
    assert stage.launch_share == pytest.approx(0.07)
    counts = {one.op: one.count for one in stage.operators}
    assert (counts["Conv"], counts["MemcpyToHost"], counts["Shape"]) == (2, 1, 1)


def test_a_profile_that_lacks_calls(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_card(monkeypatch, 1, kernels=True)
    with pytest.raises(TraceError, match="holds 1 calls; 2 were made"):
        profiler(models).profile("linear", arrays={"x": np.ones((2, 3), np.float32)})


def test_what_is_wrong_on_every_device_is_an_error(models: Path) -> None:
    one = profiler(models)
    with pytest.raises(ArtifactNotFoundError, match="missing"):
        one.compare("missing", devices=("cpu",))
    with pytest.raises(InputError, match="does not take audio"):
        one.compare("cosine_distance", AUDIO, devices=("cpu",), source_rate_hz=RATE_HZ)
    assert one.report().stages == one.report().unavailable == ()


def test_networks_are_what_has_weights_and_takes_audio(models: Path, tmp_path: Path) -> None:
    assert network_names(models) == ("segmentation_masks",)
    tiny_artifacts.publish(tmp_path, [tiny_artifacts.linear()])
    with pytest.raises(ArtifactNotFoundError, match="has no network that takes audio"):
        network_names(tmp_path)


# Memory


PEAK_SCRIPT = """
import numpy as np
from voxport.runtime.profiling.memory import PeakMemory
np.ones(2**24)  # an earlier, higher peak: 128 MiB
memory = PeakMemory()
before = memory.growth_bytes()
np.ones(2**23)  # 64 MiB
print(before, memory.growth_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an earlier peak may hide it")
def test_peak_memory_is_seen_after_it_was_given_back() -> None:
    """In a process of its own: a heap with room in it would take the array without growing."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK_SCRIPT], capture_output=True, text=True, check=True
    )
    before, grown = map(int, done.stdout.split())
    assert before < 2**24
    assert 2**25 < grown < 2**27


def test_peak_memory_where_the_system_tells_less(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([100, 100, 250])
    monkeypatch.setattr("voxport.runtime.profiling.memory._begin_new_peak", lambda: False)
    monkeypatch.setattr("voxport.runtime.profiling.memory._peak_bytes", lambda: next(peaks))
    memory = PeakMemory()
    assert memory.growth_bytes() is None
    assert memory.growth_bytes() == 150
    monkeypatch.setattr("voxport.runtime.profiling.memory._peak_bytes", lambda: None)
    assert PeakMemory().growth_bytes() is None


def test_a_stage_has_its_peak(models: Path) -> None:
    stage = profiler(models).profile("cosine_distance")
    assert stage.peak_device_bytes is None
    if sys.platform == "linux":
        assert re.fullmatch(r"[0-9]+", str(stage.peak_host_bytes))
