"""Probabilistic linear discriminant analysis: the space in which VBx compares voices."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ArtifactError, ArtifactNotFoundError, InputError
from .arrays import AnyArray, Doubles, checked_points

TRANSFORM_NAME, PLDA_NAME = "xvec_transform.npz", "plda.npz"
# community-1's are 0.13 MB; beyond this a file is no PLDA, and might exhaust the memory.
_MAX_BYTES = 64 * 2**20

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Plda:
    """A trained PLDA and the transform of embeddings that comes before it.

    For embeddings of D numbers and a space of L: ``mean`` (D,) and ``lda`` (D, L) with
    ``lda_mean`` (L,) are the transform, ``centre`` (L,) and ``basis`` (L, L) the map into the
    space, and ``phi`` (L,) the variance between speakers there, descending; the variance within
    a speaker is 1. All float64.
    """

    mean: Doubles
    lda: Doubles
    lda_mean: Doubles
    centre: Doubles
    basis: Doubles
    phi: Doubles

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Plda:
        """Read ``xvec_transform.npz`` (mean1, mean2, lda) and ``plda.npz`` (mu, tr, psi).

        These are the files of pyannote's speaker-diarization-community-1. Nothing is unpickled.

        Raises:
            ArtifactNotFoundError: a file is missing.
            ArtifactError: a file is damaged, or its arrays do not fit each other.
        """
        transform = _read(Path(folder) / TRANSFORM_NAME, ("mean1", "mean2", "lda"))
        plda = _read(Path(folder) / PLDA_NAME, ("mu", "tr", "psi"))
        _check_shapes(transform, plda, Path(folder))
        basis, phi = _diagonalised(plda["tr"], plda["psi"], Path(folder))
        mean, lda_mean, lda = (transform[name] for name in ("mean1", "mean2", "lda"))
        return cls(mean, lda, lda_mean, plda["mu"], basis, phi)

    @property
    def embedding_size(self) -> int:
        """D, the size of the embeddings that it was trained on."""
        return int(self.lda.shape[0])

    def features(self, embeddings: AnyArray) -> Doubles:
        """Embeddings in PLDA space: (n, D) finite floats, not normalised -> (n, L) float64.

        Source: ``pyannote.audio.core.plda`` and ``utils.vbx`` in pyannote.audio 4.0.7, after the
        recipe of BUT Speech@FIT: centring, length D ** 0.5, LDA, length L ** 0.5, PLDA.

        Raises:
            InputError: embeddings of the wrong shape, of another size, or not finite.
        """
        points = checked_points(embeddings)
        self.check_size(points.shape[1])
        centred = _scaled(points - self.mean)
        reduced = _scaled(centred @ self.lda - self.lda_mean)
        features: Doubles = (reduced - self.centre) @ self.basis.T
        return features

    def check_size(self, embedding_size: int) -> None:
        """Refuse embeddings of another network.

        Raises:
            InputError: the size is not the one that it was trained on.
        """
        if embedding_size != self.embedding_size:
            raise InputError(
                f"this PLDA was trained on {self.embedding_size}-d embeddings and cannot judge "
                f"{embedding_size}-d ones: community-1's belongs to WeSpeaker's ResNet34 (256-d), "
                "and there is none for CAM++ (192-d); cluster those with AHC"
            )


def _scaled(points: Doubles) -> Doubles:
    """Rows of length D ** 0.5: on average, each number has variance 1. Zero rows stay zero."""
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    scaled: Doubles = points * (np.sqrt(points.shape[1]) / np.where(norms == 0, 1, norms))
    return scaled


def _read(path: Path, names: tuple[str, ...]) -> Arrays:
    """Real, finite arrays of an npz file, as float64."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_BYTES:
            raise ArtifactError(f"{path} holds {size} bytes; a PLDA has less than {_MAX_BYTES}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in names}
    except FileNotFoundError as error:
        raise ArtifactNotFoundError(
            f"{path} is missing; a PLDA is a folder with {TRANSFORM_NAME} and {PLDA_NAME}, as in "
            "pyannote/speaker-diarization-community-1"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as e:
        raise ArtifactError(f"{path} is no npz file with {', '.join(names)}: {e}") from e
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ArtifactError(f"{path}: {name} must hold finite real numbers")
    return {name: array.astype(np.float64) for name, array in arrays.items()}


def _check_shapes(transform: Arrays, plda: Arrays, folder: Path) -> None:
    lda = transform["lda"]
    if lda.ndim != 2 or 0 in lda.shape:
        raise ArtifactError(f"{folder / TRANSFORM_NAME}: lda must be a matrix, got {lda.shape}")
    size, reduced = lda.shape
    expected = {
        "mean1": (size,),
        "mean2": (reduced,),
        "mu": (reduced,),
        "tr": (reduced, reduced),
        "psi": (reduced,),
    }
    for name, array in (transform | plda).items():
        if array.shape != expected.get(name, array.shape):
            raise ArtifactError(
                f"{folder}: {name} must have shape {expected[name]} to fit lda {lda.shape}, got "
                f"{array.shape}"
            )
    if (plda["psi"] <= 0).any():
        raise ArtifactError(f"{folder / PLDA_NAME}: psi must be above 0, they are variances")


def _diagonalised(transform: Doubles, psi: Doubles, folder: Path) -> tuple[Doubles, Doubles]:
    """A basis in which the variance within speakers is 1 and that between them diagonal."""
    from scipy.linalg import eigh  # noqa: PLC0415 -- slow to import

    try:
        within = np.linalg.inv(transform.T @ transform)
        between = np.linalg.inv((transform.T / psi) @ transform)
        variances, vectors = eigh(between, within)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise ArtifactError(f"{folder / PLDA_NAME}: tr cannot be inverted: {error}") from error
    return vectors.T[::-1], variances[::-1]
