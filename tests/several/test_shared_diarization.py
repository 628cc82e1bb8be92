"""Recordings that one ``Diarizer`` works on at once: which of its calls become one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_devices import until
from tiny_artifacts import RATE_HZ, WINDOW
from tiny_diarization import (
    INVERTED,
    SETTINGS,
    Samples,
    dialogue,
    diarized,
    embedding,
    publish,
    segmentation,
    segmentation_windows,
    silence,
    speech,
)
from voxport.runtime import DiarizationResult, Diarizer, Options, Settings
from voxport.runtime.inputs import Arrays
from voxport.runtime.session import Session
from voxport.runtime.several.processors import allowed_cpus

# One call at a time on any machine, as where a card is busy.
_ALONE = {"intra_op_threads": len(allowed_cpus())}
_REGION = round(SETTINGS["block_s"] * RATE_HZ)


def recordings() -> list[Samples]:
    """Of different lengths, voices and levels; the first blocks of all are full."""
    return [
        dialogue(),
        np.concatenate([speech(4, 3), silence(1), speech(3.3, 8, INVERTED), speech(2, 3)]),
        np.concatenate([speech(3.5, 2, INVERTED), silence(0.5), speech(2.7, 7)]),
        np.concatenate([dialogue(), speech(1.2, 5, INVERTED)]),
    ]


class Busy:
    """The shapes of waveforms in a session's calls; the first one lasts until ``others`` wait."""

    def __init__(self, session: Session, others: int) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._session, self._others, self._compute = session, others, session._compute
        self._lock = threading.Lock()
        session._compute = self  # type: ignore[method-assign]
        if session._shared is not None:
            session.share_calls()

    def __call__(self, inputs: Arrays) -> Arrays:
        with self._lock:
            self.shapes.append(inputs["waveform"].shape)
            is_first = len(self.shapes) == 1
        if is_first and self._session._shared is not None:
            waiting = self._session._shared._waiting
            until(lambda: len(waiting) >= self._others)
        return self._compute(inputs)

    @property
    def rows(self) -> list[int]:
        return [shape[0] for shape in self.shapes]


@contextmanager
def loaded(models: Path, mode: Any, **options: Any) -> Iterator[Diarizer]:
    settings = Settings(**SETTINGS, mode=mode)
    chosen = Options(**_ALONE, **options)
    with Diarizer(
        models=models, device="cpu", settings=settings, threads=1, options=chosen
    ) as diarizer:
        yield diarizer


def at_once(diarizer: Diarizer, given: Sequence[Samples]) -> list[DiarizationResult]:
    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(lambda samples: diarized(diarizer, samples), given))


def one_by_one(models: Path, mode: str, given: Sequence[Samples]) -> list[DiarizationResult]:
    with loaded(models, mode) as diarizer:
        return [diarized(diarizer, samples) for samples in given]


def assert_alike(found: list[DiarizationResult], expected: list[DiarizationResult]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert len(one.turns) > 1
        assert one.turns == other.turns
        for name, centroid in other.embeddings.items():
            # Sums of a few hundred float32 products, in another order.
            np.testing.assert_allclose(one.embeddings[name], centroid, rtol=1e-5, atol=1e-4)


def test_full_regions_of_several_recordings_are_embedded_together(tmp_path: Path) -> None:
    models = publish(tmp_path / "models", segmentation_windows(), embedding())
    given = recordings()
    expected = one_by_one(models, "fast", given)
    with loaded(models, "fast", batch_across_calls=True) as diarizer:
        segmenting = Busy(diarizer._segmentation, 0)
        embedding_calls = Busy(diarizer._embedding, len(given) - 1)
        found = at_once(diarizer, given)
    assert_alike(found, expected)
    # A recording has one region in flight: rows are recordings.
    assert embedding_calls.rows[:2] == [1, len(given) - 1]
    together = [shape for shape in embedding_calls.shapes if shape[0] > 1]
    assert {shape[2] for shape in together[:1]} == {_REGION}
    # The waveform of shared windows has no batch axis.
    assert set(segmenting.rows) == {1}
    assert diarizer._segmentation._shared is None


def test_last_regions_are_embedded_together_if_they_have_as_many_windows(tmp_path: Path) -> None:
    """More silence would change what the network says: audio is filled up to whole windows only."""
    models = publish(tmp_path / "models", segmentation_windows(), embedding())
    given = [speech(seconds, 0) for seconds in (1.5, 1.64, 1.68, 1.9)]
    with loaded(models, "fast", batch_across_calls=True) as diarizer:
        calls = Busy(diarizer._embedding, len(given) - 1)
        at_once(diarizer, given)
    lengths = [shape[2] for shape in calls.shapes for _ in range(shape[0])]
    assert sorted(lengths) == [round(s * RATE_HZ) for s in (1.5, 1.7, 1.7, 1.9)]
    # The two of a length are one call, unless one of them came first.
    first, *others = calls.shapes
    rows = [shape[0] for shape in others if shape[2] == round(1.7 * RATE_HZ)]
    assert rows == ([1] if first[2] == round(1.7 * RATE_HZ) else [2])


def test_in_exact_mode_windows_of_several_recordings_are_one_call(tmp_path: Path) -> None:
    models = publish(tmp_path / "models", segmentation(), embedding())
    given = recordings()
    expected = one_by_one(models, "exact", given)
    with loaded(models, "exact", batch_across_calls=True) as diarizer:
        diarizer.optimize_for_gpu(batch_size=16)
        segmenting = Busy(diarizer._segmentation, len(given) - 1)
        embedding_calls = Busy(diarizer._embedding, len(given) - 1)
        found = at_once(diarizer, given)
    assert_alike(found, expected)
    # On the CPU a recording segments up to 8 windows a call, and embeds one.
    assert sum(rows > 8 for rows in segmenting.rows) > 0
    assert max(segmenting.rows) <= 16
    assert embedding_calls.rows[:2] == [1, len(given) - 1]
    assert {shape[2] for shape in embedding_calls.shapes} == {WINDOW}


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_without_the_option_each_call_runs_alone(tmp_path: Path, mode: str) -> None:
    models = publish(tmp_path / "models", segmentation(), embedding())
    given = recordings()
    with loaded(models, mode) as diarizer:
        calls = Busy(diarizer._embedding, 0)
        at_once(diarizer, given)
    assert set(calls.rows) == {1}
