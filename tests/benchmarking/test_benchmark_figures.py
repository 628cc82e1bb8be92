"""``bench`` on tiny artifacts, on the CPU, and on sessions that say they are on a card."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_artifacts
import tiny_diarization
from onnx import helper
from tiny_artifacts import RATE_HZ, WINDOW
from voxport.runtime import (
    ArtifactNotFoundError,
    AudioError,
    Description,
    DeviceError,
    InputError,
    OutOfMemoryError,
    Session,
    TensorSpec,
    load,
)
from voxport.runtime.benchmarking import artifact_names, bench, benchmark_table, variant
from voxport.runtime.benchmarking.result import Measured, to_json
from voxport.runtime.profiling.measuring import ProfiledCalls, Round
from voxport.runtime.profiling.trace import NodeEvent, RunEvent, Trace, TraceError

# Five windows and a half.
AUDIO = np.sin(np.arange(5 * WINDOW + WINDOW // 2) / 9).astype(np.float32)
NAMES = (
    *("cosine_distance", "doubling", "linear", "reshaping", "segmentation_masks"),
    "segmentation_windows",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With and without a batch axis, with and without audio; one in two precisions."""
    segmentation, _, cosine = tiny_artifacts.demo_artifacts()
    artifacts = [
        *(segmentation, cosine),
        doubling(),
        tiny_artifacts.linear(),
        tiny_artifacts.linear(precision="int8"),
        tiny_artifacts.reshaping(),
        tiny_diarization.segmentation_windows(),
    ]
    return tiny_artifacts.publish(tmp_path_factory.mktemp("models"), artifacts)


def doubling() -> tuple[Description, bytes]:
    """y = x + x: a batch axis and no audio."""
    described = tiny_artifacts.description(
        "doubling",
        [TensorSpec("x", "float32", ("batch", 2))],
        [TensorSpec("y", "float32", ("batch", 2))],
    )
    return described, tiny_artifacts.graph(described, [helper.make_node("Add", ["x", "x"], ["y"])])


def test_the_names_of_a_folder(models: Path, tmp_path: Path) -> None:
    assert artifact_names(models) == NAMES
    tiny_artifacts.publish(tmp_path, [])
    with pytest.raises(ArtifactNotFoundError, match="has no artifacts"):
        artifact_names(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_every_artifact_in_every_batch_size(name: str, models: Path) -> None:
    """Also where nothing can be batched: that is one call as it is."""
    found = bench(name, devices=("cpu",), batch_sizes=(1, 3), rounds=2, models=models)
    sizes = {"doubling": [1, 3], "segmentation_masks": [1, 3]}.get(name, [1])
    assert [one.batch_size for one in found.measured] == sizes
    assert [one.num_items for one in found.measured] == sizes
    assert found.not_run == ()
    assert not found.on_audio
    for one in found.measured:
        assert (one.name, one.precision, one.device) == (name, "fp32", "cpu")
        assert (one.num_calls, one.rounds) == (1, 2)
        assert 0 < one.latency_s <= one.latency_p95_s
        assert min(one.load_s, one.first_call_s, one.items_per_s) > 0
        assert one.peak_device_bytes is None
    assert found.measured[0].speedup == 1.0


def test_synthetic_audio_has_a_duration(models: Path) -> None:
    one, three = bench(
        "segmentation_masks", devices=("cpu",), batch_sizes=(1, 3), rounds=1, models=models
    ).measured
    assert (one.audio_duration_s, three.audio_duration_s) == (1.0, 3.0)
    assert three.rtfx == three.items_per_s  # windows of a second
    (without,) = bench("linear", devices=("cpu",), rounds=1, models=models).measured
    assert without.audio_duration_s is without.rtfx is None


def test_a_recording_where_it_is_taken(models: Path) -> None:
    choices: dict[str, Any] = {"devices": ("cpu",), "batch_sizes": (2,), "rounds": 3}
    found = bench("segmentation_masks", AUDIO, **choices, models=models, source_rate_hz=RATE_HZ)
    (one,) = found.measured
    assert found.on_audio
    assert (one.num_items, one.num_calls, one.batch_size) == (6, 3, 2)
    assert one.audio_duration_s == 5.5
    other = bench("cosine_distance", AUDIO, **choices, models=models, source_rate_hz=RATE_HZ)
    assert not other.on_audio
    assert len(other.measured) == 1


def test_what_comes_to_the_same_is_measured_once(models: Path) -> None:
    found = bench(
        "linear",
        devices=("cpu", "cpu"),
        precisions=("auto", "fp32", "int8"),
        batch_sizes=(1, 8),
        rounds=1,
        models=models,
    )
    assert [one.precision for one in found.measured] == ["fp32", "int8"]


def test_a_precision_or_device_that_is_not_there_is_told_once(models: Path) -> None:
    """No machine has a card of this number."""
    found = bench(
        "segmentation_masks",
        devices=("cpu", "cuda:9999"),
        precisions=("fp32", "int8"),
        batch_sizes=(1, 2),
        rounds=1,
        models=models,
    )
    assert len(found.measured) == 2
    told = [(entry.device, entry.precision, entry.batch_size) for entry in found.not_run]
    assert told == [("cpu", "int8", None), ("cuda:9999", "fp32", None), ("cuda:9999", "int8", None)]
    assert "has no onnx int8 variant" in found.not_run[0].reason
    assert "'cuda:9999' cannot be used" in found.not_run[1].reason
    text = benchmark_table([found])
    assert text.count("not run") == 3
    assert "segmentation_masks int8 on cpu: not run: artifact" in text


def test_nothing_could_run(models: Path) -> None:
    found = bench("linear", devices=("cuda:9999",), rounds=1, models=models)
    assert found.measured == ()
    assert benchmark_table([found]).count("\n") == 1


def test_all_is_in_the_json(models: Path) -> None:
    found = bench("linear", devices=("cpu", "cuda:9999"), rounds=2, models=models)
    (row,) = json.loads(to_json([found]))["artifacts"]
    assert (row["name"], row["on_audio"]) == ("linear", False)
    (one,) = row["measured"]
    assert one["items_per_s"] == pytest.approx(1 / one["round_s"])
    assert {"latency_s", "latency_p95_s", "load_s", "first_call_s", "rtfx", "speedup"} <= set(one)
    assert row["not_run"][0]["device"] == "cuda:9999"


def in_turn(monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int, int], float]) -> list[int]:
    """Let rounds take ``seconds(batch, nth)``; returns the batches in the order of their rounds."""
    order: list[int] = []

    def timed(_: Session, workload: Any) -> Round:
        size = workload.batch_size
        order.append(size)
        took = seconds(size, order.count(size))
        return Round(0.0, 0.0, 2 * took, 2, size, None, (took, took))

    monkeypatch.setattr(variant, "timed_round", timed)
    return order


def rows(models: Path, rounds: int, *sizes: int) -> tuple[Measured, ...]:
    return bench(
        "segmentation_masks", devices=("cpu",), batch_sizes=sizes, rounds=rounds, models=models
    ).measured


def test_rounds_go_there_and_back(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = in_turn(monkeypatch, lambda *_: 1.0)
    rows(models, 3, 1, 2, 4)
    warm, *rounds = (order[start : start + 3] for start in range(0, 12, 3))
    assert warm == [1, 2, 4]
    assert rounds == [[1, 2, 4], [4, 2, 1], [1, 2, 4]]


def test_figures_are_medians_and_ratios_are_of_each_round(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call of each is the round that warms up; a machine slows down twofold each time."""
    in_turn(monkeypatch, lambda size, nth: 0.001 * 2**nth * (1.0 if size == 1 else 1.5))
    one, two = rows(models, 3, 1, 2)
    assert one.latency_s == pytest.approx(0.008)
    assert one.round_s == pytest.approx(0.016)
    assert one.latency_p95_s == pytest.approx(0.016)
    assert one.items_per_s == pytest.approx(1 / 0.016)
    # Two items in one and a half times the time, in every round.
    assert two.speedup == pytest.approx(2 / 1.5)


@pytest.mark.parametrize(
    "choices",
    [{"rounds": 0}, {"devices": ()}, {"precisions": ()}, {"batch_sizes": (0,)}],
)
def test_choices_out_of_range(choices: dict[str, Any], models: Path) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        bench("linear", models=models, **choices)


def test_an_unknown_name_is_an_error(models: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match="no artifact 'linea'; there are: cosine"):
        bench("linea", models=models)


def test_a_file_by_its_path(models: Path) -> None:
    path = models / "linear.fp32.onnx"
    found = bench(path, devices=("cpu",), rounds=1)
    assert (found.name, found.measured[0].name) == (str(path), "linear")


# A card


class Loads:
    """``load`` with sessions that say they run on a card, whose memory holds ``fits`` windows."""

    def __init__(self, fits: int = 1000) -> None:
        self.sessions: list[Session] = []
        self._fits = fits

    def __call__(self, name: Any, *, device: str, **choices: Any) -> Session:
        session = load(name, device="cpu", **choices)
        if device != "cpu":
            session.device = "cuda:0"
            session.plan = replace(session.plan, device="cuda:0")
            self._limit(session)
        self.sessions.append(session)
        return session

    def _limit(self, session: Session) -> None:
        compute = session._compute

        def limited(inputs: Any) -> Any:
            if len(inputs["waveform"]) > self._fits:
                raise OutOfMemoryError("the card is full")
            return compute(inputs)

        session._compute = limited  # type: ignore[method-assign]


def on_a_card(models: Path, **choices: Any) -> Any:
    sizes = (1, 2, 4)
    return bench(
        "segmentation_masks",
        devices=("cpu", "cuda"),
        batch_sizes=sizes,
        rounds=1,
        models=models,
        **choices,
    )


def test_a_batch_that_does_not_fit_is_told(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads(fits=2)
    monkeypatch.setattr(variant, "load", loads)
    monkeypatch.setattr(variant.Variant, "peak_device_bytes", lambda _: None)
    found = on_a_card(models)
    there = [(one.device, one.batch_size) for one in found.measured]
    assert there == [("cpu", 1), ("cpu", 2), ("cpu", 4), ("cuda:0", 1), ("cuda:0", 2)]
    (missed,) = found.not_run
    assert (missed.device, missed.batch_size) == ("cuda", 4)
    assert "the card is full" in missed.reason
    assert "on cuda, batches of 4: not run" in benchmark_table([found])
    assert all(session._closed for session in loads.sessions)


def test_a_card_that_fails_meanwhile_is_told(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = Loads()
    monkeypatch.setattr(variant, "load", loads)
    in_rounds = variant.Variant.round

    def failing(self: variant.Variant) -> Round:
        if self.choice == variant.Choice("cuda", "auto", 2):
            raise DeviceError("the card fell off the bus")
        return in_rounds(self)

    monkeypatch.setattr(variant.Variant, "round", failing)
    monkeypatch.setattr(variant.Variant, "peak_device_bytes", lambda _: None)
    found = on_a_card(models)
    there = [(one.device, one.batch_size) for one in found.measured]
    assert there == [("cpu", 1), ("cpu", 2), ("cpu", 4), ("cuda:0", 1), ("cuda:0", 4)]
    (missed,) = found.not_run
    assert (missed.device, missed.batch_size) == ("cuda", 2)
    assert all(session._closed for session in loads.sessions)


def test_the_memory_of_a_card_is_from_its_profile(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NodeEvent("first", "Conv", "CUDAExecutionProvider", 1, 10, 50, 9_000_000)
    trace = Trace((RunEvent(0, 100),), (node,), ())
    monkeypatch.setattr(variant, "load", Loads())
    profiled = ProfiledCalls(trace, 1.0, 0.1, 2)
    monkeypatch.setattr(variant, "profiled_calls", lambda *_: profiled)
    found = on_a_card(models)
    assert [one.peak_device_bytes for one in found.measured] == [None] * 3 + [9_000_000] * 3


def test_a_profile_that_cannot_be_read_costs_that_figure_only(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise TraceError("holds no calls")

    monkeypatch.setattr(variant, "load", Loads())
    monkeypatch.setattr(variant, "profiled_calls", broken)
    found = on_a_card(models)
    assert len(found.measured) == 6
    assert caplog.text.count("memory of cuda:0 not known: holds no calls") == 3


def test_what_fails_on_every_device_is_an_error(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = Loads()
    monkeypatch.setattr(variant, "load", loads)
    with pytest.raises(AudioError, match="NaN"):
        bench(
            "segmentation_masks",
            np.full(WINDOW, np.nan, np.float32),
            devices=("cpu",),
            models=models,
            source_rate_hz=RATE_HZ,
        )
    assert all(session._closed for session in loads.sessions)


def test_a_device_error_is_told_and_the_others_go_on(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: Any, *, device: str, **choices: Any) -> Session:
        if device == "cuda":
            raise DeviceError("no card may be used by this test")
        return load(name, device=device, **choices)

    monkeypatch.setattr(variant, "load", refuse)
    found = bench("linear", devices=("cuda", "cpu"), rounds=1, models=models)
    assert [one.device for one in found.measured] == ["cpu"]
    assert [entry.device for entry in found.not_run] == ["cuda"]
