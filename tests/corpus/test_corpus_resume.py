"""What a second run does again, and what it does not."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corpus_files import CONFIGURATION, corpus, counts, results, run
from corpus_works import StandIn
from voxport.runtime.corpus.records import FOLDER, Record, Records, Standing, configuration_sha256

_NOTHING_LOADS = StandIn("models")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return corpus(tmp_path / "in", {"a": "one", "b": "two", "c": "three"})


@pytest.fixture
def out(here: Path, tmp_path: Path) -> Path:
    assert counts(run(here, tmp_path / "out")) == (3, 0, 0, 0)
    return tmp_path / "out"


def test_finished_recordings_are_skipped_and_nothing_is_loaded(here: Path, out: Path) -> None:
    before = results(out)
    report = run(here, out, work=_NOTHING_LOADS)
    assert counts(report) == (0, 3, 0, 0)
    assert (report.audio_s, report.skipped_audio_s) == (0.0, 30.0)
    assert results(out) == before


def test_changed_content_is_done_again(here: Path, out: Path) -> None:
    (here / "b.wav").write_text("TWO")  # as long as before
    assert counts(run(here, out)) == (1, 2, 0, 0)
    assert results(out) == results_of_a_first_run(here)


def test_content_of_another_length_is_done_again(here: Path, out: Path) -> None:
    status = (here / "b.wav").stat()
    (here / "b.wav").write_text("longer")
    os.utime(here / "b.wav", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert counts(run(here, out)) == (1, 2, 0, 0)


def test_another_time_of_the_same_content_is_noted(here: Path, out: Path) -> None:
    before = results(out)
    os.utime(here / "b.wav", (1, 1))
    assert counts(run(here, out)) == (0, 3, 0, 0)
    # By now the new time is known: nothing has to be hashed, nor loaded.
    assert counts(run(here, out, work=_NOTHING_LOADS)) == (0, 3, 0, 0)
    assert results(out) == before


def test_another_configuration_does_all_again(here: Path, out: Path) -> None:
    other = {**CONFIGURATION, "threshold": 0.5}
    assert counts(run(here, out, configuration=other)) == (3, 0, 0, 0)
    assert counts(run(here, out, configuration=other)) == (0, 3, 0, 0)
    assert counts(run(here, out)) == (3, 0, 0, 0)


def test_the_order_of_a_configuration_is_none_of_its_own() -> None:
    assert configuration_sha256({"a": 1, "b": 2}) == configuration_sha256({"b": 2, "a": 1})
    assert configuration_sha256({"a": 1}) != configuration_sha256({"a": 2})


def test_redo_does_all_again(here: Path, out: Path) -> None:
    assert counts(run(here, out, redo=True)) == (3, 0, 0, 0)


def _delete(path: Path) -> None:
    path.unlink()


def _damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _change(**values: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("b.rttm", _delete),
        ("b.rttm", _damage),
        (f"{FOLDER}/b.json", _delete),
        (f"{FOLDER}/b.json", _half),
        (f"{FOLDER}/b.json", _change(schema_version=99)),
        (f"{FOLDER}/b.json", _change(turns=[[1, 2]])),
        (f"{FOLDER}/b.json", _change(duration_s=None)),
        (f"{FOLDER}/b.json", _change(duration_s=10**400)),
        (f"{FOLDER}/b.json", _change(duration_s=float("nan"))),
        (f"{FOLDER}/b.json", _change(duration_s=float("inf"))),
        (f"{FOLDER}/b.json", _change(seconds={"reading": float("nan")})),
        (f"{FOLDER}/b.json", _change(turns=[[0.0, float("inf"), "A"]])),
        (f"{FOLDER}/b.json", _change(files=None)),
        (f"{FOLDER}/b.json", _change(files={})),
        (f"{FOLDER}/b.json", _change(files={"b\0.rttm": "0" * 64})),
        (f"{FOLDER}/b.json", _change(unknown=1)),
        (f"{FOLDER}/b.json", lambda path: path.write_text("[]")),
        (f"{FOLDER}/b.json", lambda path: path.write_bytes(b"\xff\xfe")),
    ],
)
def test_what_is_not_as_it_was_is_done_again(
    here: Path, out: Path, name: str, what: Callable[[Path], None]
) -> None:
    before = results(out)
    what(out / name)
    assert counts(run(here, out)) == (1, 2, 0, 0)
    assert results(out) == before


def test_what_is_done_is_looked_at_ahead_several_at_a_time(
    here: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(3)
    real = Records.standing

    def standing(*given: Any) -> Standing:
        together.wait(timeout=60)
        return real(*given)

    monkeypatch.setattr(Records, "standing", standing)
    assert counts(run(here, out, work=_NOTHING_LOADS)) == (0, 3, 0, 0)


def test_no_more_is_looked_at_than_a_few_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = corpus(tmp_path / "in", {f"{n:02}": "interrupt" if n == 0 else "x" for n in range(40)})
    seen: list[str] = []
    real = Records.standing

    def standing(self: Records, record: Any, recording: Any, *rest: Any) -> Standing:
        seen.append(recording.file_id)
        return real(self, record, recording, *rest)

    monkeypatch.setattr(Records, "standing", standing)
    with pytest.raises(KeyboardInterrupt):
        run(here, tmp_path / "out")
    assert 1 <= len(seen) <= 9


def test_failed_recordings_are_tried_again(here: Path, tmp_path: Path) -> None:
    good = (here / "b.wav").read_text()
    (here / "b.wav").write_text("bad")
    out = tmp_path / "out"
    assert counts(run(here, out)) == (2, 0, 1, 0)
    assert counts(run(here, out)) == (0, 2, 1, 0)
    (here / "b.wav").write_text(good)
    assert counts(run(here, out)) == (1, 2, 0, 0)
    assert results(out) == results_of_a_first_run(here)


def test_another_number_of_speakers_of_a_recording_is_another_task(
    here: Path, tmp_path: Path
) -> None:
    manifest, out = here / "m.csv", tmp_path / "out"
    manifest.write_text("path,num_speakers\na.wav,2\nb.wav,\n")
    assert counts(run(manifest, out)) == (2, 0, 0, 0)
    manifest.write_text("path,num_speakers\na.wav,3\nb.wav,\n")
    assert counts(run(manifest, out)) == (1, 1, 0, 0)


def test_an_interrupted_run_goes_on(here: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = (here / "b.wav").read_text()
    (here / "b.wav").write_text("interrupt")
    with pytest.raises(KeyboardInterrupt):
        run(here, out)
    assert json.loads((out / "report.json").read_text())["status"] == "interrupted"
    assert sorted(results(out)) == ["a.rttm"]
    (here / "b.wav").write_text(good)
    assert counts(run(here, out)) == (2, 1, 0, 0)
    assert results(out) == results_of_a_first_run(here)


def test_the_table_leaves_out_what_is_not_of_this_corpus(here: Path, out: Path) -> None:
    (here / "b.wav").unlink()
    assert counts(run(here, out)) == (0, 2, 0, 0)
    assert {**results(out), "b.rttm": b""} == {**results_of_a_first_run(here), "b.rttm": b""}


def test_a_record_reads_as_it_was_written() -> None:
    record = Record(
        "a", "in/a.wav", "0" * 64, 3, "1", "1" * 64, None, {"a.rttm": "2" * 64}, 1.5,
        {"reading": 0.1}, [(0.25, 1.0, "S"), (0.1 + 0.2, 1.0, "T")],
    )  # fmt: skip
    assert Record.from_json(record.to_json()) == record
    assert Record.from_json(replace(record, size_bytes=None).to_json()).size_bytes is None


def results_of_a_first_run(here: Path) -> dict[str, bytes]:
    fresh = here.parent / "fresh"
    run(here, fresh)
    found = results(fresh)
    shutil.rmtree(fresh)
    return found
