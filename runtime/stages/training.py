"""Which embeddings clusters are made from; the others are only assigned to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import AnyArray, Bools, Floats, Ints, active_masks, checked_embeddings
from .masks import clean_masks


@dataclass(frozen=True)
class TrainingSet:
    """Embeddings good enough to make clusters from.

    ``embeddings`` is (n, D) of the dtype that came; row i is from window ``windows[i]`` and local
    speaker ``speakers[i]``, both (n,) int64. Sorted by window, then speaker.
    """

    embeddings: Floats
    windows: Ints
    speakers: Ints


def training_embeddings(
    embeddings: AnyArray, masks: AnyArray, min_active_ratio: float = 0.2
) -> TrainingSet:
    """Embeddings of local speakers who speak alone in enough frames of their window.

    Source: ``BaseClustering.filter_embeddings`` in pyannote.audio 4.0.7, which drops NaN. Infinite
    and zero embeddings, on which pyannote's clustering fails, are dropped too.

    Args:
        embeddings: (W, S, D) floats.
        masks: (W, F, S) of 0 and 1.
        min_active_ratio: the share of a window's frames that suffices.

    Raises:
        InputError: arrays of the wrong shape, dtype or values.
    """
    embeddings = checked_embeddings(embeddings, masks)
    active = active_masks(masks)
    enough = clean_masks(active).sum(axis=1) >= min_active_ratio * active.shape[1]
    windows, speakers = np.nonzero(enough & usable(embeddings))
    return TrainingSet(embeddings[windows, speakers], windows, speakers)


def usable(embeddings: Floats) -> Bools:
    """(..., D) -> (...): finite and not all zero."""
    good: Bools = np.logical_and(
        np.isfinite(embeddings).all(axis=-1), (embeddings != 0).any(axis=-1)
    )
    return good
