"""``voxport demo``: who is active when, window by window, and how far apart the voices are."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .audio import read_audio
from .commands import Command
from .loading import load
from .locate import find_models, first_embedding
from .session import Session

FloatArray = npt.NDArray[np.float32]

_COLUMNS = 59
# Windows per call: bounds the memory that a recording of any length needs.
_BATCH = 8
_MARKS = {0: ".", 1: "#", 2: "X"}
# Speech that a local speaker needs in a window for its embedding to say something (in seconds).
_MIN_SPEECH_S = 1.0


@dataclass(frozen=True)
class LocalSpeaker:
    """A speaker of one window: how long it speaks there, and its embedding."""

    label: str
    speech_s: float
    embedding: FloatArray


def windows(samples: FloatArray, window_samples: int) -> FloatArray:
    """(N,) -> (W, 1, window_samples), one after the other, the last one zero-padded."""
    count = max(1, -(-len(samples) // window_samples))
    padded = np.zeros(count * window_samples, np.float32)
    padded[: len(samples)] = samples
    return padded.reshape(count, 1, window_samples)


def timeline(mask: FloatArray, overlap: npt.NDArray[np.bool_]) -> str:
    """(F,) -> one character per column of frames, at most 59 of them.

    ``.`` is silent, ``#`` speaking, ``X`` speaking while others do: what half of the frames or
    more are.
    """
    columns = min(_COLUMNS, len(mask))
    cells = []
    for part, shared in zip(
        np.array_split(mask > 0, columns), np.array_split(overlap, columns), strict=True
    ):
        active = part.mean() >= 0.5
        cells.append(_MARKS[int(active) + int(active and (part & shared).mean() >= 0.5)])
    return "".join(cells)


def embedding_session(models: str | os.PathLike[str] | None) -> Session:
    """The first embedding artifact of a models folder.

    Raises:
        ArtifactNotFoundError: the folder has none.
    """
    folder = find_models(models)
    return load(first_embedding(folder), models=folder)


def describe_windows(
    samples: FloatArray, segmentation: Session, embedding: Session
) -> tuple[list[str], list[LocalSpeaker]]:
    """Timelines to print, and the local speakers with enough speech."""
    description = segmentation.description
    rate_hz = description.figure("sample_rate_hz", int)
    window_samples = description.figure("window_samples", int)
    step_s = description.figure("hop_samples", int) / rate_hz
    all_windows = windows(samples, window_samples)
    lines, speakers = [], []
    for first in range(0, len(all_windows), _BATCH):
        batch = all_windows[first : first + _BATCH]
        masks = segmentation.run(waveform=batch)["masks"]
        clean = (masks * (masks.sum(axis=2, keepdims=True) < 2)).transpose(0, 2, 1)
        embeddings = embedding.run(waveform=batch, masks=clean)["embeddings"]
        for index, mask in enumerate(masks):
            number = first + index
            lines.append(f"{number * window_samples / rate_hz:6.1f} s")
            lines += _timelines(number, mask, step_s)
            for speaker in np.flatnonzero(clean[index].sum(axis=1) * step_s >= _MIN_SPEECH_S):
                speech_s = float(mask[:, speaker].sum() * step_s)
                vector = embeddings[index, speaker]
                speakers.append(LocalSpeaker(_label(number, int(speaker)), speech_s, vector))
    return lines, speakers


def _timelines(window: int, mask: FloatArray, step_s: float) -> list[str]:
    """(F, S) -> a line for each speaker of a window who speaks in it."""
    overlap = mask.sum(axis=1) > 1
    return [
        f"  {_label(window, int(speaker)):>4} |{timeline(mask[:, speaker], overlap)}| "
        f"{mask[:, speaker].sum() * step_s:4.1f} s"
        for speaker in np.flatnonzero(mask.any(axis=0))
    ]


def _label(window: int, speaker: int) -> str:
    return f"{window}{chr(ord('a') + speaker)}"


def distance_table(speakers: list[LocalSpeaker], cosine: Session) -> list[str]:
    """Cosine distances between all local speakers, as lines of text."""
    if not speakers:
        return ["no speaker with enough speech"]
    vectors = np.stack([speaker.embedding for speaker in speakers])
    distances = cosine.run(embeddings=vectors, database=vectors)["distances"]
    lines = ["       " + " ".join(f"{speaker.label:>4}" for speaker in speakers)]
    for speaker, row in zip(speakers, distances, strict=True):
        lines.append(f"  {speaker.label:>4} " + " ".join(f"{abs(value):4.2f}" for value in row))
    return lines


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio", type=Path, help="an audio file (WAV, FLAC, OGG, MP3)")
    parser.add_argument("--models", type=Path, help="folder with the artifacts")


def _run(options: argparse.Namespace) -> int:
    segmentation = load("segmentation_masks", models=options.models)
    embedding = embedding_session(options.models)
    cosine = load("cosine_distance", models=options.models)
    samples = read_audio(options.audio, segmentation.description.figure("sample_rate_hz", int))
    lines, speakers = describe_windows(samples, segmentation, embedding)
    threshold = embedding.description.figure("same_speaker_distance", float)
    text = [
        f"{options.audio.name}: local speakers by window (. silent, # speaking, X overlapping)",
        *lines,
        "",
        "cosine distances between local speakers with 1 s of clean speech or more;",
        f"below {threshold:.2f} they count as one voice:",
        *distance_table(speakers, cosine),
    ]
    sys.stdout.write("\n".join(text) + "\n")
    return 0


DEMO = Command("show who is active when in an audio file", _configure, _run)
