"""The steps of a diarization, each a function on arrays that can be used alone.

In their order, for W windows of F frames and S local speakers, with embeddings of D numbers:

1. masks (W, F, S) come from a segmentation artifact, ``starts`` (W,) from ``AudioWindows``;
2. ``speaker_count``: how many speak in each frame of the file;
3. ``embedding_masks``: what an embedding artifact pools with; it gives (W, S, D);
4. ``ahc_clusters`` or ``vbx_clusters``: which cluster each local speaker belongs to;
5. ``discrete_diarization``: which clusters speak in each frame;
6. ``to_turns``: from when to when each speaks.

They equal pyannote.audio 4.0.7 wherever it gives a result; each says where it differs. All are
deterministic, keep no state and change no argument.
"""

from ..errors import ArtifactError, ArtifactNotFoundError, InputError, OptionsError
from .ahc import AhcOptions, ahc_clusters, ahc_labels
from .arrays import NO_CLUSTER
from .assignment import Clusters, most_similar, one_to_one, similarities
from .bounds import SpeakerBounds
from .counting import speaker_count
from .frames import FrameGrid
from .kmeans import kmeans_labels
from .linkage import centroid_linkage
from .masks import clean_masks, embedding_masks
from .plda import Plda
from .reconstruction import discrete_diarization, exclusive
from .training import TrainingSet, training_embeddings
from .turns import Turn, round_s, rounded, speaker_names, to_turns, within
from .vbx import VbxOptions, VbxPosterior, first_labels, vbx_clusters, vbx_posterior

__all__ = [
    "NO_CLUSTER",
    "AhcOptions",
    "ArtifactError",
    "ArtifactNotFoundError",
    "Clusters",
    "FrameGrid",
    "InputError",
    "OptionsError",
    "Plda",
    "SpeakerBounds",
    "TrainingSet",
    "Turn",
    "VbxOptions",
    "VbxPosterior",
    "ahc_clusters",
    "ahc_labels",
    "centroid_linkage",
    "clean_masks",
    "discrete_diarization",
    "embedding_masks",
    "exclusive",
    "first_labels",
    "kmeans_labels",
    "most_similar",
    "one_to_one",
    "round_s",
    "rounded",
    "similarities",
    "speaker_count",
    "speaker_names",
    "to_turns",
    "training_embeddings",
    "vbx_clusters",
    "vbx_posterior",
    "within",
]
