from __future__ import annotations

from typing import Any

import kaldi_native_fbank
import numpy as np
import numpy.typing as npt
import pytest
import torch
from signals import full_scale_noise, silence, speechlike
from voxport.export.reference import kaldi_fbank
from voxport.graphs import CAMPPLUS_FBANK, WESPEAKER_FBANK, FbankConfig, KaldiFbank

RECIPES = pytest.mark.parametrize(
    "config", [CAMPPLUS_FBANK, WESPEAKER_FBANK], ids=["campplus", "wespeaker"]
)


def kaldi_native(samples: npt.NDArray[np.float32], config: FbankConfig) -> npt.NDArray[Any]:
    """(T, 80) features by kaldi-native-fbank, a port of Kaldi's own C++."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.window_type = config.window
    options.frame_opts.samp_freq = config.sample_rate_hz
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = config.num_mel_bins
    fbank = kaldi_native_fbank.OnlineFbank(options)
    fbank.accept_waveform(config.sample_rate_hz, (samples * config.waveform_scale).tolist())
    fbank.input_finished()
    frames = [fbank.get_frame(index) for index in range(fbank.num_frames_ready)]
    return np.stack(frames)


def ours(samples: npt.NDArray[np.float32], config: FbankConfig) -> npt.NDArray[Any]:
    features = KaldiFbank(config)(torch.from_numpy(samples.copy())[None, None])
    assert features.dtype == torch.float32
    return np.asarray(features[0])


def assert_equals_kaldi(samples: npt.NDArray[np.float32], config: FbankConfig) -> None:
    """Kaldi itself works in float32: bins near the log floor carry its rounding."""
    features, expected = ours(samples, config), kaldi_native(samples, config)
    assert features.shape == expected.shape == (config.num_frames(len(samples)), 80)
    assert np.isfinite(features).all()
    difference = np.abs(features - expected)
    assert difference.max() < 2e-3
    assert difference.mean() < 1e-5


@RECIPES
def test_synthetic_speech_equals_kaldi(config: FbankConfig) -> None:
    assert_equals_kaldi(speechlike(160000, seed=1), config)


@RECIPES
def test_full_scale_noise_equals_kaldi(config: FbankConfig) -> None:
    assert_equals_kaldi(full_scale_noise(48000, seed=2), config)


@RECIPES
def test_real_speech_equals_kaldi(
    config: FbankConfig, sample_waveform: npt.NDArray[np.float32]
) -> None:
    assert_equals_kaldi(sample_waveform, config)


@RECIPES
@pytest.mark.parametrize("num_samples", [400, 401, 559, 560, 719, 720, 12345])
def test_lengths_equal_kaldi(config: FbankConfig, num_samples: int) -> None:
    assert_equals_kaldi(speechlike(num_samples, seed=3), config)


@pytest.mark.parametrize(
    ("num_samples", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (160000, 998)]
)
def test_number_of_frames(num_samples: int, frames: int) -> None:
    assert CAMPPLUS_FBANK.num_frames(num_samples) == frames


@RECIPES
def test_silence_is_the_log_floor(config: FbankConfig) -> None:
    features = ours(silence(1600), config)

    assert np.allclose(features, np.log(2.0**-23), rtol=0, atol=1e-6)


def test_the_log_floor_does_not_scale_with_the_waveform() -> None:
    """Quiet samples sink below the floor in one recipe and not in the other."""
    quiet = np.float32(3e-6) * full_scale_noise(1600, seed=4)
    floor = np.float32(np.log(2.0**-23))

    assert (ours(quiet, CAMPPLUS_FBANK) == floor).mean() > 0.9
    assert (ours(quiet, WESPEAKER_FBANK) > floor + 1).all()


@RECIPES
def test_a_constant_offset_changes_nothing(config: FbankConfig) -> None:
    samples = speechlike(16000, seed=5)

    # Only rounding: the offset is as large as the samples themselves.
    shifted = ours(samples + np.float32(0.4), config)
    assert np.abs(shifted - ours(samples, config)).mean() < 1e-2


def test_rows_of_a_batch_are_independent() -> None:
    rows = np.stack([speechlike(8000, seed=6), full_scale_noise(8000, seed=7), silence(8000)])

    batch = np.asarray(KaldiFbank(WESPEAKER_FBANK)(torch.from_numpy(rows)[:, None]))

    for row, features in zip(rows, batch, strict=True):
        assert np.abs(features - ours(row, WESPEAKER_FBANK)).max() < 1e-4


@RECIPES
def test_reference_equals_kaldi(config: FbankConfig) -> None:
    """The float64 reference that other tests rely on, held to the same library."""
    samples = speechlike(48000, seed=8)
    difference = np.abs(kaldi_fbank(samples, config) - kaldi_native(samples, config))

    assert difference.max() < 2e-3
    assert difference.mean() < 1e-5
