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
from .errors import ArtifactNotFoundError
from .locate import find_models
from .manifest import MANIFEST_NAME, Manifest
from .session import Session, load

FloatArray = npt.NDArray[np.float32]

_COLUMNS = 59
_MARKS = {0: ".", 1: "#", 2: "X"}
# Speech that a local speaker needs in a window for its embedding to say something (in seconds).
_MIN_SPEECH_S = 1.0


@dataclass(frozen=True)
class LocalSpeaker:
    """A speaker of one window: its clean frames and its embedding."""

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
    """(F,) -> one character per tenth of a window's frames: ``.`` silent, ``#`` speaking,
    ``X`` speaking while others do."""
    cells = []
    for part, shared in zip(
        np.array_split(mask > 0, _COLUMNS), np.array_split(overlap, _COLUMNS), strict=True
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
    names = sorted({row.name for row in Manifest.read(folder / MANIFEST_NAME).artifacts})
    for name in names:
        if name.startswith("embedding_") and name != "embedding_inputs":
            return load(name, models=folder)
    raise ArtifactNotFoundError(f"{folder} has no embedding network; there are: {', '.join(names)}")


def describe_windows(
    samples: FloatArray, segmentation: Session, embedding: Session
) -> tuple[list[str], list[LocalSpeaker]]:
    """Timelines to print, and the local speakers with enough speech."""
    recipe = segmentation.description.recipe
    batch = windows(samples, recipe["window_samples"])
    masks = segmentation.run(waveform=batch)["masks"]
    clean = masks * (masks.sum(axis=2, keepdims=True) < 2)
    per_speaker = np.ascontiguousarray(clean.transpose(0, 2, 1))
    embeddings = embedding.run(waveform=batch, masks=per_speaker)["embeddings"]
    step_s = recipe["hop_samples"] / recipe["sample_rate_hz"]
    window_s = recipe["window_samples"] / recipe["sample_rate_hz"]
    lines, speakers = [], []
    for index, mask in enumerate(masks):
        lines.append(f"{index * window_s:6.1f} s")
        overlap = mask.sum(axis=1) > 1
        for speaker in range(mask.shape[1]):
            if not mask[:, speaker].any():
                continue
            label, speech_s = f"{index}{'abcdefgh'[speaker]}", mask[:, speaker].sum() * step_s
            lines.append(f"  {label} |{timeline(mask[:, speaker], overlap)}| {speech_s:4.1f} s")
            if per_speaker[index, speaker].sum() * step_s >= _MIN_SPEECH_S:
                speakers.append(LocalSpeaker(label, speech_s, embeddings[index, speaker]))
    return lines, speakers


def distance_table(speakers: list[LocalSpeaker], cosine: Session) -> list[str]:
    """Cosine distances between all local speakers, as lines of text."""
    if not speakers:
        return ["no speaker with enough speech"]
    vectors = np.stack([speaker.embedding for speaker in speakers])
    distances = cosine.run(embeddings=vectors, database=vectors)["distances"]
    lines = ["     " + " ".join(f"{speaker.label:>4}" for speaker in speakers)]
    for speaker, row in zip(speakers, distances, strict=True):
        lines.append(f"  {speaker.label} " + " ".join(f"{abs(value):4.2f}" for value in row))
    return lines


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("audio", type=Path, help="an audio file (WAV, FLAC, OGG, MP3)")
    parser.add_argument("--models", type=Path, help="folder with the artifacts")


def _run(options: argparse.Namespace) -> int:
    segmentation = load("segmentation_masks", models=options.models)
    embedding = embedding_session(options.models)
    cosine = load("cosine_distance", models=options.models)
    samples = read_audio(options.audio, segmentation.description.recipe["sample_rate_hz"])
    lines, speakers = describe_windows(samples, segmentation, embedding)
    threshold = embedding.description.recipe["same_speaker_distance"]
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
