"""The ``voxport`` script: exit statuses, one message per expected error, nothing heavy loaded."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny_artifacts
from voxport.runtime import ArtifactError, VoxportError, cli
from voxport.runtime.commands import Command

# What no runtime command may load: the packages of the export side.
_HEAVY = ("torch", "onnx", "onnxscript", "onnxsim", "coremltools")


def script() -> str:
    """The installed console script of this interpreter."""
    found = shutil.which("voxport", path=sysconfig.get_path("scripts"))
    assert found, "voxport is not installed: pip install -e ."
    return found


def voxport(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script(), *map(str, arguments)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def command(run: object) -> Command:
    """A command whose ``run`` raises an exception or returns a status."""

    def act(_: argparse.Namespace) -> int:
        if isinstance(run, BaseException):
            raise run
        assert isinstance(run, int)
        return run

    return Command("does it", lambda _: None, act)


def run_main(monkeypatch: pytest.MonkeyPatch, run: object) -> int:
    monkeypatch.setattr(cli, "find_commands", lambda: {"act": command(run)})
    return cli.main(["act"])


@pytest.fixture
def demo_files(tmp_path: Path) -> tuple[Path, Path]:
    """A models folder that `voxport demo` works with, and an audio file."""
    models = tiny_artifacts.publish(tmp_path / "models", tiny_artifacts.demo_artifacts())
    audio = tmp_path / "loud.wav"
    loud = np.full(2 * tiny_artifacts.WINDOW, 0.5, np.float32)
    soundfile.write(audio, loud, tiny_artifacts.RATE_HZ)
    return models, audio


# The installed script


def test_help_lists_the_commands() -> None:
    result = voxport("--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for name, found in cli.find_commands().items():
        assert name in result.stdout
        assert found.summary.split()[0] in result.stdout


def test_version() -> None:
    result = voxport("--version")
    assert (result.returncode, result.stdout) == (0, f"voxport {version('voxport')}\n")


def test_no_command_shows_usage() -> None:
    result = voxport()
    assert result.returncode == 2
    assert result.stderr.startswith("usage: voxport")


def test_an_expected_error_is_one_message_and_status_1(tmp_path: Path) -> None:
    result = voxport("demo", "--models", tmp_path / "none", tmp_path / "none.wav")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("voxport demo: no manifest.json in any of: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_bad_audio_is_one_message_and_status_1(demo_files: tuple[Path, Path]) -> None:
    models, audio = demo_files
    audio.write_text("hello", encoding="utf-8")
    result = voxport("demo", "--models", models, audio)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"voxport demo: {audio}: cannot be read as audio")
    assert result.stderr.count("\n") == 1


def test_demo_runs(demo_files: tuple[Path, Path]) -> None:
    models, audio = demo_files
    result = voxport("demo", "--models", models, audio)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("loud.wav: local speakers")


def test_a_name_that_the_terminal_cannot_show_stops_nothing(demo_files: tuple[Path, Path]) -> None:
    models, audio = demo_files
    renamed = audio.rename(audio.with_name("ü.wav"))
    result = voxport("demo", "--models", models, renamed, PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("\\xfc.wav: local speakers")


# main()


@pytest.mark.parametrize("status", [0, 1, 3])
def test_the_status_of_the_command_is_returned(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    assert run_main(monkeypatch, status) == status


@pytest.mark.parametrize("error", [VoxportError("why"), ArtifactError("why")])
def test_expected_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: VoxportError
) -> None:
    assert run_main(monkeypatch, error) == 1
    assert capsys.readouterr() == ("", "voxport act: why\n")


def test_interruption(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "voxport act: interrupted\n")


def test_unexpected_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        run_main(monkeypatch, ZeroDivisionError())


def test_commands_are_found_and_sorted() -> None:
    found = cli.find_commands()
    assert {"demo", "export", "verify"} <= set(found)
    assert list(found) == sorted(found)
    assert all(isinstance(value, Command) for value in found.values())


# What is loaded


def loaded(code: str, *arguments: str | Path) -> tuple[list[str], str]:
    """Heavy modules that a fresh interpreter has loaded after ``code``, and what it printed."""
    ending = f"\nimport sys\nprint(*(m for m in {_HEAVY!r} if m in sys.modules), file=sys.stderr)"
    result = subprocess.run(
        [sys.executable, "-c", code + ending, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return result.stderr.split(), result.stdout


def test_the_check_of_loaded_modules_sees_them() -> None:
    # Without torch itself, which would take seconds.
    code = "import sys, types\nsys.modules['torch'] = types.ModuleType('torch')"
    assert loaded(code) == (["torch"], "")


@pytest.mark.parametrize(
    "code",
    [
        "import voxport.runtime",
        "import voxport.runtime.cli",
        "import voxport.runtime.demo",
        "from voxport.runtime.cli import find_commands, parser\nparser(find_commands())",
    ],
)
def test_imports_load_nothing_heavy(code: str) -> None:
    assert loaded(code) == ([], "")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "from voxport.runtime.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0"
    )
    heavy, printed = loaded(code)
    assert heavy == []
    assert printed.startswith("usage: voxport")


def test_demo_loads_nothing_heavy(demo_files: tuple[Path, Path]) -> None:
    models, audio = demo_files
    code = (
        "import sys\nfrom voxport.runtime.cli import main\n"
        "assert main(['demo', '--models', *sys.argv[1:]]) == 0"
    )
    heavy, printed = loaded(code, models, audio)
    assert heavy == []
    assert "cosine distances" in printed
