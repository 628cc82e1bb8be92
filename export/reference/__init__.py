"""The original networks in textbook form and float64: what re-authored graphs are judged by.

Nothing here shares code with ``voxport.graphs``. Each function follows the original
implementation step by step, on its state dict, and is itself held to arrays that the original
packages produced (see ``tests/parity``). Slow, plain, and never exported.
"""

from .kaldi import kaldi_fbank
from .mel import mel_matrix
from .networks import campplus_frames, campplus_head, resnet_frames, resnet_head
from .pooling import embeddings_per_speaker
from .recipes import (
    clean_masks,
    cosine_distance,
    embedding_masks,
    long_segments,
    powerset_masks,
)
from .segmentation import segmentation_log_probs
from .vggish import vggish_embeddings, vggish_examples, vggish_whitened

__all__ = [
    "campplus_frames",
    "campplus_head",
    "clean_masks",
    "cosine_distance",
    "embedding_masks",
    "embeddings_per_speaker",
    "kaldi_fbank",
    "long_segments",
    "mel_matrix",
    "powerset_masks",
    "resnet_frames",
    "resnet_head",
    "segmentation_log_probs",
    "vggish_embeddings",
    "vggish_examples",
    "vggish_whitened",
]
