"""Cases are cut to the shapes of a package, and none is lost that can be."""

from __future__ import annotations

import numpy as np
import pytest
from voxport.export.errors import ExportError
from voxport.export.verification.cases import Case
from voxport.export.verification.fitting import fitted_cases
from voxport.runtime import TensorSpec

WAVEFORM = TensorSpec("waveform", "float32", ("batch", 1, "samples"))
MASKS = TensorSpec("masks", "float32", ("batch", "speakers", "frames"))
SIZES = {"batch": 1, "samples": 8, "speakers": 2, "frames": 3}


def _case(name: str, windows: int, samples: int, speakers: int = 2, **flags: bool) -> Case:
    waveform = np.arange(windows * samples, dtype=np.float32).reshape(windows, 1, samples)
    masks = 1 + np.arange(windows * speakers * 3, dtype=np.float32).reshape(windows, speakers, 3)
    return Case(name, {"waveform": waveform, "masks": masks}, **flags)


def test_windows_are_taken_one_by_one() -> None:
    case = _case("speech", 3, 8, decides=True)
    cut = fitted_cases([case], [WAVEFORM, MASKS], SIZES, {})
    assert [each.name for each in cut] == [f"speech, window {i}" for i in range(3)]
    assert all(each.decides for each in cut)
    for window, each in enumerate(cut):
        np.testing.assert_array_equal(each.inputs["waveform"], case.inputs["waveform"][[window]])
        np.testing.assert_array_equal(each.inputs["masks"], case.inputs["masks"][[window]])


def test_speakers_are_taken_in_groups_and_filled_with_silence() -> None:
    case = _case("many", 1, 8, speakers=5)
    cut = fitted_cases([case], [WAVEFORM, MASKS], SIZES, {})
    together = np.concatenate([each.inputs["masks"] for each in cut], axis=1)
    assert together.shape == (1, 6, 3)
    np.testing.assert_array_equal(together[:, :5], case.inputs["masks"])
    assert not together[:, 5].any()


def test_speakers_may_be_the_last_axis() -> None:
    masks = TensorSpec("masks", "float32", ("batch", "frames", "speakers"))
    case = Case("one", {"masks": np.ones((1, 3, 1), np.float32)})
    (cut,) = fitted_cases([case], [masks], SIZES, {})
    np.testing.assert_array_equal(cut.inputs["masks"], [[[1, 0]] * 3])


def test_other_lengths_are_left_out() -> None:
    cut = fitted_cases([_case("a", 1, 7), _case("b", 2, 8)], [WAVEFORM, MASKS], SIZES, {})
    assert [each.name for each in cut] == ["b, window 0", "b, window 1"]


def test_batches_are_filled_by_repetition_and_never_mix_what_is_judged_differently() -> None:
    cases = [_case("a", 2, 8, decides=True), _case("b", 1, 8, decides=True), _case("c", 1, 8)]
    cut = fitted_cases(cases, [WAVEFORM, MASKS], {**SIZES, "batch": 4}, {})
    assert sorted(each.decides for each in cut) == [False, True]
    speech = next(each for each in cut if each.decides).inputs["waveform"]
    first, second = cases[0].inputs["waveform"]
    np.testing.assert_array_equal(speech[:, 0], [*first, *second, *first, *first])
    assert sorted(each.counted or 0 for each in cut) == [1, 3]


def test_axes_with_a_range_are_free_within_it() -> None:
    embeddings = TensorSpec("embeddings", "float32", ("speakers", "size"))
    cases = [Case(str(n), {"embeddings": np.ones((n, 4), np.float32)}) for n in (0, 1, 3, 9)]
    bounds = {"speakers": (1, 4), "size": (1, 64)}
    cut = fitted_cases(cases, [embeddings], {"speakers": 3, "size": 192}, bounds)
    assert [each.name for each in cut] == ["1", "3"]


def test_nothing_to_judge_by_is_an_error() -> None:
    with pytest.raises(ExportError, match="no verification case"):
        fitted_cases([_case("a", 1, 7)], [WAVEFORM, MASKS], SIZES, {})
