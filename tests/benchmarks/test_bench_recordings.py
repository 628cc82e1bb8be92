"""Clips, their references, and files joined of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from bench_recordings import Recording, joined, recording, recordings
from voxport.runtime.annotation.rttm import write_rttm
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.stages import Turn

RATE_HZ = 16_000


def clip(folder: Path, name: str, level: float, seconds: float, turns: list[Turn]) -> Recording:
    wav, rttm = folder / f"{name}.wav", folder / f"{name}.rttm"
    soundfile.write(wav, np.full(round(seconds * RATE_HZ), level), RATE_HZ, subtype="PCM_16")
    rttm.write_text(write_rttm(Turns(turns), "an-id-of-its-own"))
    return recording(wav, rttm)


@pytest.fixture
def clips(tmp_path: Path) -> list[Recording]:
    return [
        clip(tmp_path, "one", 0.25, 2.0, [Turn(0.5, 1.5, "A")]),
        clip(tmp_path, "two", 0.5, 1.0, [Turn(0.0, 0.25, "B"), Turn(0.125, 1.0, "A")]),
    ]


def test_a_recording_has_its_length_and_reference(clips: list[Recording]) -> None:
    assert (clips[0].name, clips[0].duration_s) == ("one", 2.0)
    assert clips[0].reference == Turns([Turn(0.5, 1.5, "A")])


def test_clips_are_joined_there_and_back(clips: list[Recording], tmp_path: Path) -> None:
    file = joined(clips, 5 / 60, tmp_path / "new" / "both.wav")
    samples, rate_hz = soundfile.read(file.path)
    assert rate_hz == RATE_HZ
    # one, two, two, one: the second round is turned around, the last clip is not cut.
    np.testing.assert_array_equal(samples[::RATE_HZ], [0.25, 0.25, 0.5, 0.5, 0.25, 0.25])
    assert file.duration_s == len(samples) / RATE_HZ == 6.0
    assert file.reference == Turns(
        [
            *(Turn(0.5 + later, 1.5 + later, "A") for later in (0.0, 4.0)),
            *(Turn(later, 0.25 + later, "B") for later in (2.0, 3.0)),
            *(Turn(0.125 + later, 1.0 + later, "A") for later in (2.0, 3.0)),
        ]
    )


def test_a_file_is_joined_of_one_clip_too(clips: list[Recording], tmp_path: Path) -> None:
    assert joined(clips[:1], 3.5 / 60, tmp_path / "looped.wav").duration_s == 4.0


def test_only_16_khz_mono_is_joined(tmp_path: Path, clips: list[Recording]) -> None:
    soundfile.write(clips[0].path, np.zeros((RATE_HZ, 2)), RATE_HZ)
    with pytest.raises(SystemExit, match=r"one\.wav: expected a mono file at 16000 Hz"):
        joined(clips, 1.0, tmp_path / "joined.wav")


def test_the_index_tells_who_labelled(tmp_path: Path) -> None:
    for name in ("wav", "rttm"):
        (tmp_path / name).mkdir()
    rows = [("first", "human (a corpus)"), ("second", "NOT human: a diarizer")]
    for name, _ in rows:
        made = clip(tmp_path, name, 0.1, 1.0, [Turn(0.0, 1.0, "A")])
        made.path.rename(tmp_path / "wav" / f"{name}.wav")
        (tmp_path / f"{name}.rttm").rename(tmp_path / "rttm" / f"{name}.rttm")
    lines = ["uri\tlabels", *("\t".join(row) for row in rows)]
    (tmp_path / "index.tsv").write_text("\n".join(lines) + "\n")
    assert {each.name: each.is_human for each in recordings(tmp_path)} == {
        "first": True,
        "second": False,
    }
