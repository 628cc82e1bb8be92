"""``voxport highlights``, from files to files; and its picture."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from signals import full_scale_noise
from voxport.runtime.cli import main
from voxport.runtime.highlights import Highlighter, HighlightResult, Moment
from voxport.runtime.highlights.plot import score_svg

RATE_HZ = 16000
Run = Callable[..., tuple[int, str, str]]


def claps() -> npt.NDArray[np.float32]:
    """40 s of quiet noise with three louder ones: from 5 to 7, 20 to 21 and 30 to 33 s."""
    samples = 0.01 * full_scale_noise(40 * RATE_HZ, seed=1)
    for start, end, level in ((5, 7, 40), (20, 21, 35), (30, 33, 60)):
        samples[start * RATE_HZ : end * RATE_HZ] *= level
    return samples.astype(np.float32)


def audio(path: Path, samples: npt.NDArray[np.float32] | None = None) -> Path:
    soundfile.write(path, claps() if samples is None else samples, RATE_HZ, subtype="FLOAT")
    return path


@pytest.fixture
def run(highlight_models: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def act(*arguments: object) -> tuple[int, str, str]:
        graphs = ("--models", highlight_models, "--device", "cpu")
        status = main(["highlights", *map(str, (*arguments, *graphs))])
        return status, *capsys.readouterr()

    return act


def starts(text: str) -> list[int]:
    return [round(moment["start_s"]) for moment in json.loads(text)["moments"]]


def test_moments_as_json(tmp_path: Path, run: Run) -> None:
    status, out, err = run(audio(tmp_path / "a.wav"))
    assert status == 0
    document = json.loads(out)
    assert (document["schema_version"], document["file"]) == (1, "a")
    assert document["duration_s"] == 40
    assert starts(out) == [30]
    assert document["moments"][0].keys() == {"start_s", "end_s", "score"}
    assert err.startswith("a: 1 highlight, 3.")


def test_top_and_merging(tmp_path: Path, run: Run) -> None:
    file = audio(tmp_path / "a.wav", np.tile(claps(), 3))
    assert starts(run(file)[1]) == [30, 70, 110]
    assert starts(run(file, "--top", 2)[1]) in ([30, 70], [30, 110], [70, 110])
    assert starts(run(file, "--min-gap", 50)[1]) == [30]
    assert starts(run(file, "--min-duration", 4)[1]) == []


def test_chat_counts(tmp_path: Path, run: Run) -> None:
    file, chat = audio(tmp_path / "a.wav"), tmp_path / "counts.csv"
    chat.write_text("time_s,count\n13,80\n12,90\n1,1\n", encoding="utf-8")
    assert 13 in [s + d for s in starts(run(file, "--chat", chat)[1]) for d in (0, 1, 2, 3)]
    chat.write_text("12,90\noops,80\n", encoding="utf-8")
    status, out, err = run(file, "--chat", chat)
    assert (status, out) == (1, "")
    assert f"{chat}:2: time_s must be a number" in err


def test_written_with_a_plot(tmp_path: Path, run: Run) -> None:
    files = [audio(tmp_path / "a.wav"), audio(tmp_path / "b.wav")]
    out = tmp_path / "out"
    status, printed, _ = run(*files, "-o", out, "--format", "json,csv", "--plot")
    assert (status, printed) == (0, "")
    endings = ("csv", "json", "svg")
    assert sorted(path.name for path in out.iterdir()) == [
        f"{n}.{e}" for n in "ab" for e in endings
    ]
    rows = list(csv.DictReader(io.StringIO((out / "a.csv").read_text())))
    (moment,) = json.loads((out / "a.json").read_text())["moments"]
    assert [float(rows[0][key]) for key in moment] == pytest.approx(list(moment.values()), abs=1e-3)
    bands = [each for each in ET.parse(out / "a.svg").iter() if each.get("class") == "moment"]  # noqa: S314
    assert len(bands) == len(rows) == 1


def test_silence_is_no_failure(tmp_path: Path, run: Run) -> None:
    silent = audio(tmp_path / "a.wav", np.zeros(2 * RATE_HZ, np.float32))
    status, out, err = run(silent, "-o", tmp_path, "--plot")
    assert (status, out, err) == (0, "", "a: 0 highlights, 0.0 s of 2.0 s\n")
    assert starts((tmp_path / "a.json").read_text()) == []


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, run: Run) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    good = audio(tmp_path / "a.wav")
    status, _, err = run(tmp_path / "bad.wav", good, "-o", tmp_path / "out", "--quiet")
    assert status == 1
    assert err.startswith(f"voxport: {tmp_path / 'bad.wav'}: ")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "rttm"], "--format: no format 'rttm'"),
        (["--format", "csv,json"], "one format can be printed"),
        (["--plot"], "--plot writes a picture"),
        (["--min-gap", "-1"], "min_gap_s must be"),
        (["--min-duration", "nan"], "min_duration_s must be"),
        (["--chat", "nowhere.csv"], "nowhere.csv: cannot be read"),
        (["other.wav", "--chat", "counts.csv"], "--chat is of one recording"),
    ],
)
def test_options_that_cannot_work(
    tmp_path: Path, run: Run, arguments: list[str], message: str
) -> None:
    status, out, err = run(audio(tmp_path / "a.wav"), *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"voxport highlights: {message}")


# The picture


@pytest.fixture
def result(highlighter: Highlighter) -> HighlightResult:
    return highlighter(claps(), source_rate_hz=RATE_HZ)


def points(svg: str) -> npt.NDArray[np.float64]:
    """(N, 2) pixels of the curve."""
    curves = [each for each in ET.fromstring(svg).iter() if each.get("fill") == "#0072B2"]  # noqa: S314
    text = (curves[0].get("d") or "").strip("Mz")
    return np.array([[float(value) for value in point.split()] for point in text.split("L")])


def test_the_curve_is_highest_where_the_score_is(result: HighlightResult) -> None:
    pixels = points(score_svg(result, "a"))
    best_s = result.score.argmax() * result.hop_s
    x = pixels[pixels[:, 1].argmin(), 0]
    assert x == pytest.approx(48 + 896 * best_s / 40, abs=1.5)


def test_the_picture_is_bounded(result: HighlightResult) -> None:
    long = replace(result, score=np.tile(result.score, 3000), duration_s=120_000.0)
    svg = score_svg(long)
    assert len(svg) < 60_000
    pixels = points(svg)
    assert len(pixels) == 2 * 896
    # Every column spans from the quiet noise to a clap.
    assert pixels[:, 1].min() < 40


def test_any_title_and_hardly_any_audio(result: HighlightResult) -> None:
    short = replace(
        result, score=result.score[:1], duration_s=0.0001, moments=(Moment(0.0, 0.0001, 3.0),)
    )
    svg = score_svg(short, "<b>&\x00\ud800")
    assert ET.fromstring(svg).get("aria-label") == "<b>&"  # noqa: S314
    assert "nan" not in svg
