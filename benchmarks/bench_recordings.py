"""Recordings with a reference, and longer ones made of them."""

from __future__ import annotations

import os
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from voxport.runtime.annotation.rttm import read_rttm
from voxport.runtime.annotation.turns import Turns
from voxport.runtime.stages import Turn

RATE_HZ = 16_000
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_HUMAN = "human"
_SAMPLE = "sample"


@dataclass(frozen=True)
class Recording:
    """A mono 16-bit file at 16 kHz, and who speaks in it.

    ``is_human``: people labelled it; otherwise a diarizer did, which then has no error by itself.
    """

    name: str
    path: Path
    duration_s: float
    reference: Turns
    is_human: bool = True


def recordings(shared: Path | None = None) -> list[Recording]:
    """All recordings at hand: those of the shared data, else the sample of pyannote.audio's wheel.

    Args:
        shared: folder with ``index.tsv``, ``wav/`` and ``rttm/``; by default what
            ``VOXPORT_SHARED_DATA`` names, or the one beside the checkout.
    """
    folder = shared or Path(os.environ.get("VOXPORT_SHARED_DATA", SHARED_DATA))
    index = folder / "index.tsv"
    if not index.is_file():
        return [_sample()]
    header, *lines = (line.split("\t") for line in index.read_text("utf-8").splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return [
        recording(
            folder / "wav" / f"{row['uri']}.wav",
            folder / "rttm" / f"{row['uri']}.rttm",
            is_human=row["labels"].startswith(_HUMAN),
        )
        for row in rows
    ]


def recording(wav: Path, rttm: Path, *, is_human: bool = True) -> Recording:
    """A file and its reference, whatever id that has."""
    (reference,) = read_rttm(rttm).values()
    return Recording(wav.stem, wav, soundfile.info(str(wav)).duration, reference, is_human)


def joined(parts: Sequence[Recording], minutes: float, path: Path) -> Recording:
    """The recordings one after the other, there and back again, until it is as long.

    People keep their labels, which are theirs in all recordings of a corpus. The last recording
    is not cut.
    """
    wanted_s, turns, samples, order = minutes * 60, list[Turn](), 0, list(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        while samples < wanted_s * RATE_HZ:
            for part in order:
                if samples >= wanted_s * RATE_HZ:
                    break
                turns += shifted(part.reference, samples / RATE_HZ)
                content = _content(part)
                file.writeframes(content.tobytes())
                samples += len(content)
            order.reverse()
    return Recording(path.stem, path, samples / RATE_HZ, Turns(turns))


def shifted(turns: Turns, by_s: float) -> list[Turn]:
    """The turns, that much later."""
    return [replace(turn, start_s=turn.start_s + by_s, end_s=turn.end_s + by_s) for turn in turns]


def _content(part: Recording) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    samples, rate_hz = soundfile.read(str(part.path), dtype="int16")
    if rate_hz != RATE_HZ or samples.ndim != 1 or not len(samples):
        raise SystemExit(f"{part.path}: expected a mono file at {RATE_HZ} Hz")
    content: np.ndarray[tuple[int], np.dtype[np.int16]] = samples
    return content


def _sample() -> Recording:
    from voxport.export.checkpoints import fetch  # noqa: PLC0415 -- loads torch

    return recording(fetch(f"{_SAMPLE}.wav"), fetch(f"{_SAMPLE}.rttm"))
