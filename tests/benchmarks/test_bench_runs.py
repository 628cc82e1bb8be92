"""Runners as processes, and the order of runs. No peer is run."""

from __future__ import annotations

import sys
from pathlib import Path

import bench_runs
import pytest
from bench_environments import Peer, environment, peers, problem_of
from bench_machine import cores
from bench_runs import Run, rotated, run_job
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.stages import Turn

_PEERS = Path(bench_runs.__file__).parent / "peers"
_RUNNER = f"""
import os, sys, time
sys.path.insert(0, {str(_PEERS)!r})
from peer_protocol import serve

def load(options, threads):
    print("a library talks")
    def diarize(path):
        if path == "broken.wav":
            raise ValueError("a bar | in the reason")
        if path == "endless.wav":
            time.sleep(600)
        return [(-0.5, 1.0, options["speaker"]), (2.0, 2.0, "nobody"), (2.0, 3.0, str(threads))]
    return diarize

serve(load, ("numpy",))
"""


def run(folder: Path, *files: str, limit_s: float = 60.0) -> Run:
    runner = folder / "runner.py"
    runner.write_text(_RUNNER)
    job = {"cores": cores(1), "files": list(files), "options": {"speaker": "A"}}
    log = folder / "logs" / "run.log"
    return run_job([sys.executable, str(runner)], job, log, limit_s=limit_s)


def test_a_run_has_the_answers_of_all_files(tmp_path: Path) -> None:
    found = run(tmp_path, "first.wav", "second.wav")
    assert found.problem == ""
    assert list(found.versions) == ["numpy"]
    assert found.load_s is not None
    assert found.first_s is not None
    assert 0 < found.load_s < found.first_s
    assert list(found.answers) == ["first.wav", "second.wav"]
    answer = found.answers["second.wav"]
    # Cut at the start, without the empty turn; one core is one thread.
    assert answer.turns == Turns([Turn(0.0, 1.0, "A"), Turn(2.0, 3.0, "1")])
    assert answer.peak_mib > 5
    assert "a library talks" in (tmp_path / "logs" / "run.log").read_text()


def test_a_failure_keeps_what_came_before_and_the_reason(tmp_path: Path) -> None:
    found = run(tmp_path, "first.wav", "broken.wav", "never.wav")
    assert list(found.answers) == ["first.wav"]
    assert found.problem == "ValueError: a bar / in the reason"


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    found = run(tmp_path, "endless.wav", limit_s=3.0)
    assert found.answers == {}
    assert found.problem == "took more than 0 min"


def test_every_row_runs_once_a_round_and_none_is_always_first() -> None:
    assert list(rotated("abc", 4)) == [
        *((0, row) for row in "abc"),
        *((1, row) for row in "bca"),
        *((2, row) for row in "cab"),
        *((3, row) for row in "abc"),
    ]
    assert list(rotated("", 2)) == []


def test_every_peer_has_a_runner() -> None:
    for name, peer in peers().items():
        assert peer.runner.is_file(), name


def test_a_peer_that_does_not_install_is_a_reason(tmp_path: Path) -> None:
    found = environment(Peer("absent", ("-r no-such-file.txt",)), tmp_path)
    assert found.python is None
    assert "no-such-file.txt" in found.problem
    assert "\n" not in found.problem


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    peer = Peer("nothing", ())
    made = environment(peer, tmp_path)
    assert made.python is not None
    assert made.python.exists()
    made.python.unlink()
    assert environment(peer, tmp_path) == made
    assert not made.python.exists()  # nothing was done again


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("ERROR: no such package\n\n[notice] a new pip\n", "ERROR: no such package"),
        ("Traceback\n  File\nOSError: libc10.so\n", "OSError: libc10.so"),
        ("", ""),
    ],
)
def test_problems_are_told_on_one_line(said: str, problem: str) -> None:
    assert problem_of(said) == problem
