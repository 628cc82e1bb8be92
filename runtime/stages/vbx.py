"""Variational Bayes clustering of embeddings, as in pyannote's speaker-diarization-community-1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, OptionsError
from .ahc import cut
from .arrays import (
    AnyArray,
    Doubles,
    Floats,
    Ints,
    checked_embeddings,
    checked_points,
    cluster_means,
    unit_rows,
)
from .assignment import (
    Clusters,
    most_similar,
    one_cluster,
    one_to_one,
    silent_speakers,
    similarities,
)
from .bounds import SpeakerBounds
from .kmeans import kmeans_labels
from .linkage import centroid_linkage
from .plda import Plda
from .training import training_embeddings

# Keeps the logarithm of a prior finite when a speaker has lost all embeddings.
_PRIOR_FLOOR = 1e-8
# Speakers with a smaller prior are gone.
_MIN_PRIOR = 1e-7
# An iteration that gains less is the last.
_MIN_GAIN = 1e-4
# Numbers in a block of responsibilities: 8 MiB, a few times over.
_BLOCK = 2**20


@dataclass(frozen=True)
class VbxOptions:
    """Of the clustering with VBx; the defaults are those of speaker-diarization-community-1.

    ``ahc_threshold`` is the distance at which the first clusters are cut (Euclidean, of unit
    vectors). ``fa`` scales what the embeddings say, ``fb`` how much a speaker costs: larger makes
    fewer. ``smoothing`` is how sure the first clusters are taken to be, ``iterations`` the most
    that are made.

    Raises:
        OptionsError: a figure that is not above 0.
    """

    ahc_threshold: float = 0.6
    fa: float = 0.07
    fb: float = 0.8
    smoothing: float = 7.0
    iterations: int = 20

    def __post_init__(self) -> None:
        figures = (self.ahc_threshold, self.fa, self.fb, self.smoothing, self.iterations)
        if not all(figure > 0 for figure in figures):
            raise OptionsError(f"all options of VBx must be above 0: {self}")


@dataclass(frozen=True)
class VbxPosterior:
    """``responsibilities`` (n, K) float64: how much each embedding belongs to each speaker, rows
    summing to 1 over all speakers; ``priors`` (K,) float64: how much of all embeddings each has."""

    responsibilities: Doubles
    priors: Doubles


def vbx_clusters(
    embeddings: AnyArray,
    masks: AnyArray,
    plda: Plda,
    options: VbxOptions | None = None,
    bounds: SpeakerBounds | None = None,
) -> Clusters:
    """Cluster all local speakers of a file.

    Embeddings with enough speech make the clusters: AHC, then VBx in PLDA space, which drops
    speakers it can do without. Local speakers of one window then get different clusters, by
    cosine similarity to the centroids. If the number found is not within ``bounds``, k-means on
    unit vectors makes as many as wanted, and local speakers may share a cluster. Silent ones get
    ``NO_CLUSTER``. Source: ``VBxClustering`` in pyannote.audio 4.0.7.

    Args:
        embeddings: (W, S, D) floats, not normalised; NaN marks those that could not be had.
        masks: (W, F, S) of 0 and 1.
        plda: trained on embeddings of the same network.
        options: community-1's where None.
        bounds: what is known about the number of speakers.

    Raises:
        InputError: arrays of the wrong shape, dtype or values, or embeddings that are not of the
            PLDA's size (CAM++'s, for one).
    """
    options = options or VbxOptions()
    embeddings = checked_embeddings(embeddings, masks)
    plda.check_size(embeddings.shape[2])
    training = training_embeddings(embeddings, masks).embeddings
    if len(training) < 2:
        return one_cluster(embeddings, masks, training)
    centroids = _centroids(training, plda, options)
    wanted = (bounds or SpeakerBounds()).nearest(len(centroids), len(training))
    if wanted == len(centroids):
        scores = similarities(embeddings, centroids)
        assignments = one_to_one(scores, silent_speakers(masks))
    else:
        # One to one would leave speakers over where few clusters are wanted.
        centroids = _forced_centroids(training, wanted)
        assignments = most_similar(similarities(embeddings, centroids))
    return Clusters(assignments, centroids).without_silent(masks)


def first_labels(embeddings: AnyArray, threshold: float = VbxOptions.ahc_threshold) -> Ints:
    """The clusters that VBx begins with: centroid linkage of unit vectors, cut at a distance.

    Args:
        embeddings: (n, D) finite floats, n at least 2.
        threshold: Euclidean distance of centroids.

    Returns:
        (n,) int64 from 0 to K - 1.

    Raises:
        InputError: embeddings of the wrong shape, or not finite.
    """
    return cut(centroid_linkage(unit_rows(checked_points(embeddings))), threshold)


def vbx_posterior(
    features: AnyArray,
    phi: AnyArray,
    labels: AnyArray,
    options: VbxOptions | None = None,
    min_prior: float | None = None,
) -> VbxPosterior:
    """Refine clusters of features in PLDA space.

    Source: Landini, Profant, Diez and Burget, "Bayesian HMM clustering of x-vector sequences
    (VBx) in speaker diarization", 2022, equations 16, 17, 23 and 25, as a mixture without the
    Markov chain: what pyannote.audio 4.0.7 runs. float64, in blocks of rows: with thousands of
    clusters to begin with, all responsibilities at once would take gigabytes.

    Args:
        features: (n, L) finite floats from ``Plda.features``.
        phi: (L,) variances between speakers, above 0: ``Plda.phi``.
        labels: (n,) integers from 0 to K - 1, the clusters to begin with.
        options: community-1's where None.
        min_prior: speakers with this prior or less are left out; None keeps all K.

    Raises:
        InputError: arrays of the wrong shape, dtype or values.
    """
    features = checked_points(features).astype(np.float64)
    _check(features, phi, labels)
    options = options or VbxOptions()
    model = _Model(features, phi.astype(np.float64), options)
    statistics = model.first_statistics(labels)
    bound = -np.inf
    for _ in range(options.iterations):
        previous, before = bound, statistics
        statistics, bound = model.iterate(before)
        if bound - previous < _MIN_GAIN:
            break
    priors = statistics.priors
    kept = np.flatnonzero(priors > (-np.inf if min_prior is None else min_prior))
    return VbxPosterior(model.responsibilities(before, kept), priors[kept])


def _check(features: Doubles, phi: AnyArray, labels: AnyArray) -> None:
    if phi.shape != features.shape[1:] or not (phi > 0).all():
        raise InputError(f"phi must be {features.shape[1:]} and above 0, got {phi.shape}: {phi}")
    if labels.shape != features.shape[:1] or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise InputError(
            f"labels must be {features.shape[:1]} integers from 0, got {labels.dtype} of shape "
            f"{labels.shape}"
        )


@dataclass(frozen=True)
class _Statistics:
    """Of K speakers: how many embeddings each has, (K,), their sums, (K, L), and priors, (K,)."""

    mass: Doubles
    sums: Doubles
    priors: Doubles


class _Model:
    """Features and what stays the same in all iterations; numbers are the paper's equations."""

    def __init__(self, features: Doubles, phi: Doubles, options: VbxOptions) -> None:
        self.phi, self.options = phi, options
        self.projected = features * np.sqrt(phi)  # 18
        constant = features.shape[1] * np.log(2 * np.pi)
        self.log_density = -0.5 * ((features**2).sum(axis=1, keepdims=True) + constant)

    def first_statistics(self, labels: AnyArray) -> _Statistics:
        """Of responsibilities that are the softmax of ``smoothing`` at the label, 0 elsewhere."""
        sizes = np.bincount(labels)
        ratio = np.exp(-self.options.smoothing)
        own = 1 / (1 + (len(sizes) - 1) * ratio)
        others = own * ratio
        members = np.zeros((len(sizes), len(self.phi)))
        np.add.at(members, labels, self.projected)
        mass = own * sizes + others * (len(labels) - sizes)
        sums = (own - others) * members + others * self.projected.sum(axis=0)
        return _Statistics(mass, sums, np.full(len(sizes), 1 / len(sizes)))

    def iterate(self, statistics: _Statistics) -> tuple[_Statistics, float]:
        """New statistics, and the lower bound (25) that they raise."""
        variances, means = self._speakers(statistics)
        mass, sums = np.zeros_like(statistics.mass), np.zeros_like(statistics.sums)
        evidence = 0.0
        for rows in self._blocks(len(mass)):
            posterior, block_evidence = self._posterior(rows, variances, means, statistics.priors)
            mass += posterior.sum(axis=0)
            sums += posterior.T @ self.projected[rows]
            evidence += block_evidence
        complexity = float((np.log(variances) - variances - means**2 + 1).sum())
        bound = evidence + self.options.fb * 0.5 * complexity
        return _Statistics(mass, sums, mass / mass.sum()), bound

    def responsibilities(self, statistics: _Statistics, kept: Ints) -> Doubles:
        """(n, kept) of the speakers that the statistics describe."""
        variances, means = self._speakers(statistics)
        blocks = [
            self._posterior(rows, variances, means, statistics.priors)[0][:, kept]
            for rows in self._blocks(len(statistics.mass))
        ]
        return np.concatenate(blocks)

    def _blocks(self, num_speakers: int) -> Iterator[slice]:
        size = max(1, _BLOCK // num_speakers)
        for first in range(0, len(self.projected), size):
            yield slice(first, first + size)

    def _speakers(self, statistics: _Statistics) -> tuple[Doubles, Doubles]:
        """Variances and means of the speakers, both (K, L)."""
        ratio = self.options.fa / self.options.fb
        variances = 1 / (1 + ratio * statistics.mass[:, None] * self.phi)  # 17
        return variances, ratio * variances * statistics.sums  # 16

    def _posterior(
        self, rows: slice, variances: Doubles, means: Doubles, priors: Doubles
    ) -> tuple[Doubles, float]:
        """Responsibilities for some rows, (rows, K), and their share of the bound."""
        from scipy.special import logsumexp  # noqa: PLC0415 -- slow to import

        scores: Doubles = self.projected[rows] @ means.T
        scores -= 0.5 * (variances + means**2) @ self.phi
        scores += self.log_density[rows]
        scores *= self.options.fa  # 23
        scores += np.log(priors + _PRIOR_FLOOR)
        evidence = logsumexp(scores, axis=1, keepdims=True)
        scores -= evidence
        return np.exp(scores, out=scores), float(evidence.sum())


def _centroids(training: Floats, plda: Plda, options: VbxOptions) -> Floats:
    """(K, D): means of the training embeddings, weighted by what VBx finds."""
    labels = first_labels(training, options.ahc_threshold)
    features = plda.features(training)
    weights = vbx_posterior(features, plda.phi, labels, options, _MIN_PRIOR).responsibilities
    centroids: Floats = weights.T @ training / weights.sum(axis=0)[:, None]
    return centroids


def _forced_centroids(training: Floats, num_clusters: int) -> Floats:
    """(at most num_clusters, D): fewer only where embeddings are identical."""
    labels = kmeans_labels(unit_rows(training), num_clusters)
    return cluster_means(training, np.unique(labels, return_inverse=True)[1])
