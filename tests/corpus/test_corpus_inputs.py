"""Where the recordings of a corpus are, and what is said where they are not."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import corpus, counts, run
from corpus_works import turns_of
from voxport.runtime import CorpusError, MissingDependencyError, OptionsError
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.corpus import arrow, urls
from voxport.runtime.corpus.facts import stamp
from voxport.runtime.corpus.inputs import find_corpus, is_corpus
from voxport.runtime.recordings.files import Recording


@pytest.fixture
def here(tmp_path: Path) -> Path:
    corpus(tmp_path / "in" / "sub", {"c": "three"})
    (tmp_path / "in" / "notes.txt").write_text("no audio")
    return corpus(tmp_path / "in", {"a": "one", "b": "two"})


@pytest.fixture
def remote() -> Iterator[str]:
    """A folder in the memory of fsspec with a.wav, sub/b.flac and what is no audio."""
    folder = f"memory://{uuid4().hex}"
    system = fsspec.filesystem("memory")
    for name in ("a.wav", "sub/b.flac", "sub/.hidden.wav", "notes.txt", "truth.rttm"):
        system.pipe(f"{folder}/{name}", b"content of " + name.encode())
    yield folder
    system.rm(folder, recursive=True)


def ids(*names: str | Path) -> list[str]:
    found = find_corpus(map(str, names))
    assert found.problems == []
    return [each.file_id for each in found.recordings]


# Files, folders, globs


def test_folders_files_and_globs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(here) == ["a", "b", "c"]
    assert ids(here / "*.wav") == ["a", "b"]
    assert ids(here / "**") == ["a", "b", "c"]
    assert ids(here / "**" / "*.wav", here, here / "a.wav") == ["a", "b", "c"]
    assert ids(here / "*.txt") == ["notes"]
    monkeypatch.chdir(here)
    assert ids("[bc].wav", "**/c.*") == ["b", "c"]


def test_a_file_whose_name_looks_like_a_glob(here: Path) -> None:
    (here / "x[1].wav").write_text("four")
    assert not is_corpus([str(here / "x[1].wav")])
    assert ids(here / "x[1].wav") == ["x[1]"]


def test_what_matches_nothing_is_a_problem(here: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = find_corpus([str(here / "*.flac"), str(tmp_path / "empty")])
    assert found.recordings == []
    assert found.problems == [
        f"{here / '*.flac'}: no audio file there",
        f"{tmp_path / 'empty'}: no audio file in this folder",
    ]


def test_what_makes_a_corpus(here: Path) -> None:
    assert not is_corpus([str(here), "a.wav", "-"])
    for name in ("*.wav", "list.csv", "list.JSONL", "list.parquet", "s3://bucket/a.wav"):
        assert is_corpus(["a.wav", name])


def test_standard_input_is_none(here: Path) -> None:
    with pytest.raises(OptionsError, match="cannot be read from standard input"):
        find_corpus(["-", str(here)])


# Manifests

_ROWS: list[dict[str, Any]] = [
    {"path": "in/a.wav", "id": "first", "reference": "truth/a.rttm", "num_speakers": 2},
    {"path": "in/sub/c.wav", "id": None, "reference": None, "num_speakers": None},
]


def written(folder: Path, ending: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"list.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ending == "jsonl":
        path.write_text("\n\n".join(map(json.dumps, rows)))
    else:
        lines = [",".join(rows[0])]
        lines += [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
        path.write_text("\ufeff" + "\r\n".join(lines))
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_manifests(here: Path, ending: str) -> None:
    folder = here.parent
    found = find_corpus([str(written(folder, ending, _ROWS))]).recordings
    one, other = here / "a.wav", here / "sub" / "c.wav"
    truth = str(folder / "truth" / "a.rttm")
    assert found == [
        Recording(str(one), "first", "first", one, reference=truth, num_speakers=2),
        Recording(str(other), "c", "c", other),
    ]


@pytest.mark.parametrize("column", ["path", "audio", "url"])
def test_columns_that_name_the_audio(tmp_path: Path, column: str) -> None:
    rows = [{column: "/far/x y.wav"}, {column: "memory://far/z.wav"}]
    one, other = find_corpus([str(written(tmp_path, "jsonl", rows))]).recordings
    assert (one.path, one.stem, one.file_id) == (Path("/far/x y.wav"), "x y", "x_y")
    assert (other.url, other.path, other.file_id) == ("memory://far/z.wav", None, "z")


def test_missing_numbers_of_parquet_may_be_nan(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(
        pa.table({"path": ["a.wav", "b.wav"], "num_speakers": [2.0, float("nan")]}), path
    )
    assert [each.num_speakers for each in find_corpus([str(path)]).recordings] == [2, None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "file,id\na.wav,x\n", "m.csv: no column path, audio or url; there are: file, id"),
        ("m.csv", "", "m.csv: no column path, audio or url; there are: none at all"),
        ("m.csv", "path,id\na.wav,x\n,y\n", "m.csv:3: no path, audio or url"),
        ("m.csv", "path,id\na.wav,x/y\n", "m.csv:2: id 'x/y' cannot name a file"),
        ("m.csv", "path,id\na.wav,x y\n", "m.csv:2: id 'x y' cannot name a file"),
        ("m.csv", "path,id\na.wav,.x\n", "m.csv:2: id '.x' cannot name a file"),
        ("m.csv", "path,num_speakers\na.wav,two\n", "m.csv:2: num_speakers must be a whole"),
        ("m.csv", "path,num_speakers\na.wav,1.5\n", "m.csv:2: num_speakers must be a whole"),
        ("m.csv", "path,num_speakers\na.wav,0\n", "m.csv:2: num_speakers must be a whole"),
        ("m.jsonl", f'{{"path": "a.wav", "num_speakers": {"9" * 400}}}', "m.jsonl:1: num_speakers"),
        ("m.csv", b"path\n\xff.wav\n", "m.csv: cannot be read: "),
        ("m.jsonl", '{"path": "a.wav"}\n{path\n', "m.jsonl:2: not JSON: "),
        ("m.jsonl", "[1]\n", "m.jsonl:1: expected an object, got '[1]'"),
        ("m.jsonl", '{"path": 3}\n', "m.jsonl:1: path must be text, got 3"),
        ("m.jsonl", '{"id": "a"}\n', "m.jsonl:1: no path, audio or url"),
        ("m.jsonl", "[" * 100_000, "m.jsonl:1: not JSON: "),
        ("m.parquet", "no table", "m.parquet: cannot be read as Parquet: "),
    ],
)
def test_bad_manifests(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError) as raised:
        find_corpus([str(path)])
    assert str(raised.value).startswith(f"{tmp_path}/{message}")


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"m\.csv: cannot be read: No such file"):
        find_corpus([str(tmp_path / "m.csv")])


def test_one_id_of_two_recordings_is_refused(here: Path) -> None:
    rows = [{"path": "in/a.wav", "id": "x"}, {"path": "in/b.wav", "id": "X"}]
    manifest = written(here.parent, "csv", rows)
    with pytest.raises(OptionsError, match="would both be called X"):
        run(manifest, here.parent / "out")
    again = written(here.parent, "csv", [*rows[:1], *rows[:1]])
    assert counts(run(again, here.parent / "out")) == (1, 0, 0, 0)


# URLs


def test_urls_of_folders_globs_files_and_manifests(remote: str, here: Path) -> None:
    assert ids(remote) == ["a", "b"]
    assert ids(f"{remote}/**") == ["a", "b"]
    assert ids(f"{remote}/sub/*.flac", f"{remote}/s*/b.flac", f"{remote}/a.wav") == ["b", "a"]
    with fsspec.open(f"{remote}/list.csv", "w") as file:
        file.write("path,reference\na.wav,truth.rttm\n")
    (found,) = find_corpus([f"{remote}/list.csv"]).recordings
    assert (found.url, found.reference) == (f"{remote}/a.wav", f"{remote}/truth.rttm")
    assert ids(f"file://{here}") == ["a", "b", "c"]
    assert find_corpus([f"file://{here}/a.wav"]).recordings[0].path == here / "a.wav"


def test_a_folder_of_this_machine_by_url_may_have_any_name(here: Path) -> None:
    (here / "sub").rename(here / "sub.wav")
    (here / "sub.wav" / "d.wav").write_text("four")
    assert ids(f"file://{here}/sub.wav", f"file://{here}/*.wav") == ["c", "d", "a", "b"]


def test_urls_without_audio(remote: str) -> None:
    assert find_corpus([f"{remote}/*.ogg"]).problems == [f"{remote}/*.ogg: no audio file there"]


def test_a_url_is_read_and_skipped_by_its_content(remote: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert counts(run(remote, out)) == (2, 0, 0, 0)
    assert read_rttm(out / "a.rttm") == {"a": turns_of(b"content of a.wav")}
    assert counts(run(remote, out)) == (0, 2, 0, 0)
    fsspec.filesystem("memory").pipe(f"{remote}/a.wav", b"content of A.wav")
    assert counts(run(remote, out)) == (1, 1, 0, 0)
    assert read_rttm(out / "a.rttm") == {"a": turns_of(b"content of A.wav")}


def test_a_url_that_leads_nowhere_fails_alone(remote: str, tmp_path: Path) -> None:
    report = run([f"{remote}/none.wav", f"{remote}/a.wav"], tmp_path)
    assert counts(report) == (1, 0, 1, 0)
    (failed,) = report.failures
    assert (failed.source, failed.file_id) == (f"{remote}/none.wav", "none")
    assert failed.reason.startswith("cannot be read: ")


@pytest.mark.parametrize("redo", [False, True])
def test_what_is_replaced_while_it_is_fetched_is_done_again(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redo: bool
) -> None:
    url, out, real = f"{remote}/a.wav", tmp_path / "out", urls.open_url

    @contextmanager
    def replaced(url: str) -> Iterator[BinaryIO]:
        with real(url) as file:
            yield file
        fsspec.filesystem("memory").pipe(url, b"content of A.wav")

    if redo:
        run(url, out)
    with monkeypatch.context() as patch:
        patch.setattr(urls, "open_url", replaced)
        assert counts(run(url, out, redo=redo)) == (1, 0, 0, 0)
    assert counts(run(url, out)) == (1, 0, 0, 0)
    assert read_rttm(out / "a.rttm") == {"a": turns_of(b"content of A.wav")}
    assert counts(run(url, out)) == (0, 1, 0, 0)


@pytest.mark.parametrize("url", ["nowhere://a.wav", "nowhere://folder"])
def test_a_kind_of_url_that_nobody_knows(tmp_path: Path, url: str) -> None:
    if url.endswith(".wav"):
        assert counts(run(url, tmp_path)) == (0, 0, 1, 0)
    else:
        with pytest.raises(CorpusError, match=r"nowhere://folder: cannot be read: "):
            run(url, tmp_path)


@pytest.fixture
def served(here: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a server of the folder, and the lines of the requests that it was sent."""
    pytest.importorskip("aiohttp", reason="fsspec reads http with aiohttp")
    asked: list[str] = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.requestline)

    handler = functools.partial(Quiet, directory=str(here))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def test_a_server_of_files(served: tuple[str, list[str]], tmp_path: Path) -> None:
    base = served[0]
    report = run([f"{base}/a.wav", f"{base}/none.wav"], tmp_path / "out")
    assert counts(report) == (1, 0, 1, 0)
    assert read_rttm(tmp_path / "out" / "a.rttm") == {"a": turns_of(b"one")}


@pytest.mark.parametrize(("name", "stem"), [("a.wav?sig=1.2", "a"), ("x[1].wav", "x[1]")])
def test_nothing_is_asked_of_a_server_to_know_a_file(
    served: tuple[str, list[str]], here: Path, tmp_path: Path, name: str, stem: str
) -> None:
    base, asked = served
    (here / "x[1].wav").write_text("one")
    (found,) = find_corpus([f"{base}/{name}"]).recordings
    assert (found.url, found.stem, asked) == (f"{base}/{name}", stem, [])
    assert counts(run(f"{base}/{name}", tmp_path / "out")) == (1, 0, 0, 0)
    assert read_rttm(tmp_path / "out" / f"{stem}.rttm") == {stem: turns_of(b"one")}


# What is not installed


@pytest.mark.parametrize(
    ("module", "package", "made"),
    [(arrow, "pyarrow", arrow.import_pyarrow), (urls, "fsspec", urls.import_fsspec)],
)
def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, module: Any, package: str, made: Any
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(module.importlib, "import_module", missing)
    with pytest.raises(
        MissingDependencyError, match=rf"{package}.*pip install 'voxport\[corpus\]'"
    ):
        made()


@pytest.mark.parametrize(
    "row",
    [
        "lacking://far/a.wav,",
        "simplecache::lacking://far/a.wav,",
        "in/a.wav,lacking://far/a.rttm",
    ],
)
def test_a_file_system_that_is_not_installed_ends_the_run(
    here: Path, tmp_path: Path, row: str
) -> None:
    fsspec.register_implementation("lacking", "not_installed.System", errtxt="Install lacking")
    manifest = here.parent / "m.csv"
    manifest.write_text(f"path,reference\nin/b.wav,\n{row}\n")
    with pytest.raises(MissingDependencyError, match=r"lacking://far/a\.\w+: Install lacking"):
        run(manifest, tmp_path / "out")


def test_a_file_that_is_not_there_has_no_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert counts(run(path, tmp_path / "out")) == (0, 0, 1, 0)
    path.write_text("one")
    assert stamp(Recording("a.wav", "a", "a", path)) == (3, str(path.stat().st_mtime_ns))
