"""``voxport diarize`` with a corpus, on tiny networks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus_files import results
from tiny_diarization import RATE_HZ, dialogue, publish, silence, speech
from voxport.runtime import CorpusError, MissingDependencyError, OptionsError, VoxportError
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.cli import main
from voxport.runtime.corpus import arrow, diarize_corpus
from voxport.runtime.corpus.diarize import _fitted
from voxport.runtime.corpus.display import described
from voxport.runtime.corpus.engines import Engine
from voxport.runtime.corpus.report import CorpusReport, Tally
from voxport.runtime.corpus.workers import Lost
from voxport.runtime.diarization import Settings
from voxport.runtime.diarization.work import DiarizationWork

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four recordings, one without speech, and one that is no audio."""
    folder = tmp_path_factory.mktemp("recordings")
    said = {
        "dialogue": dialogue(),
        "one": speech(4, 2),
        "two": np.concatenate([speech(2, 7), silence(0.5), speech(3, 9)]),
        "nobody": silence(3),
    }
    for name, samples in said.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE_HZ, subtype="FLOAT")
    (folder / "noise.wav").write_bytes(b"no audio")
    return folder


@pytest.fixture
def run(models: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def act(*arguments: object) -> tuple[int, str, str]:
        how = ("--models", models, "--device", "cpu", "--step", "0.1")
        status = main(["diarize", *map(str, (*arguments, *how))])
        return status, *capsys.readouterr()

    return act


def test_all_ways_give_the_same_bytes(run: Run, here: Path, models: Path, tmp_path: Path) -> None:
    formats = ("--format", "rttm,json,csv", "--plot")
    plain = run(here, "-o", tmp_path / "plain", *formats)
    inline = run(here, "-o", tmp_path / "inline", "--engine", "local", *formats)
    several = run(here, "-o", tmp_path / "several", "--jobs", "2", *formats)
    work = DiarizationWork(
        ("rttm", "json", "csv"),
        plot=True,
        models=models,
        device="cpu",
        settings=Settings(step_s=0.1),
    )
    report = diarize_corpus(here, tmp_path / "called", work, engine=Engine(files_at_once=2))
    assert [status for status, *_ in (plain, inline, several)] == [1, 1, 1]
    assert (report.num_done, report.num_failed) == (4, 1)
    expected = results(tmp_path / "inline")
    assert len(expected) == 4 * 4 + 1
    assert results(tmp_path / "several") == results(tmp_path / "called") == expected
    table = expected.pop("turns.parquet")
    assert table
    assert results(tmp_path / "plain") == expected
    assert len(read_rttm(tmp_path / "inline" / "dialogue.rttm")["dialogue"].speakers) == 2
    assert (tmp_path / "inline" / "nobody.rttm").read_text() == ""


def test_what_is_told(run: Run, here: Path, tmp_path: Path) -> None:
    status, out, err = run(here / "*.wav", "-o", tmp_path)
    assert (status, out) == (1, "")
    problem, summary = err.splitlines()
    assert problem.startswith(f"voxport: {here / 'noise.wav'}: cannot be read as audio: ")
    assert summary.startswith("4 done, 1 failed; 0.01 h at ")
    _, _, err = run(here, "-o", tmp_path, "--engine", "local", "--quiet")
    assert err == f"{problem}\n"
    status, _, err = run(here / "one.wav", "-o", tmp_path, "--jobs", "1")
    assert (status, err) == (0, "0 done, 1 done before; 0.00 h at 0.0x\n")
    assert "1 done; " in run(here / "one.wav", "-o", tmp_path, "--redo")[2]


def test_a_record_names_the_networks_and_times(run: Run, here: Path, tmp_path: Path) -> None:
    run(here / "one.wav", "-o", tmp_path, "--engine", "local")
    record = json.loads((tmp_path / ".voxport" / "one.json").read_text())
    assert [each["name"] for each in record["artifacts"]] == [
        "segmentation_masks",
        "embedding_tiny",
    ]
    assert record["duration_s"] == 4.0
    assert {"hashing", "segmentation", "embedding", "total"} <= record["seconds"].keys()


@pytest.mark.parametrize(
    ("change", "is_again"),
    [
        (("--threshold", "0.5"), True),
        (("--num-speakers", "1"), True),
        (("--exclusive",), True),
        (("--format", "json"), True),
        (("--plot",), True),
        (("--mode", "exact"), True),
        (("--precision", "fp32"), True),
        (("--threads", "1"), False),
        (("--fallback",), False),
    ],
)
def test_what_makes_another_configuration(
    run: Run, here: Path, tmp_path: Path, change: tuple[str, ...], is_again: bool
) -> None:
    file = here / "one.wav"
    run(file, "-o", tmp_path, "--engine", "local")
    err = run(file, "-o", tmp_path, "--engine", "local", *change)[2]
    assert err.startswith("1 done; " if is_again else "0 done, 1 done before; ")


def test_other_artifacts_are_another_configuration(models: Path, tmp_path: Path) -> None:
    manifest = json.loads((models / "manifest.json").read_text())
    for row in manifest["artifacts"]:
        if row["path"].startswith("embedding"):
            row["sha256"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    one, other = (DiarizationWork(models=each).configuration() for each in (models, tmp_path))
    assert one.pop("artifacts") != other.pop("artifacts")
    assert one == other


def test_a_known_number_of_speakers_counts_for_its_recording(
    run: Run, here: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    place = here / "dialogue.wav"
    manifest.write_text(f"path,id,num_speakers\n{place},a,1\n{place},b,\n")
    assert run(manifest, "-o", tmp_path / "out", "--min-speakers", "2")[0] == 0
    speakers = [
        len(read_rttm(tmp_path / "out" / f"{name}.rttm")[name].speakers) for name in ("a", "b")
    ]
    assert speakers == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--jobs", "2"), "a corpus needs a folder for its results: give it with -o"),
        (("--workers", "2", "-o", "out"), "--workers is not for the engine local"),
        (("--gpus-per-worker", "0", "-o", "out"), "--gpus-per-worker is not for the engine local"),
        (("--engine", "ray", "--jobs", "2", "-o", "out"), "--jobs is not for the engine ray"),
        (("--engine", "ray", "--cpus-per-worker", "-1", "-o", "out"), "cpus_per_worker must be 0"),
    ],
)
def test_arguments_that_contradict_each_other(
    run: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    status, _, err = run(here / "one.wav", *arguments)
    assert status == 1
    assert err.startswith(f"voxport diarize: {message}")
    assert not (tmp_path / "out").exists()


def test_engines_that_do_not_exist() -> None:
    with pytest.raises(OptionsError, match="engine must be 'local' or 'ray'"):
        Engine("dask")  # type: ignore[arg-type]
    with pytest.raises(OptionsError, match="jobs must be 1 or more"):
        Engine(jobs=0)


def test_threads_are_shared_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxport.runtime.corpus.engines.allowed_cpus", lambda: tuple(range(8)))
    found = [Engine(jobs=jobs).threads_per_worker() for jobs in (1, 2, 3, 16)]
    assert found == [None, 4, 2, 1]
    assert Engine("ray", cpus_per_worker=2.5).threads_per_worker() == 2
    assert Engine("ray", cpus_per_worker=0.5).threads_per_worker() == 1


@pytest.mark.parametrize(
    ("device", "engine", "files_at_once"),
    [
        ("cpu", Engine(), 1),
        ("cuda:1", Engine(), 4),
        ("cuda", Engine(files_at_once=2), 2),
        ("cuda", Engine(files_at_once=1), 1),
        ("triton://host:8001", Engine(jobs=2), 4),
        ("auto", Engine("ray"), 1),
        ("auto", Engine("ray", gpus_per_worker=0.5), 4),
    ],
)
def test_cards_take_several_recordings_at_once(
    device: str, engine: Engine, files_at_once: int
) -> None:
    work, fitted = _fitted(DiarizationWork(device=device), engine)
    assert fitted.at_once == files_at_once
    assert work.options.batch_across_calls == (files_at_once > 1)


def test_missing_models_and_packages_are_told_before_any_work(
    run: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(VoxportError, match="no manifest"):
        diarize_corpus(here, tmp_path / "out", DiarizationWork(models=tmp_path))

    def missing() -> None:
        raise MissingDependencyError("Parquet needs pyarrow")

    monkeypatch.setattr("voxport.runtime.corpus.run.import_pyarrow", missing)
    status, _, err = run(here, "-o", tmp_path / "out", "--jobs", "2")
    assert (status, err) == (1, "voxport diarize: Parquet needs pyarrow\n")
    assert arrow.import_pyarrow() is not None


class _OtherNetworks:
    """Puts other networks into the folder when the run has begun."""

    def __init__(self, models: Path) -> None:
        self.manifest = models / "manifest.json"

    def ended(self, _: Tally, __: int) -> None:
        text = self.manifest.read_text()
        self.manifest.write_text(text.replace('"sha256": "', '"sha256": "0'))

    def failed(self, problem: str, trace: str) -> None: ...

    def lost(self, lost: Lost) -> None: ...

    def concluded(self, report: CorpusReport) -> None: ...


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_worker_with_other_networks_ends_the_run(
    here: Path, models: Path, tmp_path: Path, jobs: int
) -> None:
    own = shutil.copytree(models, tmp_path / "models")
    work = DiarizationWork(models=own, device="cpu")
    with pytest.raises(CorpusError, match=r"models: a worker finds other artifacts"):
        diarize_corpus(
            here, tmp_path / "out", work, engine=Engine(jobs=jobs), watcher=_OtherNetworks(own)
        )
    assert not list((tmp_path / "out").glob("*.rttm"))


def test_the_line_on_a_terminal(
    run: Run, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    err = run(here, "-o", tmp_path, "--engine", "local")[2]
    assert err.startswith("\r0/5 files  0.0 h  0.0x")
    assert err.splitlines()[-1].split("\r")[-1].startswith("4 done, 1 failed; ")


def test_what_the_line_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tally, "elapsed_s", 3600.0)
    tally = Tally(num_done=20, num_skipped=40, num_failed=4, audio_s=7200 * 36.0)
    assert described(tally, 112) == "64/112 files  72.0 h  72.0x  ETA 2:00:00  4 failed"
    assert described(Tally(), 3) == "0/3 files  0.0 h  0.0x"


# Signals

_WAITING = """
import signal, sys
from corpus_works import StandIn
from voxport.runtime.cli import main
from voxport.runtime.diarization.work import DiarizationWork
# As a terminal leaves it: what starts in the background of a shell ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
DiarizationWork.opened = lambda _: StandIn().opened()
sys.exit(main(["diarize", *sys.argv[1:]]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(models: Path, tmp_path: Path, number: int) -> None:
    (tmp_path / "in").mkdir()
    marker, out = tmp_path / "marker", tmp_path / "out"
    for name, content in {"a": "one", "b": f"wait {marker}", "c": "two"}.items():
        (tmp_path / "in" / f"{name}.wav").write_text(content)
    arguments = ("in", "-o", "out", "--engine", "local", "--models", str(models))
    process = subprocess.Popen(
        [sys.executable, "-c", _WAITING, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        end_s = time.monotonic() + 60
        while not marker.exists() and time.monotonic() < end_s and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert err.splitlines()[-1] == "voxport diarize: interrupted", err
    assert err.startswith("1 done, 2 not done; ")
    assert process.returncode == 130
    assert json.loads((out / "report.json").read_text())["status"] == "interrupted"
    assert sorted(path.name for path in out.iterdir()) == [".voxport", "a.rttm", "report.json"]
