"""Who is who: voices that are remembered, clustered anew at every step, under stable labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..audio_source import FloatArray
from ..stages import (
    NO_CLUSTER,
    AhcOptions,
    SpeakerBounds,
    ahc_labels,
    clean_masks,
    most_similar,
    similarities,
    training_embeddings,
)
from ..stages.arrays import Ints, cluster_means
from ..stages.assignment import silent_speakers
from .networks import HeardWindow

_NEW = -1


@dataclass
class _Voice:
    """A local speaker who spoke alone for long enough; ``weight`` is in how many frames."""

    embedding: FloatArray
    window: int
    speaker: int
    weight: int
    label: int = _NEW


class SpeakerMemory:
    """A bounded number of embeddings with the labels that they were given.

    All of them are clustered at every step, as in the offline answer; a cluster gets the label
    under which most of its speech went out. Two labels that prove to be one voice become one, and
    one that holds two voices is divided, for what comes; what went out is not touched.

    Args:
        size: how many embeddings are remembered. Beyond it, the oldest of the label that has
            most is given up: whoever is silent for an hour is still known.
        options: of the clustering.
        max_speakers: the most labels; None for any number.
    """

    def __init__(self, size: int, options: AhcOptions, max_speakers: int | None) -> None:
        self._size, self._options, self._max_speakers = size, options, max_speakers
        self._voices: list[_Voice] = []
        self._num_labels = 0

    def __len__(self) -> int:
        return len(self._voices)

    def add(self, window: HeardWindow) -> None:
        """Remember the voices of a window that clusters can be made from."""
        masks = window.masks[None]
        found = training_embeddings(window.embeddings[None], masks)
        weights = clean_masks(masks)[0].sum(axis=0, dtype=np.int64)
        for embedding, speaker in zip(found.embeddings, found.speakers.tolist(), strict=True):
            # A copy: a row would keep its window's array alive.
            voice = _Voice(embedding.copy(), window.number, speaker, int(weights[speaker]))
            self._voices.append(voice)
        while len(self._voices) > self._size:
            self._give_up_one()

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget the voices of windows, by their numbers."""
        gone = set(numbers)
        self._voices = [voice for voice in self._voices if voice.window not in gone]

    def label(self, windows: Sequence[HeardWindow]) -> Ints:
        """(W, S) labels of the local speakers of windows, from 0; ``NO_CLUSTER`` if silent."""
        silent = silent_speakers(np.stack([window.masks for window in windows]))
        if not self._voices:
            # Nobody has said enough yet to be told from others.
            return np.where(silent, NO_CLUSTER, 0)
        points = np.stack([voice.embedding for voice in self._voices])
        bounds = SpeakerBounds(max_speakers=self._max_speakers)
        clusters = ahc_labels(points, self._options, bounds)
        names = self._names(clusters)
        embeddings = np.stack([window.embeddings for window in windows])
        scores = similarities(embeddings, cluster_means(points, clusters))
        labels = np.where(silent, NO_CLUSTER, names[most_similar(scores)])
        self._note(windows, labels)
        return labels

    def _names(self, clusters: Ints) -> Ints:
        """(n,) cluster of each voice -> (K,) its label: what it was called, or a new one."""
        present = sorted({voice.label for voice in self._voices} - {_NEW})
        spoken = np.zeros((int(clusters.max()) + 1, len(present)))
        for voice, cluster in zip(self._voices, clusters.tolist(), strict=True):
            if voice.label != _NEW:
                spoken[cluster, present.index(voice.label)] += voice.weight
        names = np.full(len(spoken), _NEW, np.int64)
        for cluster, column in zip(*linear_sum_assignment(spoken, maximize=True), strict=True):
            if spoken[cluster, column] > 0:
                names[cluster] = present[column]
        for cluster in np.flatnonzero(names == _NEW).tolist():
            names[cluster] = self._free_label(names)
        return names

    def _free_label(self, names: Ints) -> int:
        """A label that no cluster has now: the next number, unless that would be too many."""
        if self._max_speakers is None or self._num_labels < self._max_speakers:
            self._num_labels += 1
            return self._num_labels - 1
        # There are at most as many clusters as labels.
        return int(np.setdiff1d(np.arange(self._num_labels), names)[0])

    def _note(self, windows: Sequence[HeardWindow], labels: Ints) -> None:
        rows = {window.number: row for window, row in zip(windows, labels.tolist(), strict=True)}
        for voice in self._voices:
            if voice.window in rows:
                voice.label = rows[voice.window][voice.speaker]

    def _give_up_one(self) -> None:
        """The oldest voice of the label that has most; of none that was just heard."""
        counts = Counter(voice.label for voice in self._voices if voice.label != _NEW)
        most = max(counts, key=lambda label: (counts[label], -label), default=_NEW)
        oldest = next(n for n, voice in enumerate(self._voices) if voice.label == most)
        del self._voices[oldest]
