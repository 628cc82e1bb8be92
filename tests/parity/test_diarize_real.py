"""``voxport diarize`` on a real conversation, from audio to error rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from downloads import checkpoint_or_skip
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.annotation.scoring import score
from voxport.runtime.cli import main


@pytest.mark.parametrize("mode", ["fast", "exact"])
def test_the_sample_is_diarized(models: Path, tmp_path: Path, mode: str) -> None:
    audio, reference = (checkpoint_or_skip("fetch", f"sample.{each}") for each in ("wav", "rttm"))
    arguments = ["--models", models, "--device", "cpu", "--mode", mode, "-o", tmp_path, "--plot"]
    assert main(["diarize", *map(str, arguments), str(audio)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.rttm", "sample.svg"]
    (truth,) = read_rttm(reference).values()
    (found,) = read_rttm(tmp_path / "sample.rttm").values()
    assert len(found.speakers) == len(truth.speakers) == 2
    # Measured: 0.0521 (fast), 0.0556 (exact), in FP32 on the CPU.
    assert score(truth, found).der < 0.08
