"""What the runtime needs to know about a graph, as metadata: no constants on its side."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..graphs import FbankConfig
from ..graphs.masks import MIN_NUM_SAMPLES
from .networks import Networks, fbank_config

# Cosine distance under which two embeddings of different windows count as one speaker. CAM++:
# the equal error rate (about 5 %) of window embeddings under human masks on ten far-field
# meeting clips. WeSpeaker: pyannote.audio 3.1's clustering threshold, 0.7045654963945799 as a
# Euclidean distance of unit vectors, hence d**2 / 2 as a cosine distance.
SAME_SPEAKER_DISTANCE = {"campplus": 0.42, "wespeaker": 0.7045654963945799**2 / 2}

# Euclidean distance between centroids of unit embeddings above which clusters stay apart. CAM++
# without its ReLU (docs/decisions/0004), masked pooling: in the middle of 0.75 to 0.78, where
# nothing collapses in either mode, neither on clips nor on ten minutes of them
# (docs/decisions/0009). WeSpeaker: speaker-diarization-3.1's.
CLUSTERING_THRESHOLD = {"campplus": 0.765, "wespeaker": 0.7045654963945799}


def powerset(networks: Networks) -> dict[str, Any]:
    config = networks.segmentation.config.powerset
    return {
        "classes": [list(members) for members in config.classes],
        "num_speakers": config.num_speakers,
        "max_simultaneous": config.max_simultaneous,
    }


def segmentation(networks: Networks) -> dict[str, Any]:
    config = networks.segmentation.config
    return {
        **powerset(networks),
        "sample_rate_hz": config.sample_rate_hz,
        "window_samples": config.window_samples,
        "window_frames": config.num_frames(config.window_samples),
        "hop_samples": config.hop_samples,
        "receptive_field_samples": config.receptive_field_samples,
        "frame_layers": [list(layer) for layer in config.strides],
    }


def segmentation_windows(networks: Networks) -> dict[str, Any]:
    return {
        **segmentation(networks),
        "start_multiple_samples": networks.segmentation.config.sinc_stride,
    }


def fbank(config: FbankConfig) -> dict[str, Any]:
    return {**asdict(config), "num_fft": config.num_fft, "centred": False}


def embedding(networks: Networks, family: str) -> dict[str, Any]:
    config = networks.embedding(family).config
    features = fbank_config(networks, family)
    return {
        "family": family,
        "sample_rate_hz": features.sample_rate_hz,
        "embedding_size": config.embedding_size,
        "l2_normalised": False,
        "same_speaker_distance": SAME_SPEAKER_DISTANCE[family],
        "clustering_threshold": CLUSTERING_THRESHOLD[family],
        "fbank": fbank(features),
        "min_samples": MIN_NUM_SAMPLES,
    }


def embedding_masks(networks: Networks) -> dict[str, Any]:
    config = networks.segmentation.config
    return {
        "overlap": "excluded",
        "window_samples": config.window_samples,
        "window_frames": config.num_frames(config.window_samples),
        "min_samples": MIN_NUM_SAMPLES,
    }


def post_embedding(
    step_s: float, activity_threshold_frames: float, min_duration_s: float
) -> dict[str, Any]:
    return {
        "step_s": step_s,
        "activity_threshold_frames": activity_threshold_frames,
        "min_duration_s": min_duration_s,
    }


def diarization_window(networks: Networks) -> dict[str, Any]:
    return {
        **segmentation(networks),
        "embedding": embedding(networks, networks.primary_family),
    }
