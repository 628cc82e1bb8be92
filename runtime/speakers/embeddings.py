"""Embeddings of speakers, and the files that hold them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..diarization.result import Used

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Embeddings:
    """The answer of a ``SpeakerEmbedder``: N embeddings of D numbers.

    Attributes:
        vectors: (N, D) float32 of unit length; a row of NaN where there was too little speech.
        labels: whose they are; a speaker may have several.
        starts_s, ends_s: (N,) float64, from when to when each was heard, pauses included.
        speech_s: (N,) float64, seconds of speech that each was pooled from.
        duration_s: length of the audio.
        artifact: the embedding network that was used.
        remarks: what is not as it should be; empty if all is.
        seconds: by stage, summed over threads; "total" is wall time.
    """

    vectors: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    starts_s: npt.NDArray[np.float64]
    ends_s: npt.NDArray[np.float64]
    speech_s: npt.NDArray[np.float64]
    duration_s: float
    artifact: Used
    remarks: tuple[str, ...]
    seconds: dict[str, float]


def write_npz(embeddings: Embeddings, file_id: str) -> bytes:
    """A NumPy archive, to be read with ``numpy.load``: no pickles in it.

    ``embeddings`` (N, D) float32, ``labels`` (N,), ``starts_s``, ``ends_s`` and ``speech_s`` (N,)
    float64; as scalars ``file_id``, ``artifact``, ``precision``, ``sha256`` and
    ``schema_version``.
    """
    content = io.BytesIO()
    np.savez(
        content,
        embeddings=embeddings.vectors,
        labels=np.array(embeddings.labels, np.str_),
        starts_s=embeddings.starts_s,
        ends_s=embeddings.ends_s,
        speech_s=embeddings.speech_s,
        file_id=np.array(file_id),
        artifact=np.array(embeddings.artifact.name),
        precision=np.array(embeddings.artifact.precision),
        sha256=np.array(embeddings.artifact.sha256),
        schema_version=np.array(SCHEMA_VERSION),
    )
    return content.getvalue()


def write_json(embeddings: Embeddings, file_id: str) -> str:
    """JSON; ``embedding`` is null where there was too little speech::

        {"schema_version": 1, "file": "meeting",
         "artifact": {"name": "embedding_campplus", "precision": "fp32", "sha256": "..."},
         "embeddings": [{"label": "anna", "start_s": 0.5, "end_s": 9.0, "speech_s": 7.25,
                         "embedding": [0.01, ...]}]}

    Numbers have as many digits as it takes to read the same float32 again.
    """
    rows = zip(
        embeddings.labels,
        embeddings.starts_s.tolist(),
        embeddings.ends_s.tolist(),
        embeddings.speech_s.tolist(),
        embeddings.vectors,
        strict=True,
    )
    used = embeddings.artifact
    document = {
        "schema_version": SCHEMA_VERSION,
        "file": file_id,
        "artifact": {"name": used.name, "precision": used.precision, "sha256": used.sha256},
        "embeddings": [
            {
                "label": label,
                "start_s": start_s,
                "end_s": end_s,
                "speech_s": speech_s,
                "embedding": _numbers(vector),
            }
            for label, start_s, end_s, speech_s, vector in rows
        ],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _numbers(vector: npt.NDArray[np.float32]) -> list[float] | None:
    if not np.isfinite(vector).all():
        return None
    return [float(str(value)) for value in vector]


# By name, which is also the ending of a file's name.
FORMATS: Mapping[str, Callable[[Embeddings, str], str | bytes]] = MappingProxyType(
    {"json": write_json, "npz": write_npz}
)
