"""``voxport vggish`` on a tiny network, from files to files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import speechlike
from tiny_vggish import RATE_HZ, Samples, expected
from voxport.runtime.cli import main

Run = Callable[..., tuple[int, str, str]]
SAMPLES = speechlike(3 * RATE_HZ, 1)


def audio(path: Path, samples: Samples = SAMPLES) -> Path:
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture
def run(whitening_models: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def act(*arguments: object) -> tuple[int, str, str]:
        networks = ("--models", whitening_models, "--device", "cpu")
        status = main(["vggish", *map(str, (*arguments, *networks))])
        return status, *capsys.readouterr()

    return act


def test_json_is_printed(tmp_path: Path, run: Run) -> None:
    status, out, err = run(audio(tmp_path / "rain.wav"))
    assert (status, err) == (0, "rain: 3 embeddings of 3.0 s\n")
    document = json.loads(out)
    assert (document["schema_version"], document["file"], document["duration_s"]) == (1, "rain", 3)
    assert document["artifact"]["name"] == "vggish"
    examples = document["examples"]
    assert [each["start_s"] for each in examples] == pytest.approx([0, 0.96, 1.92])
    vectors = np.array([each["embedding"] for each in examples])
    np.testing.assert_allclose(vectors, expected(SAMPLES), rtol=0, atol=1e-6)
    assert all(0 <= value <= 255 for each in examples for value in each["quantised"])


def test_csv_is_printed(tmp_path: Path, run: Run) -> None:
    status, out, _ = run(audio(tmp_path / "a,b.wav"), "--format", "csv", "--quiet")
    header, *rows = csv.reader(io.StringIO(out))
    assert (status, header) == (0, ["file", "start_s", "end_s", "e0", "e1"])
    assert [row[:3] for row in rows] == [
        ["a,b", "0.000", "0.975"],
        ["a,b", "0.960", "1.935"],
        ["a,b", "1.920", "2.895"],
    ]
    vectors = np.array([row[3:] for row in rows], np.float32)
    np.testing.assert_allclose(vectors, expected(SAMPLES), rtol=0, atol=1e-6)


def test_all_formats_hold_the_same(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    files = [audio(tmp_path / "a.wav"), audio(tmp_path / "b.wav", SAMPLES[:20000])]
    status, printed, err = run(*files, "-o", out, "--format", "npz,json,csv")
    assert (status, printed) == (0, "")
    assert err.endswith("2 files done\n")
    with np.load(out / "a.npz", allow_pickle=False) as file:
        arrays = dict(file)
    document = json.loads((out / "a.json").read_text())
    read = np.array([each["embedding"] for each in document["examples"]], np.float32)
    np.testing.assert_array_equal(read, arrays["embeddings"])
    assert arrays["quantised"].dtype == np.uint8
    assert arrays["whitened"].shape == arrays["embeddings"].shape == (3, 2)
    assert str(arrays["file_id"]) == "a"
    assert len((out / "b.csv").read_text().splitlines()) == 2


def test_short_audio_is_said_to_be(tmp_path: Path, run: Run) -> None:
    status, out, err = run(audio(tmp_path / "a.wav", SAMPLES[:8000]))
    assert status == 0
    assert json.loads(out)["examples"] == []
    assert "0 embeddings of 0.5 s; 0.500 s of audio, but an example takes 0.975 s" in err


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path, run: Run) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    status, _, err = run(bad, audio(tmp_path / "good.wav"), "-o", tmp_path / "out")
    assert status == 1
    assert (tmp_path / "out" / "good.json").is_file()
    assert "1 file done, 1 failed" in err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--format", "npz"), "npz cannot be printed"),
        (("--format", "xml"), "no format 'xml'"),
        (("--format", "json,csv"), "give a folder with -o"),
    ],
)
def test_what_cannot_be_done(
    tmp_path: Path, run: Run, arguments: tuple[str, ...], match: str
) -> None:
    status, out, err = run(audio(tmp_path / "a.wav"), *arguments)
    assert (status, out) == (1, "")
    assert match in err
