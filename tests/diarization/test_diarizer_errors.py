"""What the Diarizer refuses, and what happens where it fails: nothing is left running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_artifacts import HOP, RATE_HZ, demo_artifacts
from tiny_diarization import (
    dialogue,
    diarized,
    diarizer,
    embedding,
    publish,
    segmentation,
)
from voxport.runtime import (
    ArtifactError,
    ArtifactNotFoundError,
    AudioError,
    InputError,
    OptionsError,
    VoxportError,
)
from voxport.runtime.diarization import Diarizer, Progress, Settings
from voxport.runtime.stages import (
    Plda,
)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError("of the hook")])
def test_an_error_of_the_hook_ends_everything(
    fast: Diarizer, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    calls: list[None] = []
    session = fast._segmentation
    original = session.run_batched

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return original(*args, **kwargs)

    def hook(_: Progress) -> None:
        raise error

    monkeypatch.setattr(session, "run_batched", counted)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        diarized(fast, np.concatenate([dialogue()] * 20), progress=hook)
    # Of 65 blocks in four parts each, those that had begun: at most what was read ahead.
    assert 1 <= len(calls) <= 20
    monkeypatch.undo()
    assert diarized(fast, dialogue()).turns


@pytest.mark.parametrize("network", ["_segmentation", "_embedding"])
@pytest.mark.parametrize("error", [VoxportError("the card is gone"), KeyboardInterrupt()])
def test_an_error_in_a_worker_comes_out(
    fast: Diarizer, monkeypatch: pytest.MonkeyPatch, network: str, error: BaseException
) -> None:
    calls: list[None] = []

    def failing(_: Any) -> Any:
        calls.append(None)
        raise error

    monkeypatch.setattr(getattr(fast, network), "_compute", failing)
    with pytest.raises(type(error), match=str(error) or None):
        diarized(fast, np.concatenate([dialogue()] * 20))
    assert len(calls) < 86


def test_an_error_in_the_audio_comes_after_good_blocks(fast: Diarizer) -> None:
    samples = np.concatenate([dialogue()] * 60)
    samples[-5] = np.nan
    seen: list[Progress] = []
    with pytest.raises(AudioError, match="NaN"):
        fast(np.stack([samples] * 2, axis=1), source_rate_hz=RATE_HZ, progress=seen.append)
    assert seen
    assert {each.stage for each in seen} == {"windows"}


@pytest.mark.parametrize(
    ("artifacts", "choice", "message"),
    [
        ([segmentation()], {}, "no embedding network"),
        ([segmentation(), embedding("embedding_inputs")], {}, "no embedding network"),
        ([embedding()], {}, "segmentation_masks"),
        ([segmentation(), embedding()], {"embedding": "embedding_none"}, "embedding_none"),
    ],
)
def test_missing_artifacts(
    tmp_path: Path, artifacts: list[Any], choice: dict[str, str], message: str
) -> None:
    models = publish(tmp_path, *artifacts)
    with pytest.raises(ArtifactNotFoundError, match=message):
        Diarizer(models=models, device="cpu", **choice)


@pytest.mark.parametrize(
    ("artifacts", "message"),
    [
        (demo_artifacts, "window_frames"),
        (lambda: [segmentation(), embedding(embedding_size=None)], "embedding_size"),
        (lambda: [segmentation(), embedding(clustering_threshold=0)], "clustering_threshold"),
        (lambda: [segmentation(), embedding(sample_rate_hz=16000)], "do not belong together"),
        (lambda: [segmentation(hop_samples=17), embedding()], "do not fit"),
    ],
)
def test_artifacts_without_the_figures_that_it_takes(
    tmp_path: Path, artifacts: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        diarizer(publish(tmp_path, *artifacts()))


def test_a_threshold_of_ones_own_needs_none_in_the_artifact(tmp_path: Path) -> None:
    models = publish(tmp_path, segmentation(), embedding(clustering_threshold=None))
    with diarizer(models, threshold=1.9) as loaded:
        # Orthogonal voices are 1.4 apart: one speaker.
        assert len(diarized(loaded, dialogue()).speakers) == 1
    with diarizer(models, threshold=0.75) as loaded:
        assert len(diarized(loaded, dialogue()).speakers) == 2


def plda(size: int) -> Plda:
    """One that changes nothing, with much more variance between speakers than within."""
    zeros = np.zeros(size)
    return Plda(zeros, np.eye(size), zeros, zeros, np.eye(size), np.full(size, 20.0))


def test_vbx(tiny_models: Path) -> None:
    with diarizer(tiny_models, plda=plda(HOP)) as loaded:
        result = diarized(loaded, np.concatenate([dialogue()] * 3))
    assert len(result.speakers) == 2
    with diarizer(tiny_models, plda=plda(HOP), threshold=1.9) as loaded:
        assert len(diarized(loaded, np.concatenate([dialogue()] * 3)).speakers) == 1


def test_a_plda_of_another_network_is_refused_at_once(tiny_models: Path) -> None:
    with pytest.raises(InputError, match="trained on 256-d embeddings and cannot judge 16-d"):
        diarizer(tiny_models, plda=plda(256))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "quick"},
        {"mode": None},
        *({name: value} for name in ("step_s", "block_s") for value in (0, -1, np.nan, "1", None)),
        {"threshold": 0.0},
        {"threshold": np.inf},
        {"threshold": True},
        {"min_cluster_size": 0},
        {"min_cluster_size": 1.5},
        {"min_duration_off_s": -0.1},
        {"min_duration_off_s": "0"},
    ],
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize(
    "settings", [{"step_s": 1.1}, {"step_s": 0.001}, {"block_s": 1e9}, {"block_s": 1e300}]
)
def test_settings_that_the_networks_cannot_meet(
    tiny_models: Path, settings: dict[str, float]
) -> None:
    with pytest.raises(OptionsError, match=next(iter(settings))):
        diarizer(tiny_models, **settings)


def test_threads_are_one_or_more(tiny_models: Path) -> None:
    for threads in (0, -2):
        with pytest.raises(OptionsError, match="threads"):
            diarizer(tiny_models, threads=threads)
