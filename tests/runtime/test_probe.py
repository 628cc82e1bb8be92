"""The probe: the same question everywhere, and wrong answers are told from rounded ones."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import ArtifactError
from voxport.runtime.probe import (
    TOLERANCES,
    probe_error,
    probe_record,
    probe_shapes,
)
from voxport.runtime.synthetic import probe_inputs

SHAPES: dict[str, tuple[int, ...]] = {
    "waveform": (1, 1, 160000),
    "masks": (1, 3, 589),
    "segments": (1, 589, 3),
    "log_probs": (1, 589, 7),
    "embeddings": (3, 192),
}


DIGESTS = {
    "masks": "93afc766131228aa",
    "segments": "9f224d422d74ae2e",
    "log_probs": "08298d682dbe2072",
    "embeddings": "c67cdd3f894faf22",
}
WAVEFORM_VALUES = [0.013, 0.001, -0.022, -0.023]
WAVEFORM_RMS = 0.056


def test_the_question_has_not_changed() -> None:
    """Stored answers belong to it: another question needs another schema version."""
    inputs = probe_inputs(SHAPES)
    digests = {
        # Rounded: sines differ in their last bit between machines.
        name: hashlib.sha256(np.round(array, 3).tobytes()).hexdigest()[:16]
        for name, array in inputs.items()
        if name != "waveform"
    }
    assert digests == DIGESTS
    waveform = inputs["waveform"].astype(np.float64)
    assert [round(float(v), 3) for v in waveform[0, 0, 20000::40000]] == WAVEFORM_VALUES
    assert round(float(np.sqrt((waveform**2).mean())), 3) == WAVEFORM_RMS


def test_inputs_are_of_the_shapes_asked_for() -> None:
    inputs = probe_inputs(SHAPES)
    assert {name: array.shape for name, array in inputs.items()} == SHAPES
    assert all(array.dtype == np.float32 for array in inputs.values())
    np.testing.assert_array_equal(inputs["masks"], inputs["segments"].swapaxes(1, 2))
    assert inputs["masks"].sum(axis=1).max() == 2  # some overlap
    assert (inputs["masks"].sum(axis=2) > 0).all()
    assert 0.4 < np.abs(inputs["waveform"]).max() <= 0.5


def _record(outputs: dict[str, Any]) -> dict[str, Any]:
    return probe_record({"x": (1, 2)}, outputs)


def test_the_answer_itself_has_hardly_any_error() -> None:
    outputs = {"y": np.random.default_rng(0).normal(size=(7, 91)), "z": np.zeros((3, 3))}
    assert probe_error(_record(outputs), outputs, "f") < 5e-5


@given(st.floats(1e-3, 0.5))
def test_the_error_is_relative(noise: float) -> None:
    answer = {"y": np.ones((40, 40))}
    found = {"y": np.ones((40, 40)) + noise}
    assert probe_error(_record(answer), found, "f") == pytest.approx(noise)


def test_the_worst_output_counts() -> None:
    answer = {"y": np.ones(4), "z": np.ones(4)}
    assert probe_error(_record(answer), {"y": np.ones(4), "z": np.zeros(4)}, "f") == 1.0


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"other": np.ones((2, 2))},
        {"y": np.ones((2, 3))},
        {"y": np.full((2, 2), np.nan)},
        {"y": np.ones((2, 2)), "more": np.ones(1)},
    ],
)
def test_what_cannot_be_compared_is_infinitely_wrong(found: dict[str, Any]) -> None:
    assert probe_error(_record({"y": np.ones((2, 2))}), found, "f") == float("inf")


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"inputs": []},
        {"inputs": {"x": "1"}},
        {"inputs": {"x": [0]}},
        {"inputs": {"x": [True]}},
        {"inputs": {"x": [1.5]}},
        {"inputs": {"x": [2**20, 2**20]}},
    ],
)
def test_damaged_questions_are_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match=r"^f: .*probe"):
        probe_shapes(record, "f")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {"y": None},
        {"y": {"shape": [2]}},
        {"y": {"shape": [2], "values": ["a", "b"]}},
        {"y": {"shape": [2], "values": [1.0]}},
        {"y": {"shape": [2], "values": [1.0, float("nan")]}},
        {"y": {"shape": 2, "values": [1.0, 1.0]}},
    ],
)
def test_damaged_answers_are_refused(answer: Any) -> None:
    with pytest.raises(ArtifactError, match=r"^f: .*probe"):
        probe_error({"outputs": answer}, {"y": np.ones(2)}, "f")


def test_every_precision_has_a_tolerance() -> None:
    assert set(TOLERANCES) == {"fp32", "fp16", "int8", "w8"}
    assert all(0 < tolerance < 0.5 for tolerance in TOLERANCES.values())
