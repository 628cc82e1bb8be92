"""``voxport identify`` on tiny networks, from files to names."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from tiny_artifacts import RATE_HZ
from tiny_diarization import Samples, dialogue, silence, speech
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.cli import main
from voxport.runtime.speakers import SpeakerDatabase, SpeakerEmbedder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(models: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def act(*arguments: object) -> tuple[int, str, str]:
        networks = ("--models", models, "--device", "cpu", "--step", "0.1")
        status = main(["identify", *map(str, (*arguments, *networks))])
        return status, *capsys.readouterr()

    return act


def audio(path: Path, samples: Samples) -> Path:
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture
def meeting(tmp_path: Path) -> Path:
    """Voice 0 from 0 to 3 s, voice 5 from 4 to 7 s, voice 0 from 8 to 9 s."""
    return audio(tmp_path / "meeting.wav", dialogue())


@pytest.fixture
def anna(tmp_path: Path) -> str:
    return f"anna={audio(tmp_path / 'voice0.wav', speech(2, 0))}"


@pytest.fixture
def bob(tmp_path: Path) -> str:
    return f"bob={audio(tmp_path / 'voice5.wav', speech(2, 5))}"


def rounded(turns: Turns) -> list[tuple[int, int, str]]:
    return [(round(turn.start_s), round(turn.end_s), turn.speaker) for turn in turns]


NAMED = [(0, 3, "anna"), (4, 7, "bob"), (8, 9, "anna")]


def test_names_are_printed(meeting: Path, run: Run, anna: str, bob: str) -> None:
    status, out, err = run(meeting, "--enroll", anna, "--enroll", bob)
    assert status == 0
    (turns,) = read_rttm(io.StringIO(out)).values()
    assert rounded(turns) == NAMED
    assert "is anna (0.0" in err
    assert "is bob (0.0" in err
    assert err.endswith("; unknown from a distance of 0.50 on\n")


def test_json_has_the_distances_and_the_threshold(meeting: Path, run: Run, anna: str) -> None:
    arguments = ("--enroll", anna, "--format", "json", "--threshold", "0.3", "--quiet")
    status, out, err = run(meeting, *arguments)
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert document["file"] == "meeting"
    found = document["identification"]
    assert found["threshold"] == 0.3
    by_label = {each["speaker"]: each for each in found["speakers"]}
    known, unknown = by_label.pop("anna"), *by_label.values()
    assert (known["known"], unknown["known"]) == (True, False)
    assert known["distances"]["anna"] == pytest.approx(0, abs=0.01)
    assert unknown["distances"]["anna"] == pytest.approx(1, abs=0.01)
    assert unknown["speaker"] == unknown["diarized_as"]
    assert {turn["speaker"] for turn in document["turns"]} == {"anna", unknown["speaker"]}
    assert known["speech_s"] == pytest.approx(4, abs=0.05)


def test_several_recordings_of_one_person(
    tmp_path: Path, meeting: Path, run: Run, anna: str
) -> None:
    more = audio(tmp_path / "more.wav", speech(2, 2))
    arguments = ("--enroll", anna, "--enroll", f"anna={more}", "--format", "json")
    _, out, _ = run(meeting, *arguments)
    found = json.loads(out)["identification"]["speakers"]
    nearest = min(each["distances"]["anna"] for each in found)
    # Between two orthogonal voices: 1 - cos 45 degrees.
    assert nearest == pytest.approx(1 - 0.5**0.5, abs=0.01)


def test_a_database_is_saved_and_used(
    tmp_path: Path, meeting: Path, run: Run, anna: str, bob: str
) -> None:
    path = tmp_path / "known.npz"
    assert run("--enroll", anna, "--save-database", path) == (0, "", "")
    assert SpeakerDatabase.load(path).names == ("anna",)
    arguments = ("--database", path, "--enroll", bob, "--save-database", path)
    status, out, _ = run(meeting, *arguments)
    assert status == 0
    (turns,) = read_rttm(io.StringIO(out)).values()
    assert rounded(turns) == NAMED
    assert SpeakerDatabase.load(path).names == ("anna", "bob")
    _, again, _ = run(meeting, "--database", path)
    assert again == out


def test_written_with_a_plot(tmp_path: Path, meeting: Path, run: Run, anna: str) -> None:
    out = tmp_path / "out"
    other = audio(tmp_path / "other.wav", silence(2))
    status, printed, err = run(
        meeting, other, "--enroll", anna, "-o", out, "--format", "rttm,json", "--plot"
    )
    assert (status, printed) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == [
        f"{name}.{ending}" for name in ("meeting", "other") for ending in ("json", "rttm", "svg")
    ]
    assert "other: nobody speaks\n" in err
    assert ">anna</text>" in (out / "meeting.svg").read_text()


def test_a_bad_file_does_not_stop_the_others(
    tmp_path: Path, meeting: Path, run: Run, anna: str
) -> None:
    missing = tmp_path / "none.wav"
    status, out, err = run(missing, meeting, "--enroll", anna, "--quiet")
    assert (status, err) == (1, f"voxport: {missing}: no such file\n")
    assert list(read_rttm(io.StringIO(out))) == ["meeting"]


def test_standard_input(
    meeting: Path, run: Run, anna: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(meeting.read_bytes())))
    status, out, _ = run("-", "--enroll", anna)
    assert status == 0
    assert list(read_rttm(io.StringIO(out))) == ["stdin"]


def test_a_name_with_blanks_in_other_formats(meeting: Path, run: Run, anna: str) -> None:
    named = anna.replace("anna", "Anna Maria")
    assert run(meeting, "--enroll", named, "--format", "txt")[1].count("Anna Maria") == 2
    status, _, err = run(meeting, "--enroll", named)
    assert status == 1
    assert err.startswith("voxport identify: RTTM cannot hold a name with blanks: 'Anna Maria'")


def test_interrupt_while_enrolling_saves_nothing(
    tmp_path: Path, run: Run, anna: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(SpeakerEmbedder, "embed", interrupted)
    path = tmp_path / "known.npz"
    expected = (130, "", "voxport identify: interrupted\n")
    assert run("--enroll", anna, "--save-database", path) == expected
    assert not path.exists()


# Refused


def test_recordings_that_cannot_be_enrolled(tmp_path: Path, meeting: Path, run: Run) -> None:
    silent, text = audio(tmp_path / "silent.wav", silence(3)), tmp_path / "text.wav"
    text.write_text("no audio")
    short = audio(tmp_path / "short.wav", speech(0.25, 0))
    cases = {
        f"a={silent}": "holds 0.00 s of speech, but an embedding needs 0.3 s",
        f"a={short}": "holds 0.25 s of speech, but an embedding needs 0.3 s",
        f"a={text}": "text.wav: ",
        f"a={tmp_path}": "is not a regular file",
        "a=b=c.wav": "b=c.wav (a name cannot hold =): b=c.wav: no such file",
        "SPEAKER_00=c.wav": "whom nobody knows",
        "a\x07b=c.wav": "control characters",
    }
    for enrolment, message in cases.items():
        status, out, err = run(meeting, "--enroll", enrolment)
        assert (status, out) == (1, "")
        assert err.startswith("voxport identify: ")
        assert message in err


def test_the_same_recording_or_name_twice(
    tmp_path: Path, meeting: Path, run: Run, anna: str
) -> None:
    for other in (anna, anna.replace("anna", "eve")):
        status, _, err = run(meeting, "--enroll", anna, "--enroll", other)
        assert status == 1
        assert "voice0.wav is given twice, for anna and for " in err
    path = tmp_path / "known.npz"
    run("--enroll", anna, "--save-database", path)
    status, _, err = run(meeting, "--database", path, "--enroll", anna)
    assert status == 1
    assert f"anna is in {path} already" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav"], "nobody is known"),
        (["--enroll", "a=b.wav"], "nothing to do"),
        (["a.wav", "--enroll", "a=b.wav", "--threshold", "0"], "--threshold is a cosine distance"),
        (["a.wav", "--enroll", "a=b.wav", "--threshold", "nan"], "--threshold is a cosine"),
        (["a.wav", "--database", "none.npz"], "none.npz: cannot be read"),
        (["a.wav", "--enroll", "a=b.wav", "--format", "npz"], "--format: no format 'npz'"),
        (
            ["a.wav", "--enroll", "a=b.wav", "--min-speakers", "3", "--max-speakers", "2"],
            "min_speakers must be at most",
        ),
    ],
)
def test_options_that_cannot_work(run: Run, arguments: list[str], message: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"voxport identify: {message}")


def test_a_database_of_another_network_by_name(
    tmp_path: Path, meeting: Path, run: Run, anna: str
) -> None:
    path = tmp_path / "known.npz"
    run("--enroll", anna, "--save-database", path)
    status, _, err = run(meeting, "--database", path, "--embedding", "embedding_other")
    assert status == 1
    assert f"{path} is by embedding_tiny, not embedding_other" in err


@pytest.mark.parametrize("enrolment", ["anna", "=a.wav", " =a.wav", "anna="])
def test_enrolments_that_are_none(enrolment: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["identify", "a.wav", "--enroll", enrolment])
    assert ended.value.code == 2
    assert "expected NAME=AUDIO" in capsys.readouterr().err


def test_unknown_names_do_not_meet_known_ones(meeting: Path, run: Run, bob: str) -> None:
    _, out, _ = run(meeting, "--enroll", bob)
    (turns,) = read_rttm(io.StringIO(out)).values()
    (unknown,) = set(turns.speakers) - {"bob"}
    assert rounded(turns) == [(0, 3, unknown), (4, 7, "bob"), (8, 9, unknown)]
    assert Turn(0, 1, unknown).speaker.startswith("SPEAKER_")


def test_what_cannot_work_is_said_before_anybody_is_enrolled(
    tmp_path: Path, meeting: Path, run: Run, anna: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embedded(*_: object, **__: object) -> object:
        raise AssertionError("somebody was enrolled")

    monkeypatch.setattr(SpeakerEmbedder, "embed", embedded)
    there = tmp_path / "known.npz"
    there.write_bytes(b"of others")
    cases = {
        ("--plot",): "give a folder with -o",
        ("--format", "rttm,json"): "give a folder with -o",
        ("-o", str(meeting)): "meeting.wav",
        ("--save-database", str(there)): "there is one already, which would be lost",
        ("--save-database", str(tmp_path / "no" / "a.npz")): "there is no folder",
    }
    for arguments, message in cases.items():
        status, out, err = run(meeting, "--enroll", anna, *arguments)
        assert (status, out) == (1, "")
        assert message in err
    assert there.read_bytes() == b"of others"
