"""SpeakerIdentifier on tiny exact networks: who is who is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_artifacts import RATE_HZ
from tiny_diarization import (
    INVERTED,
    SETTINGS,
    Samples,
    dialogue,
    near,
    segmentation,
    silence,
    speech,
)
from tiny_diarization import publish as publish_only
from tiny_speakers import embedder, embedding, post_embedding, publish
from voxport.runtime import (
    ArtifactError,
    AudioError,
    Identification,
    OptionsError,
    Settings,
    SpeakerDatabase,
    SpeakerDatabaseError,
    SpeakerIdentifier,
)
from voxport.runtime.diarization import Progress


def database(models: Path, **voices: int) -> SpeakerDatabase:
    with embedder(models) as loaded:
        made = SpeakerDatabase(loaded.artifact, loaded.same_speaker_distance)
        for name, voice in voices.items():
            made.enrol(name, loaded.embed(speech(2, voice), source_rate_hz=RATE_HZ))
    return made


def identifier(models: Path, known: SpeakerDatabase, **options: Any) -> SpeakerIdentifier:
    settings = Settings(**SETTINGS)
    return SpeakerIdentifier(known, models=models, device="cpu", settings=settings, **options)


def identified(
    models: Path, known: SpeakerDatabase, samples: Samples, **options: Any
) -> Identification:
    with identifier(models, known, **options) as loaded:
        return loaded(samples, source_rate_hz=RATE_HZ)


def test_known_speakers_are_named(models: Path) -> None:
    found = identified(models, database(models, bob=5, eve=9, anna=0), dialogue())
    assert near(found, [(0, 3, "anna"), (4, 7, "bob"), (8, 9, "anna")])  # type: ignore[arg-type]
    assert found.exclusive_turns == found.turns
    assert found.threshold == 0.5
    by_name = {each.name: each for each in found.speakers}
    assert set(by_name) == {"anna", "bob"}
    # Orthogonal voices are at distance 1.
    for name, speaker in by_name.items():
        expected = {other: 0 if other == name else 1 for other in ("bob", "eve", "anna")}
        assert dict(speaker.distances) == pytest.approx(expected, abs=0.01)
    assert by_name["anna"].speech_s == pytest.approx(4, abs=0.05)
    assert [each.name for each in found.artifacts] == [
        "segmentation_masks",
        "embedding_tiny",
        "post_embedding",
    ]


def test_unknown_speakers_keep_their_labels(models: Path) -> None:
    found = identified(models, database(models, bob=5), dialogue())
    (unknown,) = (each for each in found.speakers if each.name is None)
    assert found.turns.speakers in (("SPEAKER_00", "bob"), ("SPEAKER_01", "bob"))
    assert unknown.label == unknown.diarized_as in found.turns.speakers
    assert unknown.distances["bob"] == pytest.approx(1, abs=0.01)
    assert unknown.diarized_as in found.diarization.speakers


def test_nobody_is_known(models: Path) -> None:
    found = identified(models, database(models), dialogue())
    assert found.turns == found.diarization.turns
    assert [dict(each.distances) for each in found.speakers] == [{}, {}]


def test_nobody_speaks(models: Path) -> None:
    found = identified(models, database(models, bob=5), silence(3))
    assert (len(found.turns), found.speakers) == (0, ())


def test_who_says_too_little_at_a_time_stays_unknown(models: Path) -> None:
    # 1.5 s in all, but no segment of 0.3 s.
    bursts = [silence(0.75), speech(0.25, 5, INVERTED)] * 6
    samples = np.concatenate([speech(3, 0), *bursts, silence(1)])
    found = identified(models, database(models, bob=5, anna=0), samples)
    known, unknown = sorted(found.speakers, key=lambda each: each.name is None)
    assert (known.name, unknown.name, dict(unknown.distances)) == ("anna", None, {})
    assert unknown.speech_s == pytest.approx(1.5, abs=0.15)
    longer = np.concatenate([samples, speech(0.4, 5, INVERTED), silence(1)])
    found = identified(models, database(models, bob=5, anna=0), longer)
    assert sorted(str(each.name) for each in found.speakers) == ["anna", "bob"]


def test_a_threshold_of_ones_own(models: Path) -> None:
    with embedder(models) as loaded:
        known = SpeakerDatabase(loaded.artifact, loaded.same_speaker_distance)
        prints = [loaded.embed(speech(2, voice), source_rate_hz=RATE_HZ) for voice in (5, 2)]
    # Between two orthogonal voices: at 0.29 from each.
    known.enrol("bob", *prints)
    found = identified(models, known, dialogue())
    assert sorted(str(each.name) for each in found.speakers) == ["None", "bob"]
    nobody = identified(models, known, dialogue(), threshold=0.28)
    assert [each.name for each in nobody.speakers] == [None, None]
    assert nobody.threshold == 0.28
    # Below 1.5 the first voice, at distance 1, might be bob as well; the second is nearer.
    everybody = identified(models, known, dialogue(), threshold=1.5)
    assert near(everybody, identified_times(everybody))  # type: ignore[arg-type]


def identified_times(found: Identification) -> list[tuple[float, float, str]]:
    """The dialogue, in which voice 5 is bob."""
    (other,) = (each.label for each in found.speakers if each.name is None)
    return [(0, 3, other), (4, 7, "bob"), (8, 9, other)]


def test_progress_goes_on_to_the_embeddings(models: Path) -> None:
    told: list[Progress] = []
    with identifier(models, database(models, bob=5)) as loaded:
        loaded(dialogue(), source_rate_hz=RATE_HZ, progress=told.append)
    stages = dict.fromkeys(each.stage for each in told)
    assert list(stages) == ["windows", "clustering", "embedding"]


def test_what_cannot_be_read(models: Path, tmp_path: Path) -> None:
    with (
        identifier(models, database(models, bob=5)) as loaded,
        pytest.raises(AudioError, match=r"nowhere\.wav"),
    ):
        loaded(tmp_path / "nowhere.wav")


# Refused


@pytest.mark.parametrize("threshold", [0.0, -0.1, 2.1, float("nan")])
def test_a_threshold_out_of_range(models: Path, threshold: float) -> None:
    with pytest.raises(OptionsError, match="threshold is a cosine distance"):
        identifier(models, database(models), threshold=threshold)


def test_a_database_of_another_network(models: Path, tmp_path: Path) -> None:
    # The same network with another figure in its recipe: another file.
    other = publish_only(tmp_path, segmentation(), embedding(min_samples=100), post_embedding())
    with pytest.raises(SpeakerDatabaseError, match="their distances mean nothing"):
        identifier(other, database(models, bob=5))


def test_post_embedding_for_other_frames(models: Path, tmp_path: Path) -> None:
    folder = publish_only(tmp_path, segmentation(), embedding(), post_embedding(step_s=0.02))
    with pytest.raises(ArtifactError, match=r"frames of 0\.02 s, but the segmentation has 0\.01"):
        identifier(folder, database(models, bob=5))


def test_without_post_embedding(tmp_path: Path) -> None:
    complete = publish(tmp_path / "a")
    lacking = publish_only(tmp_path / "b", segmentation(), embedding())
    with pytest.raises(ArtifactError, match="no artifact 'post_embedding'"):
        identifier(lacking, database(complete, bob=5))
