"""VGGish in two calls: load the network, embed a file."""

from __future__ import annotations

import logging
import os
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import DeviceError, OptionsError
from ..loading import load
from ..options import Options
from .embedder import VggishEmbedder

_LOG = logging.getLogger("voxport")
ARTIFACT = "vggish"
DevicePreference = Literal["auto", "cpu", "gpu", "metal"]


def load_vggish_model(
    device_preference: DevicePreference = "auto",
    gpu_memory_fraction: float = 0.8,
    gpu_allow_growth: bool = True,
    *,
    models: str | os.PathLike[str] | None = None,
    precision: str = "auto",
) -> VggishEmbedder:
    """Load the artifact ``vggish``. Close it, or use it as a context manager.

    Args:
        device_preference: ``"auto"`` takes Core ML (Metal) on Apple silicon, then CUDA, then the
            CPU. ``"gpu"`` (CUDA) and ``"metal"`` (Core ML) are preferences: where that device
            cannot be used, the CPU is, with a warning of the logger ``voxport``; nothing else is
            tried. ``voxport.runtime.load`` is strict instead.
        gpu_memory_fraction: the most of a CUDA card's memory that is taken, above 0 and up to 1.
        gpu_allow_growth: whether that memory is taken by doubling, or by what is asked for.
        models: folder with the artifacts; see ``load``.
        precision: see ``load``.

    Raises:
        OptionsError: another preference, or a fraction out of range.
        ArtifactNotFoundError: no such artifact: export it with ``--vggish-checkpoint``.
        ArtifactError: the artifact is damaged.
        DeviceError, MissingDependencyError: not even the CPU can be used.
    """
    if device_preference not in get_args(DevicePreference):
        raise OptionsError(
            f"device_preference must be one of {', '.join(get_args(DevicePreference))}, got "
            f"{device_preference!r:.80}"
        )
    options = Options(gpu_memory_fraction=gpu_memory_fraction, gpu_allow_growth=gpu_allow_growth)
    try:
        session = load(
            ARTIFACT, device=device_preference, precision=precision, models=models, options=options
        )
    except DeviceError as error:
        if device_preference not in ("gpu", "metal"):
            raise
        _LOG.warning("vggish runs on the CPU: %s", error)
        session = load(ARTIFACT, device="cpu", precision=precision, models=models, options=options)
    return VggishEmbedder(session)


def embed_wav_file(
    path: str | os.PathLike[str],
    model: VggishEmbedder | None = None,
    *,
    models: str | os.PathLike[str] | None = None,
) -> npt.NDArray[np.float32]:
    """(n, 128) float32 embeddings of an audio file, one for every 0.96 s.

    Other formats than WAV, other rates than 16 kHz and several channels are fine: see
    ``read_audio``. Audio shorter than 0.975 s has no example: n = 0, with a warning of the logger
    ``voxport``.

    Args:
        path: the file.
        model: a loaded one, which stays open; None: load one for this file, see
            ``load_vggish_model``.
        models: folder with the artifacts, where no ``model`` is given.

    Raises:
        AudioError: the file cannot be used.
        VoxportError: as ``load_vggish_model``.
    """
    if model is None:
        with load_vggish_model(models=models) as loaded:
            return embed_wav_file(path, loaded)
    found = model(path)
    for remark in found.remarks:
        _LOG.warning("%s: %s", path, remark)
    return found.vectors
