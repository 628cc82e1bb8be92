"""What a stream refuses, and that it goes on afterwards as if nothing had been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streams import even, final_turns, streaming
from tiny_artifacts import RATE_HZ
from tiny_diarization import dialogue, embedding, publish, segmentation
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    AudioError,
    OptionsError,
    SessionClosedError,
    StreamingDiarizer,
    StreamingSettings,
    VoxportError,
)
from voxport.runtime.session import Session

BAD: list[tuple[Any, str]] = [
    (np.array([0.1, np.nan], np.float32), "NaN"),
    (np.array([0.1, -np.inf], np.float32), "NaN, infinite"),
    (np.array([1e300, 0.0]), "NaN, infinite"),
    (np.array([3e10, 0.0], np.float32), "beyond any scale"),
    (np.zeros((4, 2), np.float32), r"expected \(samples,\), got shape \(4, 2\)"),
    (np.zeros((1, 4), np.float32), r"got shape \(1, 4\)"),
    (np.zeros((2, 1, 1), np.float32), "got shape"),
    (np.array(0.5, np.float32), r"got shape \(\)"),
    (np.zeros(4, np.bool_), "float or integers, got bool"),
    (np.zeros(4, np.complex64), "float or integers, got complex64"),
    (np.array(["a"]), "float or integers"),
    ([0.1, 0.2], "float or integers, got list"),
    (b"\0\0", "float or integers, got bytes"),
    (None, "float or integers, got NoneType"),
]


@pytest.mark.parametrize(("samples", "message"), BAD)
def test_bad_samples_leave_the_stream_as_it_is(
    tiny_stream: StreamingDiarizer, samples: Any, message: str
) -> None:
    expected = final_turns(tiny_stream, even(dialogue(), 400))
    tiny_stream.reset()
    found = []
    for number, part in enumerate(even(dialogue(), 400)):
        if number % 7 == 3:
            with pytest.raises(AudioError, match=message):
                tiny_stream.push(samples)
        found += tiny_stream.push(part).final
    assert [*found, *tiny_stream.finish().final] == expected


def test_channels_have_to_be_there(tiny_stream_models: Path) -> None:
    with streaming(tiny_stream_models, num_channels=2) as loaded:
        for shape in ((4,), (4, 1), (2, 4)):
            with pytest.raises(AudioError, match=r"expected \(samples, 2\)"):
                loaded.push(np.zeros(shape, np.float32))
        assert loaded.push(np.zeros((4, 2), np.float32)).now_s == 4 / RATE_HZ
    with streaming(tiny_stream_models) as loaded:
        assert loaded.push(np.zeros((4, 1), np.float32)).now_s == 4 / RATE_HZ


def test_after_the_end(tiny_stream_models: Path) -> None:
    loaded = streaming(tiny_stream_models)
    loaded.push(dialogue())
    loaded.finish()
    for call in (lambda: loaded.push(dialogue()), loaded.finish):
        with pytest.raises(SessionClosedError, match="reset"):
            call()
    loaded.reset()
    assert loaded.push(dialogue()).final
    loaded.close()
    loaded.close()
    for call in (lambda: loaded.push(dialogue()), loaded.finish):
        with pytest.raises(SessionClosedError, match="closed"):
            call()


@pytest.mark.parametrize("network", ["segmentation_masks", "embedding_tiny"])
def test_a_network_that_fails_loses_nothing(
    tiny_stream: StreamingDiarizer, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    samples = dialogue()[: RATE_HZ * 5 + 77]
    expected = final_turns(tiny_stream, [samples])
    tiny_stream.reset()
    original = Session.run
    calls = 0

    def failing(session: Session, **arrays: Any) -> Any:
        nonlocal calls
        calls += session.description.name == network
        if session.description.name == network and calls % 3 == 0:
            raise VoxportError("the card is gone")
        return original(session, **arrays)

    monkeypatch.setattr(Session, "run", failing)
    found, failures = [], 0
    for part in [*even(samples, 700), None]:
        update, pending = None, part
        while update is None:
            try:
                update = tiny_stream.finish() if part is None else tiny_stream.push(pending)
            except VoxportError:
                failures += 1
                pending = np.zeros(0, np.float32)
        found += update.final
    assert failures > 5
    assert found == expected


def test_no_push_after_a_finish_that_failed(
    tiny_stream: StreamingDiarizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_stream.reset()
    tiny_stream.push(dialogue()[:1650])

    def failing(*_: Any, **__: Any) -> Any:
        raise VoxportError("the card is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Session, "run", failing)
        with pytest.raises(VoxportError, match="gone"):
            tiny_stream.finish()
    with pytest.raises(SessionClosedError, match="call finish"):
        tiny_stream.push(dialogue())
    assert tiny_stream.finish().final


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"step_s": 0}, "step_s must be a number above 0, got 0"),
        ({"step_s": True}, "step_s"),
        ({"step_s": float("nan")}, "step_s"),
        ({"step_s": "1"}, "step_s"),
        ({"latency_s": float("inf")}, "latency_s"),
        ({"latency_s": 0.5}, "latency_s must be from step_s, 1, to 600 s, got 0.5"),
        ({"latency_s": 601}, "latency_s must be from"),
        ({"threshold": -1}, "threshold"),
        ({"max_speakers": 0}, "max_speakers must be a whole number from 1, got 0"),
        ({"max_speakers": 2.0}, "max_speakers"),
        ({"min_cluster_size": None}, "min_cluster_size"),
        ({"memory_size": 0}, "memory_size"),
    ],
)
def test_settings(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        StreamingSettings(**choice)


@pytest.mark.parametrize("step_s", [0.009, 1.01])
def test_steps_that_the_networks_cannot_meet(tiny_stream_models: Path, step_s: float) -> None:
    with pytest.raises(OptionsError, match=r"from a frame to a window, 0\.01 to 1 s"):
        streaming(tiny_stream_models, step_s=step_s, latency_s=2)


@pytest.mark.parametrize(
    "choice",
    [{"rate_hz": 0}, {"rate_hz": 16000.5}, {"num_channels": 0}, {"num_channels": 65}],
)
def test_audio_that_nobody_has(tmp_path: Path, choice: dict[str, Any]) -> None:
    # Said before anything is looked for.
    with pytest.raises(AudioError, match="live audio"):
        streaming(tmp_path, **choice)


@pytest.mark.parametrize(
    ("artifacts", "error", "message"),
    [
        ([segmentation()], ArtifactNotFoundError, "no embedding network"),
        ([embedding()], ArtifactNotFoundError, "segmentation_masks"),
        ([segmentation(), embedding(sample_rate_hz=8000)], ArtifactError, "belong together"),
        ([segmentation(), embedding(embedding_size=None)], ArtifactError, "embedding_size"),
        ([segmentation(), embedding(clustering_threshold=None)], ArtifactError, "threshold"),
        ([segmentation(hop_samples=17), embedding()], ArtifactError, "do not fit"),
    ],
)
def test_artifacts(tmp_path: Path, artifacts: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        streaming(publish(tmp_path, *artifacts))


def test_a_threshold_of_ones_own_needs_none_in_the_artifact(tmp_path: Path) -> None:
    models = publish(tmp_path, segmentation(), embedding(clustering_threshold=None))
    with streaming(models, threshold=0.75) as loaded:
        assert loaded.push(dialogue()).final
