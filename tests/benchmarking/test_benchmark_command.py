"""``voxport bench`` on tiny artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_artifacts
from tiny_artifacts import RATE_HZ, WINDOW
from voxport.runtime import InputError, cli
from voxport.runtime.profiling.arguments import listed_devices


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models, and three and a half windows of audio."""
    folder = tmp_path_factory.mktemp("bench")
    segmentation, _, cosine = tiny_artifacts.demo_artifacts()
    tiny_artifacts.publish(folder / "models", [segmentation, cosine])
    samples = np.sin(np.arange(3 * WINDOW + WINDOW // 2) / 9).astype(np.float32)
    soundfile.write(folder / "audio.wav", samples, RATE_HZ, subtype="FLOAT")
    return folder


def run(folder: Path, *arguments: str) -> int:
    try:
        return cli.main(["bench", *arguments, "--models", str(folder / "models")])
    except SystemExit as error:  # argparse
        return int(error.code or 0)


def test_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = str(folder / "audio.wav")
    choices = ("--device", "cpu,cuda:9999", "--batch-size", "1,2", "--rounds", "2")
    assert run(folder, "segmentation_masks", audio, *choices, "--threads", "1") == 0
    out, err = capsys.readouterr()
    heading, names, one, two, missed, _, legend = out.splitlines()
    assert heading == "segmentation_masks on the recording, 2 rounds"
    assert names.split()[:5] == ["device", "precision", "batch", "call", "ms"]
    assert one.split()[:3] == ["cpu", "fp32", "1"]
    assert two.split()[:3] == ["cpu", "fp32", "2"]
    assert missed.startswith("segmentation_masks auto on cuda:9999: not run: device 'cuda:9999'")
    assert legend.startswith("call: median, warm")
    assert err == ""


def test_all_artifacts_and_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bench.json"
    audio = str(folder / "audio.wav")
    told = ("--device", "cpu", "--rounds", "1", "--json", str(path))
    assert run(folder, "all", audio, *told) == 0
    out = capsys.readouterr().out
    assert "cosine_distance on synthetic inputs, 1 rounds" in out
    assert "segmentation_masks on the recording, 1 rounds" in out
    data = json.loads(path.read_text(encoding="utf-8"))
    named = [(one["name"], one["on_audio"]) for one in data["artifacts"]]
    assert named == [("cosine_distance", False), ("segmentation_masks", True)]


def test_json_alone_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "segmentation_masks, cosine_distance"
    assert run(folder, names, "--device", "cpu", "--rounds", "1", "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in data["artifacts"]] == ["segmentation_masks", "cosine_distance"]


def test_no_device_can_be_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "all", "--device", "cuda:9998,coreml,cuda:9999") == 1
    out, err = capsys.readouterr()
    assert out.count("not run") == 6
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("linea",), "no artifact 'linea'"),
        ((",",), "NAME names nothing"),
        (("all", "--rounds", "0"), "must be at least 1"),
        (("all", "--batch-size", "1,0"), "must be at least 1"),
        (("all", "--batch-size", "one"), "--batch-size must be whole numbers"),
        (("all", "--batch-size", ","), "--batch-size must be whole numbers"),
        (("all", "--device", ""), "--device names nothing"),
        (("all", "--threads", "0"), "intra_op_threads must be"),
        (("all", "missing.wav", "--device", "cpu"), "missing.wav"),
        (("all", "--device", "cpu", "--rounds", "1", "--json", "/"), "cannot be written"),
    ],
)
def test_errors_are_one_message(
    folder: Path, arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, *arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("voxport bench: ")
    assert problem in err


def test_several_cards_are_one_device() -> None:
    assert listed_devices("cpu, cuda:0,1,cuda:2, cpu:0,1,auto", "--device") == [
        *("cpu", "cuda:0,1", "cuda:2", "cpu:0,1", "auto")
    ]
    with pytest.raises(InputError, match="--device names nothing"):
        listed_devices(" , ", "--device")
