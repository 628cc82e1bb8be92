"""Speech detection, voice prints and identification on real speech with the real networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from downloads import checkpoint_or_skip
from voxport.runtime import (
    Diarizer,
    SpeakerDatabase,
    SpeakerDatabaseError,
    SpeakerEmbedder,
    SpeakerIdentifier,
    SpeechDetector,
    Turns,
)
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.annotation.spans import covered
from voxport.runtime.cli import main

FloatArray = npt.NDArray[np.float32]
RATE_HZ = 16000
# Until here the speakers of a recording are enrolled, from here on they are looked for.
HALF_S = 15.0


def alone(samples: FloatArray, turns: Turns, speaker: str) -> FloatArray:
    """What a speaker says while nobody else does."""
    others = turns.overlap()
    spans = turns.by_speaker()[speaker]
    keep = np.zeros(len(samples), bool)
    for span in spans:
        keep[round(span.start_s * RATE_HZ) : round(span.end_s * RATE_HZ)] = True
    for span in others:
        keep[round(span.start_s * RATE_HZ) : round(span.end_s * RATE_HZ)] = False
    return samples[keep]


@pytest.fixture(scope="session")
def sample_turns() -> Turns:
    (turns,) = read_rttm(checkpoint_or_skip("fetch", "sample.rttm")).values()
    return turns


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_speech_is_the_union_of_the_turns(
    models: Path, sample_waveform: FloatArray, precision: str
) -> None:
    # Three blocks: what is quantised depends on the windows beside it.
    samples = np.tile(sample_waveform, 3)[: 90 * RATE_HZ]
    with SpeechDetector(models=models, device="cpu", precision=precision) as detector:
        found = detector(samples, source_rate_hz=RATE_HZ)
    with Diarizer(models=models, device="cpu", precision=precision) as diarizer:
        full = diarizer(samples, source_rate_hz=RATE_HZ)
    assert np.array_equal(found.speaker_count, full.speaker_count)
    for turns, spans in (
        (found.speech, covered(full.turns)),
        (found.overlap, full.turns.overlap()),
    ):
        assert turns
        assert [(turn.start_s, turn.end_s) for turn in turns] == [
            (span.start_s, span.end_s) for span in spans
        ]
    # By human reference, 22.46 s in every 30.
    assert found.speech_s / found.duration_s == pytest.approx(22.46 / 30, abs=0.03)


def test_one_person_is_nearer_to_itself(
    models: Path, sample_waveform: FloatArray, sample_turns: Turns
) -> None:
    prints = {}
    with SpeakerEmbedder(models=models, device="cpu") as embedder:
        for half, part in enumerate((slice(0, 240_000), slice(240_000, None))):
            begin_s = half * HALF_S
            cropped = sample_turns.crop(begin_s, begin_s + HALF_S)
            known = Turns(
                type(turn)(turn.start_s - begin_s, turn.end_s - begin_s, turn.speaker)
                for turn in cropped
            )
            found = embedder.embed(sample_waveform[part], known, source_rate_hz=RATE_HZ)
            prints[half] = dict(zip(found.labels, found.vectors, strict=True))
        threshold = embedder.same_speaker_distance
    for name, vector in prints[0].items():
        for other, later in prints[1].items():
            # Measured: 0.20 and 0.35 for the same voices, 0.49 and 0.52 for others.
            assert (1 - float(vector @ later) < threshold) == (name == other)


def test_known_speakers_are_found_again(
    models: Path, sample_waveform: FloatArray, sample_turns: Turns, tmp_path: Path
) -> None:
    first = sample_turns.crop(0, HALF_S)
    enrolled = []
    for speaker in first.speakers:
        path = tmp_path / f"{speaker}.wav"
        soundfile.write(path, alone(sample_waveform, first, speaker), RATE_HZ, subtype="FLOAT")
        enrolled += ["--enroll", f"{speaker}={path}"]
    soundfile.write(tmp_path / "rest.wav", sample_waveform[240_000:], RATE_HZ, subtype="FLOAT")
    out, database = tmp_path / "out", tmp_path / "known.npz"
    arguments = ["identify", str(tmp_path / "rest.wav"), *enrolled, "--format", "json,rttm"]
    arguments += ["--models", str(models), "--device", "cpu", "-o", str(out)]
    assert main([*arguments, "--save-database", str(database)]) == 0
    document = json.loads((out / "rest.json").read_text())
    assert document["identification"]["threshold"] == 0.42
    assert [each["known"] for each in document["identification"]["speakers"]] == [True, True]
    (found,) = read_rttm(out / "rest.rttm").values()
    truth = sample_turns.crop(HALF_S, 30)
    for speaker in truth.speakers:
        seconds = truth.speech_s()[speaker]
        shared = covered(
            [
                *truth.by_speaker()[speaker],
                *(
                    type(turn)(turn.start_s + HALF_S, turn.end_s + HALF_S, turn.speaker)
                    for turn in found
                    if turn.speaker == speaker
                ),
            ],
            2,
        )
        # By name. Measured: 99 % of both.
        assert sum(span.duration_s for span in shared) > 0.9 * seconds
    with pytest.raises(SpeakerDatabaseError, match="int8"):
        SpeakerIdentifier(
            SpeakerDatabase.load(database), models=models, device="cpu", precision="int8"
        )
