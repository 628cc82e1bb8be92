"""Embeddings of audio by VGGish, and the files that hold them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..diarization.result import Used

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class VggishEmbeddings:
    """The answer of a ``VggishEmbedder``: n examples of 0.96 s, embedded in D = 128 numbers.

    Attributes:
        vectors: (n, D) float32.
        starts_s, ends_s: (n,) float64, from when to when each was heard, in seconds.
        duration_s: length of the audio. What fills no whole example at its end is in none.
        artifact: the network that was used.
        whitened: (n, D) float32 in [-2, 2], after AudioSet's PCA; None where the network was
            exported without one.
        quantised: (n, D) uint8, these in 8 bits, as AudioSet stores them; or None.
        remarks: what is not as it should be; empty if all is.
        seconds: by stage; "total" is wall time.
    """

    vectors: npt.NDArray[np.float32]
    starts_s: npt.NDArray[np.float64]
    ends_s: npt.NDArray[np.float64]
    duration_s: float
    artifact: Used
    whitened: npt.NDArray[np.float32] | None
    quantised: npt.NDArray[np.uint8] | None
    remarks: tuple[str, ...]
    seconds: dict[str, float]


def write_npz(found: VggishEmbeddings, file_id: str) -> bytes:
    """A NumPy archive, to be read with ``numpy.load``: no pickles in it.

    ``embeddings`` (n, D) float32, ``starts_s`` and ``ends_s`` (n,) float64; where the network has
    a PCA ``whitened`` (n, D) float32 and ``quantised`` (n, D) uint8; as scalars ``file_id``,
    ``duration_s``, ``artifact``, ``precision``, ``sha256`` and ``schema_version``.
    """
    arrays: dict[str, Any] = {
        "embeddings": found.vectors,
        "starts_s": found.starts_s,
        "ends_s": found.ends_s,
        "whitened": found.whitened,
        "quantised": found.quantised,
        "file_id": file_id,
        "duration_s": found.duration_s,
        "artifact": found.artifact.name,
        "precision": found.artifact.precision,
        "sha256": found.artifact.sha256,
        "schema_version": SCHEMA_VERSION,
    }
    held: dict[str, Any] = {name: value for name, value in arrays.items() if value is not None}
    content = io.BytesIO()
    np.savez(content, **held)
    return content.getvalue()


def write_json(found: VggishEmbeddings, file_id: str) -> str:
    """JSON; ``quantised`` only where the network has a PCA::

        {"schema_version": 1, "file": "rain", "duration_s": 10.0,
         "artifact": {"name": "vggish", "precision": "fp32", "sha256": "..."},
         "examples": [{"start_s": 0.0, "end_s": 0.975, "embedding": [0.01, ...],
                       "quantised": [128, ...]}]}

    Numbers have as many digits as it takes to read the same float32 again.
    """
    used = found.artifact
    document = {
        "schema_version": SCHEMA_VERSION,
        "file": file_id,
        "duration_s": found.duration_s,
        "artifact": {"name": used.name, "precision": used.precision, "sha256": used.sha256},
        "examples": [_example(found, row) for row in range(len(found.vectors))],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _example(found: VggishEmbeddings, row: int) -> dict[str, object]:
    example: dict[str, object] = {
        "start_s": float(found.starts_s[row]),
        "end_s": float(found.ends_s[row]),
        "embedding": [float(str(value)) for value in found.vectors[row]],
    }
    if found.quantised is not None:
        example["quantised"] = found.quantised[row].tolist()
    return example


def write_csv(found: VggishEmbeddings, file_id: str) -> str:
    """A line for each example: ``file,start_s,end_s,e0,...,e127``, after a line of these names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "start_s", "end_s", *(f"e{i}" for i in range(found.vectors.shape[1]))])
    rows = zip(found.starts_s.tolist(), found.ends_s.tolist(), found.vectors, strict=True)
    for start_s, end_s, vector in rows:
        writer.writerow([file_id, f"{start_s:.3f}", f"{end_s:.3f}", *map(str, vector)])
    return text.getvalue()


# By name, which is also the ending of a file's name.
FORMATS: Mapping[str, Callable[[VggishEmbeddings, str], str | bytes]] = MappingProxyType(
    {"json": write_json, "csv": write_csv, "npz": write_npz}
)
