"""What a diarization tells: its result, and its progress while it runs."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_diarization import (
    FRAME_S,
    TOGETHER,
    dialogue,
    diarized,
    diarizer,
    publish,
    silence,
    speech,
)
from voxport.runtime import Manifest
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.diarization import DiarizationResult, Diarizer, Progress
from voxport.runtime.diarization.progress import Stopwatch
from voxport.runtime.manifest import MANIFEST_NAME
from voxport.runtime.stages import Turn
from voxport.runtime.windows import AudioWindows


def test_overlap_is_in_the_turns_and_not_in_the_exclusive_ones(tiny: Diarizer) -> None:
    parts = [speech(3, 0), speech(2, 0, TOGETHER), silence(1), speech(3, 8), silence(1)]
    result = diarized(tiny, np.concatenate(parts), num_speakers=2)
    # The third local speaker sounds like the first: one cluster, and a nameless second speaker.
    assert result.speaker_count.max() == 2
    assert result.turns.overlap()
    assert not result.exclusive_turns.overlap()
    assert set(result.exclusive_turns.speakers) <= set(result.speakers)


def test_progress(fast: Diarizer) -> None:
    seen: list[Progress] = []
    diarized(fast, np.concatenate([dialogue()] * 3), progress=seen.append)
    stages = [each.stage for each in seen]
    assert stages == ["windows"] * (len(seen) - 2) + ["clustering"] * 2
    assert len(seen) > 4
    done = [each.done_s for each in seen if each.stage == "windows"]
    assert done == sorted(set(done))
    assert done[-1] == 27
    assert {each.total_s for each in seen} == {27}
    assert [each.done_s for each in seen[-2:]] == [0, 27]
    elapsed = [each.elapsed_s for each in seen]
    assert elapsed == sorted(elapsed)


def test_progress_of_a_stream_without_length(
    fast: Diarizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AudioWindows, "num_samples", None)
    seen: list[Progress] = []
    diarized(fast, np.concatenate([dialogue()] * 2), progress=seen.append)
    windows = [each for each in seen if each.stage == "windows"]
    assert {each.total_s for each in windows} == {None}
    assert {each.remaining_s for each in windows} == {None}
    # It is known in the end.
    assert (seen[-1].done_s, seen[-1].total_s) == (18, 18)


def test_remaining_time() -> None:
    assert Progress("windows", 30.0, 90.0, 10.0).remaining_s == 20
    assert Progress("windows", 30.0, 90.0, 10.0).rtfx == 3
    assert Progress("windows", 0.0, 90.0, 10.0).remaining_s is None
    assert Progress("windows", 0.0, 90.0, 0.0).rtfx == 0
    # The header promised less than there was.
    assert Progress("windows", 95.0, 90.0, 10.0).remaining_s == 0


PEAK = """
import resource, sys
import soundfile
from voxport.runtime.diarization import Diarizer, Settings

with Diarizer(models=sys.argv[1], device="cpu", threads=2, settings=Settings(step_s=1.0)) as loaded:
    loaded(sys.argv[2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = loaded(sys.argv[3])
    assert result.duration_s >= 600 and len(result.turns) > 20
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux")
def test_an_hour_takes_hardly_more_memory_than_ten_minutes(tmp_path: Path) -> None:
    models = publish(tmp_path / "models")
    paths = []
    for minutes in (10, 60):
        paths.append(tmp_path / f"{minutes}.wav")
        scene = np.concatenate([speech(1, 14), silence(9), speech(1, 15), silence(9)])
        # Little speech: clustering is not what is measured here.
        with soundfile.SoundFile(paths[-1], "w", 48_000, 1, "PCM_16") as file:
            for _ in range(minutes * 3):
                file.write(np.repeat(scene, 30))
    run = subprocess.run(
        [sys.executable, "-c", PEAK, str(models), *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    # MB. Measured: 17, and 34 if the audio (23 MB at this rate) was kept.
    assert int(run.stdout) < 25


def test_what_was_used_is_told(tiny_models: Path) -> None:
    rows = Manifest.read(tiny_models / MANIFEST_NAME).artifacts
    expected = {row.name: (row.precision, row.sha256, "cpu") for row in rows}
    with diarizer(tiny_models, mode="exact") as loaded:
        result = diarized(loaded, dialogue())
    used = {each.name: (each.precision, each.sha256, each.device) for each in result.artifacts}
    assert used == expected
    assert result.mode == "exact"
    assert result.hop_s == FRAME_S
    stages = {"reading", "segmentation", "embedding", "clustering", "reconstruction", "total"}
    assert set(result.seconds) == stages


def result_of(turns: Turns, seconds: float) -> DiarizationResult:
    counts = np.zeros(1, np.uint8)
    return DiarizationResult(turns, turns, {}, counts, 0.01, 60.0, "fast", (), {"total": seconds})


def test_speed() -> None:
    assert result_of(Turns(), 2.0).rtfx == 30
    assert result_of(Turns(), 0.0).rtfx == 0


def test_speakers_are_those_who_have_turns() -> None:
    turns = Turns([Turn(1, 2, "SPEAKER_01"), Turn(2, 3, "SPEAKER_00"), Turn(4, 5, "SPEAKER_01")])
    assert result_of(turns, 1.0).speakers == ("SPEAKER_00", "SPEAKER_01")


def test_it_shows_itself_in_a_notebook() -> None:
    turns = Turns([Turn(1, 2, "SPEAKER_01")])
    assert result_of(turns, 1.0)._repr_html_() == turns._repr_html_()
    assert "SPEAKER_01" in turns._repr_html_()


def test_other_libraries_forms() -> None:
    pandas = pytest.importorskip("pandas")
    turns = Turns([Turn(1, 2, "SPEAKER_01")])
    pandas.testing.assert_frame_equal(result_of(turns, 1.0).to_dataframe(), turns.to_dataframe())


def test_times_of_stages_add_up_over_threads() -> None:
    watch = Stopwatch()
    adders = [threading.Thread(target=watch.add, args=("a", 0.5)) for _ in range(20)]
    for each in adders:
        each.start()
    for each in adders:
        each.join()
    with pytest.raises(ValueError, match="inside"), watch.stage("b"):
        raise ValueError("inside")
    assert watch.seconds["a"] == 10
    # Counted although it failed.
    assert watch.seconds["b"] >= 0
