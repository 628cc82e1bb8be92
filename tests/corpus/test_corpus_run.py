"""A corpus from end to end: the table, the report, scores, and disks that are full."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from corpus_files import CONFIGURATION, Heard, corpus, counts, results, run
from corpus_works import turns_of
from voxport.runtime import CorpusError
from voxport.runtime.annotation.comparison import compare
from voxport.runtime.annotation.rttm import write_rttm
from voxport.runtime.annotation.turns import Turn, Turns
from voxport.runtime.corpus import run as corpus_run
from voxport.runtime.corpus import table
from voxport.runtime.corpus.records import FOLDER, configuration_sha256
from voxport.runtime.corpus.report import Failure
from voxport.runtime.recordings import writing

_CONTENTS = {"b": "two", "a": "one", "x": "bad"}


def document(output: Path) -> Any:
    return json.loads((output / "report.json").read_text())


# The table


def test_the_table_holds_all_turns_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_GROUP_TURNS", 4)
    contents = {name: name * 3 for name in "dacb"}
    run(corpus(tmp_path / "in", contents), tmp_path / "out")
    file = pq.ParquetFile(tmp_path / "out" / "turns.parquet")
    found = [tuple(row.values()) for row in file.read().to_pylist()]
    expected = [
        (name, turn.start_s, turn.end_s, turn.speaker)
        for name in "abcd"
        for turn in turns_of(contents[name].encode())
    ]
    assert found == expected
    assert file.schema_arrow.names == ["file_id", "start_s", "end_s", "speaker"]
    # Files are never torn apart: two of three turns reach the four.
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [6, 6, 0]
    made_by = json.loads(file.schema_arrow.metadata[b"voxport"])
    assert made_by == {
        "configuration": CONFIGURATION,
        "configuration_sha256": configuration_sha256(CONFIGURATION),
    }


def test_a_corpus_without_turns_has_an_empty_table(tmp_path: Path) -> None:
    report = run(corpus(tmp_path / "in", {"a": "bad"}), tmp_path / "out")
    assert counts(report) == (0, 0, 1, 0)
    assert pq.read_table(tmp_path / "out" / "turns.parquet").num_rows == 0


def test_a_table_that_breaks_off_leaves_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "turns.parquet").write_text("before")

    def broken() -> Any:
        raise CorpusError("no record")
        yield

    with pytest.raises(CorpusError):
        table.write_table(tmp_path, broken(), {}, "")
    assert [each.name for each in tmp_path.iterdir()] == ["turns.parquet"]
    assert (tmp_path / "turns.parquet").read_text() == "before"


# The report


def test_the_report_says_how_it_went(tmp_path: Path) -> None:
    here, out = corpus(tmp_path / "in", _CONTENTS), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    heard = Heard()
    report = run([str(here), str(tmp_path / "empty")], out, watcher=heard)
    assert heard.reports == [report]
    assert report.failures == [
        Failure(str(tmp_path / "empty"), "no audio file in this folder"),
        Failure(str(here / "x.wav"), "cannot be read as audio: it is bad", "x"),
    ]
    assert report.seconds.keys() == {"hashing", "reading", "thinking"}
    assert (report.seconds["reading"], report.seconds["thinking"]) == (0.5, 1.5)
    assert sum(report.shares.values()) == pytest.approx(1)
    assert report.rtfx == pytest.approx(20 / report.wall_s)
    told = document(out)
    assert told["status"] == "complete"
    assert told["files"] == {"done": 2, "skipped": 0, "failed": 1, "not_done": 0}
    assert told["audio_hours"] == pytest.approx(20 / 3600)
    assert told["stages"]["thinking"]["share"] == pytest.approx(report.shares["thinking"])
    assert told["failures"] == list(map(asdict, report.failures))
    assert told["der"] is None
    assert told["engine"] == {"name": "local", "jobs": 1, "files_at_once": 1, "workers": 1}
    assert told["configuration"] == CONFIGURATION
    assert told["configuration_sha256"] == configuration_sha256(CONFIGURATION)
    assert told["versions"].keys() == {"voxport", "python"}


def test_two_ids_of_one_file_fail_each(tmp_path: Path) -> None:
    corpus(tmp_path, {"x": "bad"})
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,id\nx.wav,one\nx.wav,two\n")
    report = run(manifest, tmp_path / "out")
    assert counts(report) == (0, 0, 2, 0)
    assert [(each.source, each.file_id) for each in report.failures] == [
        (str(tmp_path / "x.wav"), "one"),
        (str(tmp_path / "x.wav"), "two"),
    ]


def test_a_defect_is_told_in_full(tmp_path: Path) -> None:
    heard = Heard()
    report = run(
        corpus(tmp_path / "in", {"a": "defect", "b": "two"}), tmp_path / "out", watcher=heard
    )
    assert counts(report) == (1, 0, 1, 0)
    assert [each.reason for each in report.failures] == ["unexpected ZeroDivisionError: by a file"]
    assert heard.traces[0].startswith("Traceback")


def test_a_recording_may_not_be_called_as_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_run.report, "NAME", "a.rttm")
    report = run(corpus(tmp_path / "in", {"a": "one"}), tmp_path / "out")
    assert [each.reason for each in report.failures] == [
        "a.rttm is the run's own: give the recording another id"
    ]


# Scores


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A manifest of two recordings with references; a's is called otherwise in its file."""
    corpus(tmp_path / "in", {"a": "one", "b": "two", "c": "three"})
    truth = tmp_path / "truth"
    truth.mkdir()
    wrong = Turns([Turn(0.7, 2.5, "X"), Turn(2.4, 3.0, "Y"), Turn(5.0, 7.0, "Z")])
    (truth / "a.rttm").write_text(write_rttm(wrong, "a"))
    (truth / "b.rttm").write_text(write_rttm(turns_of(b"two"), "b"))
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,reference\nin/a.wav,truth/a.rttm\nin/b.wav,truth/b.rttm\nin/c.wav,\n")
    return manifest


def test_errors_are_those_of_voxport_score(scored: Path) -> None:
    out = scored.parent / "out"
    report = run(scored, out)
    expected = compare(scored.parent / "truth", out)
    assert report.scores == expected.scores
    assert report.score == expected.total
    told = document(out)
    assert told["der"]["der_percent"] == 100 * expected.total.der > 0
    assert told["der_by_file"]["b"]["der_percent"] == 0
    assert told["der_by_file"].keys() == {"a", "b"}


def test_skipped_recordings_are_scored_against_the_reference_of_now(scored: Path) -> None:
    out, truth = scored.parent / "out", scored.parent / "truth"
    first = run(scored, out)
    assert run(scored, out).scores == first.scores
    (truth / "a.rttm").write_text(write_rttm(turns_of(b"one"), "other"))
    again = run(scored, out)
    assert counts(again) == (0, 3, 0, 0)
    assert again.scores["a"].der == 0


def test_references_that_cannot_be_used_are_no_failure(scored: Path) -> None:
    truth = scored.parent / "truth"
    (truth / "a.rttm").unlink()
    two = write_rttm(turns_of(b"x"), "x") + write_rttm(turns_of(b"y"), "y")
    (truth / "b.rttm").write_text(two)
    for _ in range(2):
        report = run(scored, scored.parent / "out")
        assert report.is_complete
        assert report.scores == {}
        assert report.reference_problems == {
            "a": f"{truth / 'a.rttm'}: cannot be read: No such file or directory",
            "b": f"{truth / 'b.rttm'}: has 2 recordings, none of them b",
        }
    assert document(scored.parent / "out")["reference_problems"] == report.reference_problems


def test_a_reference_without_turns_says_that_nobody_speaks(scored: Path) -> None:
    (scored.parent / "truth" / "a.rttm").write_text("")
    report = run(scored, scored.parent / "out")
    assert report.scores["a"].speech_s == 0
    assert report.scores["a"].false_alarm_s > 0


# Nothing can be written any more


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_full_disk_stops_the_run_and_keeps_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    here, out = corpus(tmp_path / "in", {name: name for name in "abcd"}), tmp_path / "out"
    real, is_full = writing._draft, False

    def draft(folder: Path, content: str | bytes, stack: Any) -> Path:
        nonlocal is_full
        is_full = is_full or "SPEAKER b" in str(content)
        if is_full:
            raise OSError(number, os.strerror(number))
        return real(folder, content, stack)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "_draft", draft)
        heard = Heard()
        report = run(here, out, watcher=heard)
    assert (report.status, counts(report)) == ("stopped", (1, 0, 1, 2))
    reason = f"{out}: results cannot be written: {os.strerror(number)}"
    assert report.failures == [
        Failure(str(here / "b.wav"), reason, "b"),
        Failure("report.json", reason),
    ]
    assert heard.problems == [f"{here / 'b.wav'}: {reason}", f"report.json: {reason}"]
    assert sorted(results(out)) == ["a.rttm"]
    again = run(here, out)
    assert (again.status, counts(again)) == ("complete", (3, 1, 0, 0))


def test_one_result_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    here, out = corpus(tmp_path / "in", {"a": "one", "b": "two"}), tmp_path / "out"
    (out / "a.rttm").mkdir(parents=True)
    report = run(here, out)
    assert (report.status, counts(report)) == ("complete", (1, 0, 1, 0))
    assert sorted(path.name for path in (out / FOLDER).iterdir()) == ["b.json"]


_LIMITED = """
import resource, sys
from pathlib import Path
from corpus_files import counts, run
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
report = run(Path(sys.argv[1]), Path(sys.argv[2]))
print(report.status, *counts(report))
print(*(each.reason for each in report.failures), sep="\\n")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit of a process's file size")
def test_a_real_limit_of_what_can_be_written(tmp_path: Path) -> None:
    here, out = (
        corpus(tmp_path / "in", {"a": "one", "b": "large 60000", "c": "two"}),
        tmp_path / "out",
    )
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(here), str(out)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    reason = f"{out}: results cannot be written: {os.strerror(errno.EFBIG)}"
    assert done.stdout.splitlines() == ["stopped 1 0 1 1", reason]
    assert sorted(path.name for path in out.iterdir()) == [FOLDER, "a.rttm", "report.json"]
    assert counts(run(here, out)) == (2, 1, 0, 0)
