"""What voxport exports: pure torch modules, free of files, ONNX and CoreML.

Every module here is written so that tracing it yields a small, static graph: no ``unfold``,
``as_strided``, FFT, complex numbers, loops over frames or branches on data.
"""

from .campplus import CamPlusPlusConfig, CamPlusPlusTrunk
from .cosine import CosineDistance
from .embedding import SpeakerEmbedding
from .fbank import CAMPPLUS_FBANK, WESPEAKER_FBANK, FbankConfig, KaldiFbank
from .highlights import FrameRms, Highlights, HighlightsConfig, HighlightScore
from .masks import EmbeddingInputs, EmbeddingMasks, clean_masks, embedding_masks
from .mel_matrix import MelMatrix, MelMatrixConfig
from .pooling import masked_statistics, nearest_resample
from .post_embedding import PostEmbedding
from .powerset import Powerset, PowersetConfig
from .resnet import ResNetConfig, ResNetTrunk
from .segmentation import Segmentation, SegmentationConfig, SegmentationMasks
from .segmentation_windows import SegmentationWindows
from .vggish import Vggish, VggishConfig, VggishNetwork, Whitening
from .vggish_frontend import VggishFrontend, VggishFrontendConfig
from .window import DiarizationWindow

__all__ = [
    "CAMPPLUS_FBANK",
    "WESPEAKER_FBANK",
    "CamPlusPlusConfig",
    "CamPlusPlusTrunk",
    "CosineDistance",
    "DiarizationWindow",
    "EmbeddingInputs",
    "EmbeddingMasks",
    "FbankConfig",
    "FrameRms",
    "HighlightScore",
    "Highlights",
    "HighlightsConfig",
    "KaldiFbank",
    "MelMatrix",
    "MelMatrixConfig",
    "PostEmbedding",
    "Powerset",
    "PowersetConfig",
    "ResNetConfig",
    "ResNetTrunk",
    "Segmentation",
    "SegmentationConfig",
    "SegmentationMasks",
    "SegmentationWindows",
    "SpeakerEmbedding",
    "Vggish",
    "VggishConfig",
    "VggishFrontend",
    "VggishFrontendConfig",
    "VggishNetwork",
    "Whitening",
    "clean_masks",
    "embedding_masks",
    "masked_statistics",
    "nearest_resample",
]
