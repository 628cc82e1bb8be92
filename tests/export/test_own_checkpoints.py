"""``voxport export`` on a user's own checkpoints: sizes are read from the file, not assumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from downloads import checkpoint_or_skip
from seeded_networks import campplus_state, resnet_state, segmentation_state
from voxport.graphs import CamPlusPlusConfig, PowersetConfig, ResNetConfig, SegmentationConfig
from voxport.runtime import load
from voxport.runtime.cli import main


@pytest.fixture(scope="module", autouse=True)
def _sample() -> None:
    """Verification needs the real recording."""
    checkpoint_or_skip("fetch", "sample.wav")
    checkpoint_or_skip("load_segmentation")


def test_segmentation_of_other_sizes(tmp_path: Path) -> None:
    config = SegmentationConfig(
        powerset=PowersetConfig(2, 2), lstm_hidden=24, lstm_layers=2, linear_sizes=(20, 12)
    )
    checkpoint = tmp_path / "mine.pt"
    torch.save(segmentation_state(config, seed=1), checkpoint)
    out = tmp_path / "models"
    options = ["--segmentation", str(checkpoint), "--max-speakers", "2", "--max-simultaneous", "2"]
    arguments = ["export", "-o", str(out), *options, "--precisions", "fp32"]
    assert main([*arguments, "--only", "segmentation_masks", "--only", "powerset"]) == 0
    session = load("segmentation_masks", models=out)
    assert session.description.recipe["classes"] == [[], [0], [1], [0, 1]]
    (entry,) = session.description.checkpoints
    assert entry["origin"].endswith("mine.pt")
    outputs = session.run(waveform=np.zeros((2, 1, 16000), np.float32))
    assert outputs["masks"].shape == (2, config.num_frames(16000), 2)
    assert main(["verify", str(out), *options]) == 0
    # Without the checkpoint that it was made of, it cannot be verified as something else.
    assert main(["verify", str(out)]) == 1


def test_options_of_post_embedding_are_verified_as_stated(tmp_path: Path) -> None:
    arguments = ["export", "-o", str(tmp_path), "--only", "post_embedding"]
    assert main([*arguments, "--activity-threshold", "5", "--min-duration", "0.5"]) == 0
    session = load("post_embedding", models=tmp_path)
    assert session.description.recipe["min_duration_s"] == 0.5
    segments = np.zeros((1, 589, 2), np.float32)
    segments[0, :6, 0] = 1  # 0.1 s: valid, but too short
    segments[0, :30, 1] = 1  # 0.506 s
    vectors = np.ones((2, 4), np.float32)
    outputs = session.run(embeddings=vectors, database=vectors[:0], segments=segments)
    assert outputs["valid"].tolist() == [1, 1]
    assert outputs["filtered_segments"].sum(axis=(0, 1)).tolist() == [0, 30]
    assert main(["verify", str(tmp_path)]) == 0


def test_wespeaker_with_a_lightning_prefix(tmp_path: Path) -> None:
    config = ResNetConfig(embedding_size=48, channels=8, block_counts=(1, 2, 1, 1))
    state = {f"resnet.{k}": v for k, v in resnet_state(config, seed=2).items()}
    checkpoint = tmp_path / "speaker.bin"
    torch.save({"state_dict": state}, checkpoint)
    out = tmp_path / "models"
    options = ["--embedding", "wespeaker", "--embedding-checkpoint", str(checkpoint)]
    arguments = ["export", "-o", str(out), *options, "--precisions", "fp32"]
    only = ["--only", "embedding_wespeaker", "--only", "diarization_window"]
    assert main([*arguments, *only]) == 0
    # The family is read from the manifest; its checkpoint must be given.
    assert main(["verify", str(out), *options]) == 0
    assert main(["verify", str(out), *options[2:]]) == 0
    session = load("embedding_wespeaker", models=out)
    waveform, masks = np.zeros((1, 1, 8000), np.float32), np.ones((1, 2, 30), np.float32)
    assert session.run(waveform=waveform, masks=masks)["embeddings"].shape == (1, 2, 48)


def test_campplus_of_other_sizes(tmp_path: Path) -> None:
    config = CamPlusPlusConfig(embedding_size=64, block_layers=(2, 3, 2))
    checkpoint = tmp_path / "campplus.pt"
    torch.save(campplus_state(config, seed=3), checkpoint)
    out = tmp_path / "models"
    options = ["--embedding", "campplus", "--embedding-checkpoint", str(checkpoint)]
    arguments = ["export", "-o", str(out), *options, "--precisions", "fp32"]
    assert main([*arguments, "--only", "embedding_campplus"]) == 0
    assert load("embedding_campplus", models=out).description.recipe["embedding_size"] == 64


def test_a_checkpoint_of_something_else_is_one_clear_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "other.pt"
    torch.save({"encoder.weight": torch.zeros(3, 3)}, checkpoint)
    out = tmp_path / "models"
    assert main(["export", "-o", str(out), "--segmentation", str(checkpoint)]) == 1
    message = capsys.readouterr().err
    assert "other.pt" in message
    assert "Traceback" not in message
    assert not out.exists()
