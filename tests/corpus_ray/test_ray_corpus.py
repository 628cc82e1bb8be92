"""``voxport diarize CORPUS --engine ray`` on a real cluster of two nodes; one is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import signals
import soundfile
import tiny_diarization
from ray_cluster import RayCluster, needs_ray, ray_cluster
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.errors import ArtifactNotFoundError
from voxport.runtime.locate import find_models

pytestmark = needs_ray
_NUM_CLIPS = 200
_RATE_HZ = 16_000
_SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
_LIMIT_S = 300.0
_VOXPORT = "import sys; from voxport.runtime.cli import main; sys.exit(main(sys.argv[1:]))"
# The real networks' windows are ten times as long as the tiny ones'.
_TINY_STEP = ("--step", "0.1")


def clips(folder: Path) -> Path:
    """A folder of clips of 3 to 6 s, cut from recordings and varied, the same every time.

    Of the shared recordings where they are at hand, else of synthetic ones. All are loud and
    clipped: in the tiny networks only what is loud is somebody's.
    """
    rng = np.random.default_rng(7)
    sources = _recordings()
    folder.mkdir()
    for number in range(_NUM_CLIPS):
        source = sources[rng.integers(len(sources))]
        length = int(rng.uniform(3, 6) * _RATE_HZ)
        start = rng.integers(len(source) - length)
        clip = source[start : start + length] * (1 if rng.integers(2) else -1)
        loud = np.clip(clip / np.abs(clip).max() * rng.uniform(8, 30), -1, 1)
        soundfile.write(folder / f"clip{number:03}.wav", loud, _RATE_HZ)
    return folder


def _recordings() -> list[np.ndarray[Any, Any]]:
    folder = Path(os.environ.get("VOXPORT_SHARED_DATA", _SHARED_DATA)) / "wav"
    found = [soundfile.read(path)[0] for path in sorted(folder.glob("*.wav"))]
    long = [each for each in found if len(each) > 10 * _RATE_HZ]
    return long or [signals.speechlike(30 * _RATE_HZ, seed) for seed in range(4)]


class Given:
    """A corpus, its networks, and what the plain loop makes of it."""

    def __init__(self, folder: Path, models: Path, *extra: str) -> None:
        self.corpus = clips(folder / "corpus")
        self.arguments = ["diarize", str(self.corpus), "--models", str(models), "--device", "cpu"]
        self.arguments += ["--threads", "1", "--format", "rttm,json", *extra]
        plain = folder / "plain"
        run = subprocess.run(
            _command(self.arguments, plain), capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        self.expected = results(plain)
        assert len(self.expected) == 2 * _NUM_CLIPS

    @contextmanager
    def running(self, cluster: RayCluster, output: Path) -> Iterator[subprocess.Popen[str]]:
        """A run on the cluster; it ends with the block at the latest."""
        engine = ["--engine", "ray", "--address", cluster.address]
        with subprocess.Popen(
            [*_command(self.arguments, output), *engine],
            stderr=subprocess.PIPE,
            text=True,
            env=cluster.environment,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def _command(arguments: list[str], output: Path) -> list[str]:
    return [sys.executable, "-c", _VOXPORT, *arguments, "-o", str(output)]


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("clip*")}


@pytest.fixture(scope="module", params=("tiny", "real"))
def given(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("given")
    if request.param == "tiny":
        return Given(folder, tiny_diarization.publish(folder / "models"), *_TINY_STEP)
    try:
        models = find_models().absolute()
    except ArtifactNotFoundError as error:
        pytest.skip(f"needs exported artifacts: {error}")
    return Given(folder, models)


@pytest.fixture(scope="module")
def cluster(given: Given) -> Iterator[RayCluster]:
    """Of these networks' tests; the last one takes a node away."""
    with ray_cluster(num_nodes=2) as started:
        yield started


def until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end_s = time.monotonic() + _LIMIT_S
    while not is_so():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end_s
        time.sleep(0.01)


def ended(process: subprocess.Popen[str]) -> str:
    """What a run said, when it has ended."""
    _, said = process.communicate(timeout=_LIMIT_S)
    return said


def test_sigterm_ends_a_run_as_ctrl_c_does(
    given: Given, cluster: RayCluster, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with given.running(cluster, output) as run:
        until(lambda: len(results(output)) >= 20, run)
        run.terminate()
        said = ended(run)
    assert run.returncode == 130, said
    assert json.loads((output / "report.json").read_text())["status"] == "interrupted"
    assert results(output).items() < given.expected.items()
    assert leftover_workers(cluster) == []


def test_a_corpus_survives_a_node_and_a_full_disk(
    given: Given, cluster: RayCluster, tmp_path: Path
) -> None:
    import resource  # noqa: PLC0415 -- not on Windows

    output = tmp_path / "out"
    with given.running(cluster, output) as first:
        until(lambda: len(results(output)) >= 40, first)
        # The disk is full: nothing that the driver writes can grow.
        resource.prlimit(first.pid, resource.RLIMIT_FSIZE, (0, 0))
        said = ended(first)
    assert first.returncode == 1, said
    assert "results cannot be written: File too large" in said
    before = results(output)
    assert 40 <= len(before) < 2 * _NUM_CLIPS
    assert before.items() <= given.expected.items()

    with given.running(cluster, output) as second:
        until(lambda: len(results(output)) >= len(before) + 40, second)
        cluster.kill_node(0)
        assert len(results(output)) < 2 * _NUM_CLIPS
        said = ended(second)
    assert second.returncode == 0, said
    assert results(output) == given.expected
    _check_report(output, num_before=len(before) // 2)
    _check_table(output)


def leftover_workers(cluster: RayCluster) -> list[int]:
    end_s = time.monotonic() + _LIMIT_S
    while (found := cluster.worker_pids()) and time.monotonic() < end_s:
        time.sleep(0.1)
    return found


def _check_report(output: Path, num_before: int) -> None:
    report = json.loads((output / "report.json").read_text())
    files = report["files"]
    assert report["status"] == "complete"
    assert report["failures"] == []
    assert files["done"] + files["skipped"] == _NUM_CLIPS
    # Of the last recording before the disk was full the results may be there without a record.
    assert num_before - 1 <= files["skipped"] <= num_before
    # Until the head misses the node, it may place the replacement there.
    assert 1 <= sum(report["restarts"].values()) <= 3


def _check_table(output: Path) -> None:
    """The table has each turn of each file once; most files have some."""
    rows = pyarrow.parquet.read_table(output / "turns.parquet").to_pylist()
    found: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows:
        found.setdefault(row["file_id"], []).append((row["start_s"], row["end_s"], row["speaker"]))
    assert len(found) > 0.9 * _NUM_CLIPS
    for path in output.glob("clip*.json"):
        turns = json.loads(path.read_text())["turns"]
        assert len(found.get(path.stem, [])) == len(turns)
    for path in output.glob("clip*.rttm"):
        expected = read_rttm(path).get(path.stem, [])
        assert [each[2] for each in found.get(path.stem, [])] == [t.speaker for t in expected]
