"""``MelMatrix``: audio of any kind and length to matrices, in order, in bounded memory."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_mel
from signals import full_scale_noise, silence
from tiny_mel import RATE_HZ, SHAPE, WINDOW, SmallSession, matrices
from voxport.runtime import ArtifactError, AudioError, InputError, OptionsError, read_audio
from voxport.runtime.diarization.progress import Progress
from voxport.runtime.mel import MelMatrix, matrix


def opened(models: Path, **known: Any) -> MelMatrix:
    return MelMatrix(models=models, device="cpu", **known)


@pytest.mark.parametrize("num_samples", [1, WINDOW - 1, WINDOW, WINDOW + 1, 21 * WINDOW + 5])
def test_matrices_of_samples(mel_models: Path, num_samples: int) -> None:
    samples = full_scale_noise(num_samples, seed=1)
    with opened(mel_models) as mel:
        result = mel(samples, source_rate_hz=RATE_HZ)
    assert result.matrix.dtype == np.float32
    assert np.array_equal(result.matrix, matrices(samples))
    assert result.num_samples == num_samples
    assert result.configuration == tiny_mel.CONFIGURATION
    assert (result.artifact.name, result.artifact.device) == ("mel_matrix", "cpu")


def test_a_file_of_another_rate_and_two_channels(mel_models: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    stereo = np.stack([full_scale_noise(44100, seed=2), full_scale_noise(44100, seed=3)], axis=1)
    soundfile.write(path, stereo, 44100, subtype="FLOAT")
    with opened(mel_models) as mel:
        result = mel(path)
    assert np.array_equal(result.matrix, matrices(read_audio(path, RATE_HZ)))


def test_one_instance_serves_many_recordings(mel_models: Path) -> None:
    with opened(mel_models, batch_size=3) as mel:
        for count in (5, 1, 7):
            samples = full_scale_noise(count * WINDOW, seed=count)
            result = mel(samples, source_rate_hz=RATE_HZ)
            assert np.array_equal(result.matrix, matrices(samples))


def test_stats_and_progress(mel_models: Path) -> None:
    seen: list[Progress] = []
    with opened(mel_models) as mel:
        samples = silence(10 * WINDOW - 7)
        result = mel(samples, source_rate_hz=RATE_HZ, progress=seen.append)
    stats = result.processing_stats
    assert stats.num_segments == 10 * SHAPE[0] * SHAPE[1]
    assert stats.audio_s == len(samples) / RATE_HZ
    assert set(stats.stage_s) == {"decoding", "inference"}
    assert 0 < stats.total_s < 60
    assert stats.segments_per_s == pytest.approx(stats.num_segments / stats.total_s)
    assert sum(stats.shares.values()) == pytest.approx(1)
    assert stats.to_dict()["stages"]["inference"]["seconds"] == stats.stage_s["inference"]
    assert [each.done_s for each in seen] == [*range(1, 10), stats.audio_s]
    assert {(each.stage, each.total_s) for each in seen} == {("mel", stats.audio_s)}


def test_a_card_that_is_full_gets_smaller_batches(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = SmallSession(fits=3)
    monkeypatch.setattr(matrix, "load", lambda *_, **__: session)
    samples = full_scale_noise(9 * WINDOW, seed=4)
    with caplog.at_level(logging.WARNING, "voxport"), MelMatrix() as mel:
        first = mel(samples, source_rate_hz=RATE_HZ)
        assert np.array_equal(first.matrix, matrices(samples))
        assert session.sizes[:3] == [8, 4, 2]
        assert "going on with batches of 2, not 4" in caplog.text
        session.sizes.clear()
        mel(samples, source_rate_hz=RATE_HZ)
    # It is remembered: nothing is tried twice.
    assert set(session.sizes) == {1, 2}


def test_who_stops_reading_leaves_nothing_behind(mel_models: Path) -> None:
    with opened(mel_models, batch_size=1) as mel:
        stream = iter(mel.stream(silence(100 * WINDOW), source_rate_hz=RATE_HZ))
        next(stream)
        stream.close()


def test_audio_that_breaks_off_is_an_error(mel_models: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, full_scale_noise(20 * WINDOW, seed=5), RATE_HZ)
    path.write_bytes(path.read_bytes()[:-WINDOW])
    with opened(mel_models) as mel, pytest.raises(AudioError, match=r"a\.wav"):
        mel(path)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0, np.float32), "holds no samples"),
        (np.array([0.5, np.nan], np.float32), "NaN"),
        (np.zeros((2, 2, 2), np.float32), "expected"),
    ],
)
def test_audio_that_cannot_be_used(mel_models: Path, samples: Any, message: str) -> None:
    with opened(mel_models) as mel, pytest.raises(AudioError, match=message):
        mel(samples, source_rate_hz=RATE_HZ)


def test_options_that_cannot_be(mel_models: Path) -> None:
    with pytest.raises(OptionsError, match="threads must be 1 or more"):
        opened(mel_models, threads=0)
    with pytest.raises(InputError, match="batch size is a whole number from 1"):
        opened(mel_models, batch_size=0)


def test_an_artifact_that_contradicts_itself(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="its recipe gives"):
        opened(tiny_mel.publish(tmp_path, time_frames=11))
    with pytest.raises(ArtifactError, match="must hold 'window_samples'"):
        opened(tiny_mel.publish(tmp_path, window_samples="many"))
