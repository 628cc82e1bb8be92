"""Recordings decoded ahead of their turn; and the profiler on waveforms without a channel axis."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import full_scale_noise
from tiny_mel import RATE_HZ, WINDOW, matrices
from voxport.runtime import AudioError
from voxport.runtime.cli import main
from voxport.runtime.mel import MelMatrix
from voxport.runtime.mel.ahead import StreamsAhead
from voxport.runtime.recordings.files import Recording, find_recordings


def samples(seed: int) -> np.ndarray:
    return full_scale_noise(40 * WINDOW, seed=seed)


def recordings(folder: Path, count: int) -> list[Recording]:
    for seed in range(count):
        soundfile.write(folder / f"{seed}.wav", samples(seed), RATE_HZ, subtype="FLOAT")
    return find_recordings([str(folder)]).recordings


def num_readers() -> int:
    return sum(each.name == "voxport-reader" for each in threading.enumerate())


@pytest.mark.parametrize("num_threads", [1, 2, 3, 9])
def test_as_many_are_decoded_at_once_as_allowed(
    mel_models: Path, tmp_path: Path, num_threads: int
) -> None:
    found = recordings(tmp_path, 5)
    with (
        MelMatrix(models=mel_models, device="cpu", batch_size=1) as mel,
        StreamsAhead(mel, found, num_threads, lambda _: True) as ahead,
    ):
        for seed, recording in enumerate(found):
            stream = ahead.take(recording, recording.path)
            # The files are longer than what is read ahead: none of the threads is done yet.
            assert num_readers() == min(num_threads, 5 - seed)
            assert np.array_equal(np.stack(list(stream)), matrices(samples(seed)))
            assert stream.num_samples == 40 * WINDOW


def test_what_is_not_wanted_or_cannot_be_opened_waits_for_its_turn(
    mel_models: Path, tmp_path: Path
) -> None:
    found = recordings(tmp_path, 3)
    (tmp_path / "1.wav").write_text("no audio")
    with (
        MelMatrix(models=mel_models, device="cpu", batch_size=1) as mel,
        StreamsAhead(mel, found, 3, lambda recording: recording.stem != "2") as ahead,
    ):
        stream = ahead.take(found[0], found[0].path)
        assert num_readers() == 1
        with pytest.raises(AudioError, match=r"1\.wav"):
            ahead.take(found[1], found[1].path)
        stream.close()


def test_the_profiler_takes_waveforms_without_a_channel(
    mel_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recording,) = recordings(tmp_path, 1)
    arguments = ["profile", "mel_matrix", recording.label, "--models", str(mel_models)]
    assert main([*arguments, "--device", "cpu", "--rounds", "1", "--batch-size", "7"]) == 0
    assert "Reshape" in capsys.readouterr().out
