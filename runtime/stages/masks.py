"""From segmentation masks to the masks that embeddings are pooled with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .arrays import AnyArray, active_masks


def clean_masks(masks: AnyArray) -> AnyArray:
    """Masks without frames in which more than one local speaker is active.

    Args:
        masks: (W, F, S) of 0 and 1.

    Returns:
        (W, F, S) of the dtype that came.

    Raises:
        InputError: masks of the wrong shape or with other values.
    """
    active = active_masks(masks)
    alone = active.sum(axis=2, keepdims=True) < 2
    clean: AnyArray = (active & alone).astype(masks.dtype)
    return clean


def embedding_masks(
    masks: AnyArray, window_samples: int, min_num_samples: int = 400
) -> npt.NDArray[np.float32]:
    """The clean mask of each local speaker, or the full one where too little is clean.

    A clean mask serves if it has strictly more frames than ``min_num_samples`` cover, rounded
    up. Source: ``SpeakerDiarization.get_embeddings`` in pyannote.audio 4.0.7 with
    ``exclude_overlap``; 400 samples are the shortest audio its Kaldi features take.

    Args:
        masks: (W, F, S) of 0 and 1.
        window_samples: samples of a window.
        min_num_samples: samples that an embedding needs at least.

    Returns:
        (W, S, F) float32, contiguous: what embedding artifacts take as ``masks``.

    Raises:
        InputError: masks of the wrong shape or with other values, or samples below 1.
    """
    if min(window_samples, min_num_samples) < 1:
        raise InputError(
            "a window and an embedding need at least 1 sample, got "
            f"{window_samples} and {min_num_samples}"
        )
    full = active_masks(masks)
    clean = clean_masks(full)
    min_num_frames = -(-full.shape[1] * min_num_samples // window_samples)
    long_enough = clean.sum(axis=1, keepdims=True) > min_num_frames
    used = np.where(long_enough, clean, full).transpose(0, 2, 1)
    return np.ascontiguousarray(used, np.float32)
