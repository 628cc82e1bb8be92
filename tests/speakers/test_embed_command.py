"""``voxport embed`` on tiny networks, from files to files."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_artifacts import RATE_HZ
from tiny_diarization import Samples, silence, speech
from tiny_speakers import embedder, voice_print
from voxport.runtime.annotation.rttm import write_rttm
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.cli import main
from voxport.runtime.speakers import SpeakerEmbedder

Run = Callable[..., tuple[int, str, str]]
TWO = np.concatenate([speech(2, 0), speech(2, 7), speech(0.2, 9), silence(0.8)])
TWO_TURNS = Turns([Turn(0, 2, "anna"), Turn(2, 4, "bob"), Turn(4, 4.2, "eve")])


@pytest.fixture
def run(models: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def act(*arguments: object) -> tuple[int, str, str]:
        networks = ("--models", models, "--device", "cpu")
        status = main(["embed", *map(str, (*arguments, *networks))])
        return status, *capsys.readouterr()

    return act


def audio(path: Path, samples: Samples) -> Path:
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    return path


def rttm(folder: Path, *names: str) -> Path:
    path = folder / "known.rttm"
    path.write_text("".join(write_rttm(TWO_TURNS, name) for name in names))
    return path


def test_one_file_is_printed_as_json(models: Path, tmp_path: Path, run: Run) -> None:
    file = audio(tmp_path / "a.wav", np.concatenate([silence(1), speech(2, 4)]))
    status, out, err = run(file)
    assert (status, err) == (0, "")
    document = json.loads(out)
    with embedder(models) as loaded:
        used, expected = loaded.artifact, loaded.embed(file).vectors[0]
    artifact = {"name": "embedding_tiny", "precision": "fp32", "sha256": used.sha256}
    assert (document["file"], document["artifact"]) == ("a", artifact)
    (row,) = document["embeddings"]
    assert (row["label"], row["start_s"], row["end_s"]) == ("a", 0, 3)
    # All digits of a float32.
    assert np.array_equal(np.array(row["embedding"], np.float32), expected)
    np.testing.assert_allclose(expected, voice_print(4), atol=1e-5)


def test_speakers_of_an_rttm(tmp_path: Path, run: Run) -> None:
    file = audio(tmp_path / "a.wav", TWO)
    status, out, err = run(file, "--segments", rttm(tmp_path, "other", "a"))
    assert status == 0
    assert err == "a: 1 of 3 have less than 0.5 s of speech: null\n"
    rows = {row["label"]: row for row in json.loads(out)["embeddings"]}
    assert list(rows) == ["anna", "bob", "eve"]
    np.testing.assert_allclose(rows["bob"]["embedding"], voice_print(7), atol=1e-5)
    assert rows["eve"]["embedding"] is None
    status, out, err = run(file, "--segments", rttm(tmp_path, "a"), "--min-speech", "0.1")
    assert (status, err) == (0, "")
    assert None not in [row["embedding"] for row in json.loads(out)["embeddings"]]


def test_written_as_npz_and_json(tmp_path: Path, run: Run) -> None:
    files = [audio(tmp_path / f"{name}.wav", TWO) for name in "ab"]
    out, known = tmp_path / "out", rttm(tmp_path, "a", "b")
    arguments = ("--segments", known, "--per", "segment", "--format", "npz,json", "--quiet")
    assert run(*files, "-o", out, *arguments) == (0, "", "")
    assert sorted(path.name for path in out.iterdir()) == ["a.json", "a.npz", "b.json", "b.npz"]
    with np.load(out / "b.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays["embeddings"].dtype == np.float32
    assert arrays["labels"].tolist() == ["anna", "bob", "eve"]
    assert arrays["starts_s"].tolist() == [0, 2, 4]
    assert arrays["ends_s"].tolist() == [2, 4, 4.2]
    assert arrays["file_id"] == "b"
    document = json.loads((out / "b.json").read_text())
    for key in ("sha256", "precision"):
        assert arrays[key] == document["artifact"][key]
    assert arrays["artifact"] == document["artifact"]["name"]
    for vector, row in zip(arrays["embeddings"], document["embeddings"], strict=True):
        if row["embedding"] is None:
            assert np.isnan(vector).all()
        else:
            assert np.array_equal(vector, np.array(row["embedding"], np.float32))


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, run: Run) -> None:
    (tmp_path / "bad.wav").write_text("no audio")
    silent = audio(tmp_path / "silent.wav", silence(2))
    good, out = audio(tmp_path / "good.wav", speech(1, 0)), tmp_path / "out"
    status, _, err = run(tmp_path / "bad.wav", silent, good, "-o", out)
    assert status == 1
    first, second, last = err.splitlines()
    assert first.startswith(f"voxport: {tmp_path / 'bad.wav'}: ")
    assert second == (f"voxport: {silent}: holds 0.00 s of speech, but an embedding needs 0.5 s")
    assert last == "1 file done, 2 failed"
    assert [path.name for path in out.iterdir()] == ["good.json"]


def test_standard_input(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for samples, status in ((speech(1, 0), 0), (silence(1), 1)):
        content = io.BytesIO(audio(tmp_path / "a.wav", samples).read_bytes())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
        found, out, err = run("-")
        assert found == status
        assert (json.loads(out)["file"] == "stdin") if out else err.startswith("voxport: stdin: h")


def test_interrupt_leaves_whole_results_only(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SpeakerEmbedder.embed

    def interrupted(self: SpeakerEmbedder, source: Path, *rest: object, **known: object) -> object:
        if source.stem == "b":
            raise KeyboardInterrupt
        return real(self, source, *rest, **known)  # type: ignore[arg-type]

    monkeypatch.setattr(SpeakerEmbedder, "embed", interrupted)
    files = [audio(tmp_path / f"{name}.wav", speech(1, 0)) for name in "abc"]
    status, _, err = run(*files, "-o", tmp_path / "out", "--format", "npz")
    assert status == 130
    assert err == "1 file done, 2 not done\nvoxport embed: interrupted\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.npz"]


def test_segments_that_do_not_fit(tmp_path: Path, run: Run) -> None:
    file = audio(tmp_path / "a.wav", TWO)
    status, out, err = run(file, "--segments", rttm(tmp_path, "b", "c"))
    assert (status, out) == (1, "")
    assert err.endswith("known.rttm has no turns of a; it has: b, c\n")
    short = audio(tmp_path / "b.wav", speech(1, 0))
    status, _, err = run(short, "--segments", rttm(tmp_path, "b"))
    assert status == 1
    assert err.startswith(f"voxport: {short}: bob speaks from 2.000 s on, but the audio ends")
    status, _, err = run(file, "--segments", rttm(tmp_path, "a"), "--min-speech", "9")
    assert (status, err) == (
        1,
        f"voxport: {file}: no voice has 9 s of speech: there is no embedding\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "rttm"], "--format: no format 'rttm'; there are json, npz"),
        (["--format", "npz"], "npz cannot be printed"),
        (["--format", "json,npz"], "one format can be printed"),
        (["--segments", "nowhere.rttm"], "nowhere.rttm: cannot be read"),
        (["--min-speech", "nan"], "min_speech_s must be"),
        (["b.wav"], "json does not say which file"),
    ],
)
def test_options_that_cannot_work(
    tmp_path: Path, run: Run, arguments: list[str], message: str
) -> None:
    status, out, err = run(audio(tmp_path / "a.wav", TWO), *arguments)
    assert (status, out) == (1, "")
    assert err.startswith(f"voxport embed: {message}")


def test_per_segment_needs_segments(tmp_path: Path, run: Run) -> None:
    file = audio(tmp_path / "a.wav", TWO)
    status, out, err = run(file, "--per", "segment")
    assert (status, out) == (1, "")
    assert "--per says what to embed of --segments" in err
