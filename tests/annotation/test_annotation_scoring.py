"""DER and JER against pyannote.metrics, against counting milliseconds, and against reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from annotation_cases import activity, counted, short_turns
from hypothesis import given
from hypothesis import strategies as st
from voxport.runtime import OptionsError, VoxportError
from voxport.runtime.annotation import sweep
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.annotation.scoring import Score, score, total
from voxport.runtime.annotation.spans import Span
from voxport.runtime.annotation.turns import Turn, Turns

Arrays = dict[str, npt.NDArray[Any]]
# Sums of some hundred floats below 100, in two orders.
_TOLERANCE = 1e-9


def figures(found: Score) -> list[float]:
    return [
        *(found.speech_s, found.correct_s, found.confusion_s, found.miss_s, found.false_alarm_s),
        *(found.der, found.jer),
    ]


def spoken(*turns: tuple[float, float, str]) -> Turns:
    return Turns(Turn(*turn) for turn in turns)


# pyannote.metrics


@pytest.fixture(scope="module")
def expected(request: pytest.FixtureRequest) -> Arrays:
    load: Callable[[str], Arrays] = request.getfixturevalue("golden")
    return load("scoring")


def rules(expected: Arrays) -> list[dict[str, Any]]:
    return [
        {"collar_s": float(collar), "skip_overlap": bool(skip)}
        for collar, skip in expected["rules"]
    ]


def test_real_turns_against_pyannote_metrics(expected: Arrays, shared_data: Path) -> None:
    annotated = []
    for name in expected["names"]:
        (turns,) = read_rttm(shared_data / "rttm" / f"{name}.rttm").values()
        annotated.append(turns)
    found = [
        [
            [figures(score(first, second, **rule)) for rule in rules(expected)]
            for second in annotated
        ]
        for first in annotated
    ]
    assert np.shape(found) == (14, 14, 4, 7)
    assert np.abs(np.array(found) - expected["pairs"]).max() < _TOLERANCE


def random_case(expected: Arrays, case: int) -> tuple[Turns, Turns, list[Span] | None]:
    def side(number: int) -> Turns:
        rows = expected["turns"]
        chosen = rows[(rows[:, 0] == case) & (rows[:, 1] == number)]
        return spoken(*((start, end, f"{int(who)}") for _, _, start, end, who in chosen.tolist()))

    spans = [Span(start, end) for number, start, end in expected["uem"].tolist() if number == case]
    return side(0), side(1), spans or None


def test_random_turns_against_pyannote_metrics(expected: Arrays) -> None:
    cases = [random_case(expected, case) for case in range(len(expected["random"]))]
    for number, rule in enumerate(rules(expected)):
        scores = [score(*case, **rule) for case in cases]
        difference = np.abs(np.array(list(map(figures, scores))) - expected["random"][:, number])
        assert difference.max() < _TOLERANCE, (rule, np.unravel_index(difference.argmax(), (60, 7)))
        together = total(scores)
        assert [together.der, together.jer] == pytest.approx(
            expected["total"][number].tolist(), abs=_TOLERANCE
        )


def test_golden_cases_hold_what_is_hard(expected: Arrays) -> None:
    cases = [random_case(expected, case) for case in range(len(expected["random"]))]
    assert sum(uem is not None for _, _, uem in cases) >= 10
    assert any(not reference for reference, _, _ in cases)
    assert any(not hypothesis for _, hypothesis, _ in cases)
    # Some speaker talks over itself.
    assert any(
        sum(turn.duration_s for turn in reference) > sum(reference.speech_s().values()) + 1
        for reference, _, _ in cases
    )


def test_blocks_of_cells_change_nothing(expected: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, hypothesis, uem = random_case(expected, 3)
    whole = figures(score(reference, hypothesis, uem))
    monkeypatch.setattr(sweep, "_BLOCK", 20)
    assert len(list(sweep.sweep(reference, hypothesis, uem, sweep.Rules()).blocks())) > 5
    assert figures(score(reference, hypothesis, uem)) == pytest.approx(whole, abs=_TOLERANCE)


# By hand


@pytest.mark.parametrize(
    ("reference", "hypothesis", "amounts", "der", "jer"),
    [
        ([], [], [0, 0, 0, 0, 0], 0, 1),
        ([], [(0, 2, "x")], [0, 0, 0, 0, 2], 1, 1),
        ([(0, 4, "a")], [], [4, 0, 0, 4, 0], 1, 1),
        # One against two: the longer is the one.
        ([(0, 4, "a")], [(0, 1, "x"), (1, 4, "y")], [4, 3, 1, 0, 0], 0.25, 0.25),
        ([(0, 1, "a"), (1, 4, "b")], [(0, 4, "x")], [4, 3, 1, 0, 0], 0.25, (1 + 0.25) / 2),
        # The greedy mapping (a to x, 3 s) would leave b and y with nothing.
        (
            [(0, 5, "a"), (5, 7, "b")],
            [(0, 3, "x"), (3, 5, "y"), (5, 7, "x")],
            [7, 4, 3, 0, 0],
            3 / 7,
            ((1 - 2 / 5) + (1 - 2 / 5)) / 2,
        ),
        # Overlap is heard by halves; false alarm beside.
        ([(0, 2, "a"), (0, 2, "b")], [(0, 3, "x")], [4, 2, 0, 2, 1], 0.75, (1 / 3 + 1) / 2),
    ],
)
def test_by_hand(
    reference: Any, hypothesis: Any, amounts: list[float], der: float, jer: float
) -> None:
    found = figures(score(spoken(*reference), spoken(*hypothesis)))
    assert found == pytest.approx([*amounts, der, jer])


def test_collar_is_the_full_width() -> None:
    reference, hypothesis = spoken((1, 3, "a")), spoken((1.2, 3.3, "x"))
    found = score(reference, hypothesis, collar_s=0.5)
    assert found.speech_s == pytest.approx(1.5)
    assert (found.miss_s, found.false_alarm_s) == pytest.approx((0, 0.05))


def test_collar_as_long_as_a_turn_leaves_nothing_of_it() -> None:
    # 0.1 + 0.15 and 0.4 - 0.15 differ in their last bit.
    found = score(spoken((0.1, 0.4, "a"), (5, 9, "b")), Turns(), collar_s=0.3)
    assert found.num_speakers == 1


def test_uem_bounds_what_is_scored() -> None:
    reference, hypothesis = spoken((0, 10, "a")), spoken((0, 4, "x"), (6, 20, "x"))
    found = score(reference, hypothesis, [Span(3, 5), Span(4, 7), Span(12, 13)])
    assert (found.speech_s, found.miss_s, found.false_alarm_s) == (4, 2, 1)
    assert figures(score(reference, hypothesis, [])) == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("collar_s", [-0.1, float("nan"), float("inf")])
def test_impossible_collars_are_refused(collar_s: float) -> None:
    with pytest.raises(OptionsError, match="collar_s"):
        score(Turns(), Turns(), collar_s=collar_s)


def test_too_many_speakers_are_refused_and_many_are_not() -> None:
    many = Turns(Turn(number, number + 1.5, f"{number}") for number in range(sweep.MAX_SPEAKERS))
    assert score(many, many).der == 0
    one_more = Turns([*many, Turn(0, 1, "x")])
    with pytest.raises(VoxportError, match="501 speakers"):
        score(one_more, many)


def test_too_much_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = spoken((0, 1, "a"), (2, 3, "b"))
    monkeypatch.setattr(sweep, "MAX_WORK", 4 * 4)
    assert score(turns, turns).der == 0
    monkeypatch.setattr(sweep, "MAX_WORK", 4 * 4 - 1)
    with pytest.raises(VoxportError, match="4 boundaries times 4 speakers"):
        score(turns, turns)


# Properties


@given(short_turns("abcd"), short_turns("wxyz"))
def test_equals_counting_milliseconds(reference: Turns, hypothesis: Turns) -> None:
    found = score(reference, hypothesis)
    amounts, jaccard_rates = counted(activity(reference), activity(hypothesis))
    assert figures(found)[:5] == pytest.approx(amounts, abs=_TOLERANCE)
    assert min(abs(found.jer - rate) for rate in jaccard_rates) < 1e-8
    assert 0 <= found.jer <= 1


@given(short_turns("abc"), st.permutations("xyz"))
def test_renamed_speakers_are_no_error(reference: Turns, names: list[str]) -> None:
    new = dict(zip("abc", names, strict=True))
    renamed = Turns(Turn(turn.start_s, turn.end_s, new[turn.speaker]) for turn in reference)
    found = score(reference, renamed)
    assert found.der == 0
    assert found.jaccard_errors == pytest.approx(0, abs=_TOLERANCE)


@given(short_turns("abc"), short_turns("xyz"))
def test_exchange_exchanges_miss_and_false_alarm(reference: Turns, hypothesis: Turns) -> None:
    forth, back = score(reference, hypothesis), score(hypothesis, reference)
    assert (forth.miss_s, forth.false_alarm_s, forth.confusion_s) == pytest.approx(
        (back.false_alarm_s, back.miss_s, back.confusion_s), abs=_TOLERANCE
    )
    assert forth.correct_s + forth.confusion_s + forth.miss_s == pytest.approx(forth.speech_s)
