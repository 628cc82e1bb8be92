"""``voxport profile`` on tiny artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_artifacts
from profile_samples import network
from tiny_artifacts import RATE_HZ, WINDOW
from voxport.runtime import cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models, and three and a half windows of audio."""
    folder = tmp_path_factory.mktemp("profile")
    tiny_artifacts.publish(folder / "models", tiny_artifacts.demo_artifacts())
    samples = np.sin(np.arange(3 * WINDOW + WINDOW // 2) / 9).astype(np.float32)
    soundfile.write(folder / "audio.wav", samples, RATE_HZ, subtype="FLOAT")
    return folder


def run(folder: Path, *arguments: str, names: str = "segmentation_masks") -> int:
    where = ("--models", str(folder / "models"), "--rounds", "1")
    try:
        return cli.main(["profile", names, str(folder / "audio.wav"), *where, *arguments])
    except SystemExit as error:  # argparse
        return int(error.code or 0)


def test_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--device", "cpu", "--batch-size", "2") == 0
    out, err = capsys.readouterr()
    assert out.startswith("segmentation_masks fp32 on cpu: CPU: ")
    lines = [line.split() for line in out.splitlines()]
    assert ["batch", "size", "2"] in lines
    assert ["calls", "2"] in lines
    assert ["audio", "3.5", "s"] in lines
    assert "Conv" in out
    assert err == ""


def test_without_audio_on_synthetic_inputs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names, models = "segmentation_masks,cosine_distance", str(folder / "models")
    where = ("--models", models, "--device", "cpu", "--rounds", "1")
    assert cli.main(["profile", names, *where, "--json", "-"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    # Eight windows of a second; nothing to be timed by.
    assert [stage["audio_duration_s"] for stage in stages] == [8.0, None]
    assert all(stage["status"].startswith("CPU: ") for stage in stages)


def test_json_alone_on_stdout(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--device", "cpu", "--json", "-", "--threads", "1") == 0
    data = json.loads(capsys.readouterr().out)
    (stage,) = data["stages"]
    assert (stage["num_windows"], stage["rounds"], stage["device"]) == (4, 1, "cpu")


def test_json_and_plot_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot, data = tmp_path / "plot.svg", tmp_path / "profile.json"
    assert run(folder, "--device", "cpu", "--json", str(data), "--plot", str(plot)) == 0
    assert capsys.readouterr().out.startswith("segmentation_masks fp32 on cpu")
    assert len(json.loads(data.read_text(encoding="utf-8"))["stages"]) == 1
    assert plot.read_text(encoding="utf-8").startswith("<svg ")


def test_several_artifacts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = "segmentation_masks, segmentation_masks"
    assert run(folder, "--device", "cpu", "--json", "-", "--step", "0.5", names=names) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["num_windows"] for stage in stages] == [6, 6]


def test_all_networks(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, names="all") == 1
    assert "has no network that takes audio" in capsys.readouterr().err
    tiny_artifacts.publish(tmp_path, [network()])
    arguments = ["--models", str(tmp_path), "--device", "cpu"]
    assert run(folder, *arguments, names="all") == 0
    assert capsys.readouterr().out.startswith("segmentation_masks fp32 on cpu")


def test_devices_side_by_side(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No machine has a card of this number."""
    assert run(folder, "--compare", "cpu,cuda:9999") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["cpu"]
    assert "segmentation_masks on cuda:9999: not run: device 'cuda:9999' cannot be used" in out


def test_no_device_can_be_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--compare", "cuda:9998,cuda:9999") == 1
    assert capsys.readouterr().out.count("not run") == 2
    assert run(folder, "--device", "cuda:9999") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("voxport profile: device 'cuda:9999' cannot be used")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--rounds", "0"), "must be at least 1"),
        (("--batch-size", "0"), "must be at least 1"),
        (("--threads", "0"), "intra_op_threads must be"),
        (("--top", "-1"), "--top must be at least 0"),
        (("--compare", ","), "--compare names nothing"),
        (("--plot", "plot.pdf"), "must end in .svg or .png"),
        (("--precision", "int8"), "there are: onnx fp32"),
        (("--step", "9"), "step must be at least 1 and at most the window"),
        (("--device", "cpu", "--json", "/"), "cannot be written"),
    ],
)
def test_errors_are_one_message(
    folder: Path, arguments: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, *arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("voxport profile: ")
    assert problem in err


def test_a_device_and_a_comparison_exclude_each_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--device", "cpu", "--compare", "cpu") == 2
    assert "not allowed with" in capsys.readouterr().err
