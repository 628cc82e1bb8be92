"""Known speakers: their names, and a voice print for each."""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..annotation.turns import checked_label
from ..diarization.result import Used
from ..errors import AnnotationError, SpeakerDatabaseError
from ..recordings.writing import write_whole
from .embeddings import Embeddings

FloatArray = npt.NDArray[np.float32]
SCHEMA_VERSION = 1
# A million speakers of 256 numbers; what a file says it holds is checked before it is unpacked.
_MAX_BYTES = 1 << 30
_NO_ROWS = np.zeros((0, 1), np.float32)
# What a diarization calls those whom nobody knows.
_UNKNOWN = re.compile(r"SPEAKER_\d+")


class SpeakerDatabase:
    """Names and voice prints, all by one embedding artifact.

    A voice print is the mean of the unit vectors of all recordings that a speaker is enrolled
    with, of unit length again. Prints by different artifacts cannot be compared, not even by two
    precisions of one network: the database is bound to an artifact's name and SHA-256.

    Args:
        artifact: the embedding artifact; ``SpeakerEmbedder.artifact``.
        same_speaker_distance: the artifact's own cosine distance below which two embeddings count
            as one voice; ``SpeakerEmbedder.same_speaker_distance``.

    Raises:
        SpeakerDatabaseError: a distance that is none.
    """

    def __init__(self, artifact: Used, same_speaker_distance: float) -> None:
        if not 0 < same_speaker_distance <= 2:
            raise SpeakerDatabaseError(
                f"a cosine distance lies between 0 and 2, got {same_speaker_distance}"
            )
        self.artifact = artifact
        self.same_speaker_distance = same_speaker_distance
        self._prints: dict[str, FloatArray] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of enrolment."""
        return tuple(self._prints)

    @property
    def vectors(self) -> FloatArray:
        """(M, D) float32 of unit length, in the order of ``names``; (0, 0) without any."""
        if not self._prints:
            return np.zeros((0, 0), np.float32)
        return np.stack(list(self._prints.values()))

    def __len__(self) -> int:
        return len(self._prints)

    def __contains__(self, name: object) -> bool:
        return name in self._prints

    def enrol(self, name: str, *embeddings: Embeddings) -> None:
        """Add a speaker, from one or more recordings of that person alone.

        Every row of the embeddings that is known has the same weight.

        Raises:
            SpeakerDatabaseError: a name that is there already or is none; embeddings by another
                artifact; none at all, or none that is known.
        """
        checked = checked_name(name)
        if checked in self._prints:
            raise SpeakerDatabaseError(
                f"{name} is enrolled already: give all recordings of a person at once"
            )
        for each in embeddings:
            self.check(each.artifact)
        rows = np.concatenate([each.vectors for each in embeddings] or [_NO_ROWS])
        rows = rows[np.isfinite(rows).all(axis=1)]
        total = rows.sum(axis=0, dtype=np.float64)
        norm = float(np.linalg.norm(total)) if len(rows) else 0.0
        if norm == 0:
            raise SpeakerDatabaseError(f"{name}: too little speech to be known by")
        self._prints[checked] = (total / norm).astype(np.float32)

    def check(self, artifact: Used) -> None:
        """Raise unless this artifact is the one whose prints these are.

        Raises:
            SpeakerDatabaseError: it is another.
        """
        mine = self.artifact
        if (artifact.name, artifact.sha256) != (mine.name, mine.sha256):
            raise SpeakerDatabaseError(
                f"the voice prints are by {_described(mine)}, but the network is "
                f"{_described(artifact)}: their distances mean nothing. Take that network, or "
                "enrol again"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy archive, whole or not at all, for ``load``.

        Raises:
            VoxportError: it cannot be written.
        """
        content = io.BytesIO()
        np.savez(
            content,
            names=np.array(self.names, np.str_),
            vectors=self.vectors,
            artifact=np.array(self.artifact.name),
            precision=np.array(self.artifact.precision),
            sha256=np.array(self.artifact.sha256),
            same_speaker_distance=np.array(self.same_speaker_distance, np.float64),
            schema_version=np.array(SCHEMA_VERSION),
        )
        target = Path(path)
        write_whole(target.parent, {target.name: content.getvalue()})

    @classmethod
    def load(cls, path: str | os.PathLike[str], artifact: Used | None = None) -> Self:
        """Read what ``save`` wrote; nothing in the file is run.

        Args:
            path: of the file.
            artifact: the network that is to be used with it, if that is known.

        Raises:
            SpeakerDatabaseError: the file cannot be read, is none, is damaged, or its prints are
                by another artifact.
        """
        arrays = _read(Path(path))
        try:
            database = cls._of(arrays)
            if artifact is not None:
                database.check(artifact)
        except SpeakerDatabaseError as error:
            raise SpeakerDatabaseError(f"{path}: {error}") from error
        return database

    @classmethod
    def _of(cls, arrays: dict[str, npt.NDArray[Any]]) -> Self:
        version = arrays.get("schema_version")
        if version is None or version.shape != () or version.tolist() != SCHEMA_VERSION:
            raise SpeakerDatabaseError("not a speaker database of this version of voxport")
        name, precision, sha256 = (
            str(_array(arrays, key, "U", 0)) for key in ("artifact", "precision", "sha256")
        )
        distance = float(_array(arrays, "same_speaker_distance", "f", 0))
        database = cls(Used(name, precision, sha256, "unknown"), distance)
        names, vectors = _array(arrays, "names", "U", 1), _array(arrays, "vectors", "f", 2)
        if len(names) != len(vectors) or len(set(names.tolist())) != len(names):
            raise SpeakerDatabaseError("its names do not fit its voice prints")
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        # NaN is not close to anything.
        if not np.allclose(norms, 1, atol=1e-3):
            raise SpeakerDatabaseError("its voice prints are not of unit length")
        for each, vector in zip(names.tolist(), vectors.astype(np.float32), strict=True):
            database._prints[checked_name(each)] = vector
        return database


def checked_name(name: str) -> str:
    """A name that a known speaker may have.

    Raises:
        SpeakerDatabaseError: it is none, or one that a diarization gives.
    """
    try:
        checked = checked_label(name)
    except AnnotationError as error:
        raise SpeakerDatabaseError(str(error)) from error
    if _UNKNOWN.fullmatch(checked):
        raise SpeakerDatabaseError(f"{name} is what speakers are called whom nobody knows")
    return checked


def _described(artifact: Used) -> str:
    return f"{artifact.name} {artifact.precision} ({artifact.sha256[:12]})"


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        size = _unpacked_bytes(path)
        arrays = _arrays(path) if size <= _MAX_BYTES else {}
    except OSError as error:
        raise SpeakerDatabaseError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # Archives and headers of arrays fail in many ways, MemoryError among them.
        raise SpeakerDatabaseError(f"{path}: not a speaker database: {error}") from error
    if size > _MAX_BYTES:
        raise SpeakerDatabaseError(f"{path}: holds {size} bytes, more than {_MAX_BYTES}")
    return arrays


def _unpacked_bytes(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {key: np.asarray(file[key]) for key in file.files}


def _array(arrays: dict[str, npt.NDArray[Any]], key: str, kind: str, ndim: int) -> npt.NDArray[Any]:
    array = arrays.get(key)
    if array is None or array.dtype.kind != kind or array.ndim != ndim:
        raise SpeakerDatabaseError(f"it must hold {key!r} with {ndim} dimensions")
    if kind == "f" and ndim == 0 and not math.isfinite(float(array)):
        raise SpeakerDatabaseError(f"its {key} is not finite")
    return array
