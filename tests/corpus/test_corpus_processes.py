"""Real processes of this machine that are killed, kill themselves, or never live."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from corpus_files import Heard, corpus, counts, results, run
from corpus_works import StandIn, waiting
from voxport.runtime import ArtifactNotFoundError, WorkersError
from voxport.runtime.corpus.processes import LocalProcesses
from voxport.runtime.corpus.report import Failure
from voxport.runtime.corpus.workers import Finished, Lost, Started
from voxport.runtime.recordings.files import Recording


def test_one_process_and_several_give_the_same(tmp_path: Path) -> None:
    names = {f"f{n}": f"content {n}" for n in range(6)} | {"x": "bad", "y": "defect"}
    here = corpus(tmp_path / "in", names)
    reports = [
        run(here, tmp_path / "inline"),
        run(here, tmp_path / "two", jobs=2),
        run(here, tmp_path / "threads", files_at_once=3),
    ]
    assert [counts(report) for report in reports] == [(6, 0, 2, 0)] * 3
    assert reports[0].failures == reports[1].failures == reports[2].failures
    first = results(tmp_path / "inline")
    assert len(first) == 6 + 1
    assert results(tmp_path / "two") == results(tmp_path / "threads") == first


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    here = corpus(tmp_path / "in", {"a": "one", "b": f"wait {marker}", "c": "two", "d": "three"})

    def kill() -> None:
        process = waiting(marker)
        marker.unlink()
        marker.with_suffix(".killed").touch()
        os.kill(process, signal.SIGKILL)
        # The file goes to another process, which waits too.
        waiting(marker)
        marker.unlink()

    killer = threading.Thread(target=kill)
    killer.start()
    heard = Heard()
    report = run(here, tmp_path / "out", jobs=2, watcher=heard)
    killer.join()
    assert counts(report) == (4, 0, 0, 0)
    assert [each.reason for each in heard.deaths] == ["killed by SIGKILL"]
    assert report.restarts == {"killed by SIGKILL": 1}
    assert report.is_complete


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_file_that_kills_once_is_done(tmp_path: Path) -> None:
    here = corpus(tmp_path / "in", {"a": f"kill-once {tmp_path / 'once'}", "b": "good"})
    report = run(here, tmp_path / "out", files_at_once=2)
    assert counts(report) == (2, 0, 0, 0)
    assert report.restarts == {"killed by SIGKILL": 1}


@pytest.mark.parametrize(("jobs", "files_at_once"), [(2, 1), (1, 2)])
def test_a_poisoned_file_fails_alone(tmp_path: Path, jobs: int, files_at_once: int) -> None:
    here = corpus(tmp_path / "in", {"a": "one", "b": "exit", "c": "two", "d": "three"})
    heard = Heard()
    report = run(here, tmp_path / "out", jobs=jobs, files_at_once=files_at_once, watcher=heard)
    poisoned = here / "b.wav"
    reason = "its worker died 3 times: ended with status 3"
    assert counts(report) == (3, 0, 1, 0)
    assert report.failures == [Failure(str(poisoned), reason, "b")]
    assert heard.problems == [f"{poisoned}: {reason}"]
    assert (report.status, report.is_complete) == ("complete", False)
    assert sorted(results(tmp_path / "out")) == ["a.rttm", "c.rttm", "d.rttm", "turns.parquet"]


@pytest.mark.parametrize(("jobs", "files_at_once"), [(2, 1), (1, 3)])
def test_a_broken_process_is_replaced(tmp_path: Path, jobs: int, files_at_once: int) -> None:
    here = corpus(tmp_path / "in", {f"f{n}": f"content {n}" for n in range(20)} | {"x": "bad"})
    work = StandIn(f"card {tmp_path / 'card'}")
    report = run(here, tmp_path / "out", jobs=jobs, files_at_once=files_at_once, work=work)
    assert counts(report) == (20, 0, 1, 0)
    assert report.restarts == {"CUDA failure 719": 1}
    assert report.given_up == {}
    assert json.loads(report.to_json())["engine"]["workers"] == jobs


def test_a_process_alone_has_none_to_replace_it(tmp_path: Path) -> None:
    here = corpus(tmp_path / "in", {"a": "one", "b": "two"})
    report = run(here, tmp_path / "out", work=StandIn(f"card {tmp_path / 'card'}"))
    assert counts(report) == (0, 0, 2, 0)
    assert {each.reason for each in report.failures} == {"CUDA failure 719"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_networks_that_are_not_there_end_it_with_their_error(tmp_path: Path, jobs: int) -> None:
    here = corpus(tmp_path / "in", {"a": "one", "b": "two"})
    heard = Heard()
    with pytest.raises(ArtifactNotFoundError, match="no models here"):
        run(here, tmp_path / "out", jobs=jobs, work=StandIn("models"), watcher=heard)
    (report,) = heard.reports
    assert (report.status, counts(report)) == ("stopped", (0, 0, 0, 2))


@pytest.mark.parametrize(
    ("problem", "reason"),
    [("defect", "ZeroDivisionError: while it was opened"), ("exit", "ended with status 7")],
)
def test_processes_that_never_live_end_it(tmp_path: Path, problem: str, reason: str) -> None:
    here = corpus(tmp_path / "in", {"a": "one"})
    with pytest.raises(WorkersError, match=f"no worker stays alive: {reason}"):
        run(here, tmp_path / "out", files_at_once=2, work=StandIn(problem))


_DRIVER = """
import signal, sys
from pathlib import Path
from corpus_files import run
# As a terminal leaves it: what starts in the background of a shell ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
print("begun", flush=True)
run(Path(sys.argv[1]), Path(sys.argv[2]), jobs=2)
"""


def _driver(here: Path, output: Path) -> subprocess.Popen[str]:
    """A run of two processes, in a group of its own; it says when it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", _DRIVER, str(here), str(output)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(tmp_path: Path, number: int) -> None:
    """Killed alone, or by Ctrl-C, which all processes of a terminal get."""
    marker = tmp_path / "marker"
    here = corpus(tmp_path / "in", {"a": f"wait {marker}"})
    process = _driver(here, tmp_path / "out")
    with process:
        waiting(marker)
        (os.kill if number == signal.SIGKILL else os.killpg)(process.pid, number)
        # Until nobody holds the other end any more.
        _, err = process.communicate(timeout=60)
    # Only the first process tells of Ctrl-C.
    assert err.count("Traceback") == (1 if number == signal.SIGINT else 0)
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)
    assert list((tmp_path / "out").glob("*.rttm")) == []


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("delay_s", [0.02, 0.1, 0.2])
def test_an_interrupt_while_processes_start_is_told_once(tmp_path: Path, delay_s: float) -> None:
    here = corpus(tmp_path / "in", {"a": f"wait {tmp_path / 'marker'}"})
    process = _driver(here, tmp_path / "out")
    with process:
        time.sleep(delay_s)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert err.count("Traceback") == 1
    assert err.endswith("KeyboardInterrupt\n")


def test_events_come_in_order_and_closing_kills(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    here = corpus(tmp_path / "in", {"a": "one", "b": f"wait {marker}"})
    paths = [here / "a.wav", here / "b.wav"]
    one, endless = (Recording(str(p), p.stem, p.stem, p) for p in paths)
    with closing(LocalProcesses(StandIn().opened, 1)) as workers:
        assert workers.next_event() == Started(0)
        workers.submit(0, 7, one)
        finished = workers.next_event()
        assert isinstance(finished, Finished)
        assert (finished.worker, finished.ticket, finished.outcome.recording) == (0, 7, one)
        workers.submit(0, 8, endless)
        process = waiting(marker)
    workers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_live_process_is_ended_before_another_starts(tmp_path: Path) -> None:
    here = corpus(tmp_path / "in", {"a": "one"})
    recording = Recording("a.wav", "a", "a", here / "a.wav")
    workers = LocalProcesses(StandIn().opened, 1)
    assert workers.next_event() == Started(0)
    pid = workers._children[0].process.pid
    assert pid is not None
    # Its end may have been told before anybody asked for it.
    workers._events.append(Lost(0, "of its former life"))
    workers.restart(0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert workers.next_event() == Started(0)
    workers.submit(0, 1, recording)
    assert isinstance(workers.next_event(), Finished)
    workers.stop(0)
    workers.close()


def test_closing_twice_is_no_error() -> None:
    workers = LocalProcesses(StandIn("models").opened, 2)
    assert isinstance(workers.next_event(), Lost)
    workers.close()
    workers.close()


def test_handing_to_a_dead_process_is_no_error(tmp_path: Path) -> None:
    recording = Recording("a.wav", "a", "a", tmp_path / "a.wav")
    with closing(LocalProcesses(StandIn().opened, 1)) as workers:
        assert workers.next_event() == Started(0)
        child = workers._children[0].process
        child.kill()
        child.join()
        workers.submit(0, 1, recording)
        workers.submit(0, 2, recording)
        assert workers.next_event() == Lost(0, "killed by SIGKILL")
