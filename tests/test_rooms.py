"""Who may import whom, held over every file; and what a clone must not know of this machine."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_ROOMS = ("graphs", "export", "runtime")
# Which rooms a room may import, itself apart.
_MAY_IMPORT = {"graphs": set(), "export": {"graphs", "runtime"}, "runtime": set()}
# Packages beyond the standard library. `export` may use what its extra installs.
_RUNTIME_PACKAGES = {"numpy", "scipy", "onnxruntime", "soundfile", "soxr"}
# Optional packages, each behind the one module that explains how to install it.
_RUNTIME_OPTIONAL = {
    "coremltools": "runtime/coreml_tools.py",
    "av": "runtime/media.py",
    "gevent": "runtime/serving/tools.py",
    "h5py": "runtime/mel/hdf5_store.py",
    "matplotlib": "runtime/profiling/plot.py",
    "pandas": "runtime/annotation/conversions.py",
    "fsspec": "runtime/corpus/urls.py",
    "pyannote": "runtime/annotation/conversions.py",
    "ray": "runtime/corpus/ray_tools.py",
    "pyarrow": "runtime/corpus/arrow.py",
    "tritonclient": "runtime/serving/tools.py",
    "zarr": "runtime/mel/zarr_store.py",
}
_GRAPHS_PACKAGES = {"torch", "numpy"}
# Graphs are pure: no files, no processes, no network, no exporters.
_GRAPHS_NEVER = {
    *("os", "io", "pathlib", "shutil", "tempfile", "glob", "subprocess", "socket", "urllib"),
    *("http", "pickle", "importlib", "ctypes"),
}
# What importing the runtime must not load.
_HEAVY = (
    *("torch", "onnx", "onnxscript", "onnxruntime", "coremltools", "scipy", "matplotlib", "pandas"),
    *("av", "voxport.export", "voxport.graphs"),
)


@dataclass(frozen=True)
class Import:
    """One imported module: where, at which relative level, and which."""

    place: str
    level: int
    module: str

    @property
    def package(self) -> str:
        return self.module.split(".")[0]


def imports(source: str, place: str = "file.py") -> Iterator[Import]:
    """All imports of a file, at any depth, lazy and type-checking ones included.

    ``import_module("x")`` and ``__import__("x")`` count; with a computed name they are reported
    as the module "?".
    """
    for node in ast.walk(ast.parse(source)):
        where = f"{place}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (Import(where, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                yield Import(where, node.level, node.module)
            else:
                yield from (Import(where, node.level, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            name = node.args[0] if node.args else None
            literal = isinstance(name, ast.Constant) and isinstance(name.value, str)
            module = str(name.value) if literal else "?"  # type: ignore[union-attr]
            yield Import(where, 0, module)


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def room_imports(room: str) -> list[tuple[Path, Import]]:
    """The imports of all files of a room, with the file relative to the repository."""
    found = []
    for path in sorted((_ROOT / room).rglob("*.py")):
        relative = path.relative_to(_ROOT)
        source = path.read_text(encoding="utf-8")
        found += [(relative, entry) for entry in imports(source, str(relative))]
    return found


def target_room(path: Path, entry: Import) -> str | None:
    """The room that a relative import leads to; None for an absolute one.

    ``graphs/a.py`` is ``voxport.graphs.a``: one dot is ``voxport.graphs``, two are ``voxport``.
    """
    if not entry.level:
        return None
    package = ("voxport", *path.parts[:-1])
    kept = len(package) - (entry.level - 1)
    return (*package[:kept], *entry.module.split("."))[1] if kept > 0 else "?"


def third_party(room: str) -> list[Import]:
    return [
        entry
        for _, entry in room_imports(room)
        if not entry.level and entry.package not in sys.stdlib_module_names
    ]


# The checks below see what they should


def test_imports_of_every_kind_are_seen() -> None:
    source = """
import a.b, c
from d import e
from . import f
from ..g import h
if TYPE_CHECKING:
    import i
def lazy():
    import j
    importlib.import_module("k.l")
    __import__(name)
"""
    found = {(entry.level, entry.module) for entry in imports(source)}
    absolute = {(0, name) for name in ("a.b", "c", "d", "i", "j", "k.l", "?")}
    assert found == absolute | {(1, "f"), (2, "g")}


@pytest.mark.parametrize(
    ("path", "line", "room"),
    [
        ("graphs/a.py", "from .b import c", "graphs"),
        ("graphs/a.py", "from . import b", "graphs"),
        ("runtime/a.py", "from ..export.b import c", "export"),
        ("runtime/a.py", "from .. import export", "export"),
        ("export/checkpoints/a.py", "from ..errors import c", "export"),
        ("export/checkpoints/a.py", "from ...graphs import c", "graphs"),
        ("export/a.py", "from ....x import c", "?"),
        ("export/a.py", "import torch", None),
    ],
)
def test_relative_imports_are_resolved(path: str, line: str, room: str | None) -> None:
    (entry,) = imports(line)
    assert target_room(Path(path), entry) == room


@pytest.mark.parametrize("room", _ROOMS)
def test_every_room_has_files(room: str) -> None:
    assert len(room_imports(room)) > 10


# Between rooms


@pytest.mark.parametrize("room", _ROOMS)
def test_rooms_import_only_the_rooms_below_them(room: str) -> None:
    allowed = {room, *_MAY_IMPORT[room], None}
    wrong = [
        entry.place for path, entry in room_imports(room) if target_room(path, entry) not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("room", _ROOMS)
def test_imports_within_voxport_are_relative(room: str) -> None:
    names = {"voxport", *_ROOMS}
    wrong = [e.place for _, e in room_imports(room) if not e.level and e.package in names]
    assert wrong == []


# Other packages


def test_runtime_uses_only_its_own_dependencies() -> None:
    # Lazy imports included: never torch, never onnx, nothing that the base install lacks.
    wrong = [
        f"{entry.place}: {entry.module}"
        for entry in third_party("runtime")
        if entry.package not in _RUNTIME_PACKAGES
        and not entry.place.startswith(f"{_RUNTIME_OPTIONAL.get(entry.package, '?')}:")
    ]
    assert wrong == []


def test_graphs_are_pure_torch() -> None:
    wrong = [
        f"{entry.place}: {entry.module}"
        for entry in third_party("graphs")
        if entry.package not in _GRAPHS_PACKAGES
    ]
    assert wrong == []


def test_graphs_touch_no_files() -> None:
    wrong = [
        entry.place
        for _, entry in room_imports("graphs")
        if not entry.level and entry.package in _GRAPHS_NEVER
    ]
    for path in sorted((_ROOT / "graphs").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        wrong += [
            f"{path.name}:{call.lineno}: {ast.unparse(call.func)}"
            for call in calls
            if ast.unparse(call.func) in ("open", "exec", "eval", "torch.load", "torch.save")
        ]
    assert wrong == []


# At run time


def test_importing_the_runtime_loads_nothing_of_the_export_side() -> None:
    code = (
        "import sys, time\n"
        "start = time.perf_counter()\n"
        "import voxport.runtime\n"
        "print(time.perf_counter() - start)\n"
        f"print(*(name for name in {_HEAVY!r} if name in sys.modules))\n"
        "print('voxport.runtime.session' in sys.modules)\n"
    )
    seconds = []
    for _ in range(3):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
        )
        elapsed, heavy, control = run.stdout.splitlines()
        assert heavy == ""
        assert control == "True"
        seconds.append(float(elapsed))
    print(f"import voxport.runtime: {statistics.median(seconds):.3f} s (median of 3)")


# The repository


def tracked_files() -> list[Path]:
    run = subprocess.run(
        ["git", "-C", str(_ROOT), "ls-files", "-z"], capture_output=True, check=False
    )
    if run.returncode:
        pytest.skip("not a git checkout")
    return [_ROOT / name for name in run.stdout.decode().split("\0") if name]


def machine_paths(content: bytes) -> list[bytes]:
    """Absolute paths of somebody's machine that a text names."""
    # Written so that this file does not hold them itself.
    roots = [b"/" + root for root in (b"work/", b"tmp/dev", b"root/", b"home/", b"Users/")]
    return [root for root in roots if root in content]


def test_machine_paths_are_recognised() -> None:
    assert machine_paths(b"see /" + b"work/main") == [b"/" + b"work/"]
    assert machine_paths(b"tmp_path / 'models', ~/.cache, ./models, /dev/null") == []


def test_no_tracked_file_names_a_path_of_this_machine() -> None:
    files = tracked_files()
    assert _ROOT / "pyproject.toml" in files
    wrong = {
        str(path.relative_to(_ROOT)): found
        for path in files
        if path.is_file() and (found := machine_paths(path.read_bytes()))
    }
    assert wrong == {}


def test_test_files_have_unique_names() -> None:
    # The test folders are no packages: pytest imports each file by its bare name.
    files = [path for path in tracked_files() if path.name.startswith("test_")]
    names = [path.name for path in files]
    assert sorted(set(names)) == sorted(names)


def test_every_package_is_installed() -> None:
    """What ``pyproject.toml`` does not list is missing from wheels, and from nowhere else."""
    listed = set(
        tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    folders = {path.parent for room in _ROOMS for path in (_ROOT / room).rglob("*.py")}
    assert {".".join(("voxport", *f.relative_to(_ROOT).parts)) for f in folders} == listed
