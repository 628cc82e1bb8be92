"""What is made of sessions answers alike on one, on several, and when one of them breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import ENVIRONMENTS
from tiny_diarization import (
    SETTINGS,
    dialogue,
    diarized,
    embedding,
    publish,
    segmentation,
    segmentation_windows,
)
from voxport.runtime import (
    DiarizationResult,
    Diarizer,
    Options,
    Settings,
    SpeakerEmbedder,
    SpeechDetector,
    VoxportError,
    load,
    plan_device,
)
from voxport.runtime.diarization import diarizer as diarizer_module
from voxport.runtime.inputs import Arrays
from voxport.runtime.onnx_session import OnnxSession
from voxport.runtime.several.processors import allowed_cpus
from voxport.runtime.several.session import SeveralSessions
from voxport.runtime.several.workers import regions_at_once, workers_for

TWO = pytest.mark.skipif(len(allowed_cpus()) < 2, reason="needs two processors")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return publish(tmp_path / "models", segmentation(), embedding())


# Several sessions on the CPU


@TWO
@pytest.mark.parametrize("mode", ["fast", "exact"])
@pytest.mark.parametrize("shares", [False, True], ids=["windows alone", "shared windows"])
def test_turns_do_not_depend_on_the_sessions(tmp_path: Path, mode: str, shares: bool) -> None:
    first = segmentation_windows() if shares else segmentation()
    models = publish(tmp_path / "models", first, embedding())
    results = []
    for device in ("cpu", "cpu*2"):
        chosen = Settings(**{**SETTINGS, "mode": mode})
        with Diarizer(models=models, device=device, settings=chosen) as diarizer:
            results.append(diarized(diarizer.optimize_for_gpu(), dialogue()))
    one, other = results
    assert one.turns == other.turns
    assert len(one.turns) == 3
    for name, voice in one.embeddings.items():
        np.testing.assert_array_equal(voice, other.embeddings[name])


@TWO
def test_speech_and_voices_do_not_depend_on_the_sessions(models: Path) -> None:
    found = []
    for device in ("cpu", "cpu*2"):
        with SpeechDetector(models=models, device=device, step_s=0.1) as detector:
            found.append(detector(dialogue(), source_rate_hz=1600).speech)
    assert found[0] == found[1]
    assert len(found[0]) == 3


@TWO
def test_workers_are_as_many_as_the_sessions_take(models: Path) -> None:
    cores = len(allowed_cpus())
    for device, threads, workers in [("cpu", None, cores), ("cpu*2", None, cores), ("cpu*2", 1, 1)]:
        with Diarizer(models=models, device=device, threads=threads) as diarizer:
            assert diarizer._workers == workers
    options = Options(intra_op_threads=cores)
    with SpeakerEmbedder(models=models, device="cpu", options=options) as embedder:
        assert embedder._workers == 1


# Cards, by name only: the sessions behind it are the CPU's


class Card(OnnxSession):
    """A session that counts its calls, and breaks with one of them."""

    def __init__(self, content: bytes, index: int, breaks_at: int | None) -> None:
        super().__init__(content, "tiny")
        self.device = f"cuda:{index}"
        self.calls = 0
        self._breaks_at = breaks_at

    def _compute(self, inputs: Arrays) -> Arrays:
        self.calls += 1
        if self._breaks_at is not None and self.calls > self._breaks_at:
            raise VoxportError(f"{self.device} fell off the bus")
        return super()._compute(inputs)


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> dict[int | None, list[Card]]:
    """Lets a ``Diarizer`` load two cards for each network, of which one breaks at a call."""
    made: dict[int | None, list[Card]] = {}

    def load_first(names: tuple[str, ...], *, device: str, **_: Any) -> SeveralSessions:
        wanted = None if device == "cuda:0,1" else int(device)
        content = (embedding() if "embedding" in names[0] else segmentation())[1]
        pair = [Card(content, 0, None), Card(content, 1, wanted)]
        made.setdefault(wanted, []).extend(pair)
        return SeveralSessions(pair, plan_device("cuda:0,1", ENVIRONMENTS["two cards"]))

    monkeypatch.setattr(diarizer_module, "load_first", load_first)
    return made


def on_cards(models: Path, breaks_at: int | None, mode: str) -> DiarizationResult:
    device = "cuda:0,1" if breaks_at is None else str(breaks_at)
    chosen = Settings(**{**SETTINGS, "mode": mode})
    with Diarizer(models=models, device=device, settings=chosen) as diarizer:
        assert diarizer._workers == 2
        return diarized(diarizer, np.tile(dialogue(), 3))


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_blocks_go_to_all_cards_and_turns_survive_one_that_breaks(
    models: Path, cards: dict[int | None, list[Card]], mode: str
) -> None:
    whole = on_cards(models, None, mode)
    assert len(whole.turns) == 7
    assert all(card.calls > 0 for card in cards[None])
    for breaks_at in (0, 2):
        assert on_cards(models, breaks_at, mode).turns == whole.turns
        assert all(card.calls > breaks_at for card in cards[breaks_at][1::2])


def test_warming_up_reaches_every_card(models: Path, cards: dict[int | None, list[Card]]) -> None:
    with Diarizer(models=models, device="cuda:0,1", settings=Settings(**SETTINGS)) as diarizer:
        diarizer.optimize_for_gpu()
    calls = [card.calls for card in cards[None]]
    # In this speech the tiny segmentation finds nobody to embed.
    assert calls[0::2] == calls[1::2]
    assert max(calls) > 0


@pytest.mark.parametrize(
    ("device", "threads", "workers", "regions"),
    [
        ("cuda:0", None, 1, 1),
        ("cuda:0", 8, 1, 1),
        ("cuda:0,1", None, 2, 2),
        ("cuda:*", 1, 2, 2),
        ("cpu", 4, 4, 2),
        ("cpu", 1, 1, 1),
    ],
)
def test_how_many_blocks_at_once(
    models: Path, device: str, threads: int | None, workers: int, regions: int
) -> None:
    with load("segmentation_masks", models=models, device="cpu") as session:
        session.plan = plan_device(device, ENVIRONMENTS["two cards"])
        assert workers_for(session, threads) == workers
        assert regions_at_once(session, workers) == regions
