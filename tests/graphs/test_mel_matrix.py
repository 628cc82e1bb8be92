"""``mel_matrix`` against librosa's own arrays, librosa itself, and the float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from mel_recipes import RECIPES, waveform
from signals import full_scale_noise, silence, speechlike
from voxport.export import reference
from voxport.graphs import MelMatrix, MelMatrixConfig

Array = npt.NDArray[Any]
SHORT = MelMatrixConfig(sample_length=0.5)
EVERY_RECIPE = pytest.mark.parametrize("name", RECIPES)
# librosa's default range. Further below, rounding of the DFT to float32 shows.
LOUD_DB = 80.0


def ours(samples: Array, config: MelMatrixConfig) -> Array:
    """(L, S, n_mels, frames) float32 of one waveform."""
    matrix = MelMatrix(config)(torch.from_numpy(samples.copy())[None])
    assert matrix.dtype == torch.float32
    assert matrix.shape == (1, *config.shape)
    return np.asarray(matrix[0])


def assert_equal(found: Array, expected: Array, config: MelMatrixConfig) -> None:
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    if config.scale == "power":
        # A millionth of powers above 100: 2e-4 of 230 is what float32 leaves of them.
        assert np.abs(found - expected).max() < 1e-4 * max(1.0, expected.max() / 100)
        return
    loud = expected >= expected.max(axis=(-2, -1), keepdims=True) - LOUD_DB
    assert loud.mean() > 0.4
    assert np.abs(found - expected)[loud].max() < 1e-3


def test_the_defaults() -> None:
    config = MelMatrixConfig()
    assert config.num_samples == 40960
    assert config.long_segment_points == 1024
    assert config.shape == (40, 2, 64, 17)


@EVERY_RECIPE
def test_equals_librosa(name: str, golden: Callable[[str], dict[str, Array]]) -> None:
    config = MelMatrixConfig(**RECIPES[name])
    assert_equal(ours(waveform(name), config), golden("mel")[name], config)


@EVERY_RECIPE
def test_the_reference_equals_librosa(name: str, golden: Callable[[str], dict[str, Array]]) -> None:
    """The float64 reference that verification relies on, held to the same arrays."""
    config = MelMatrixConfig(**RECIPES[name])
    assert_equal(reference.mel_matrix(waveform(name), config), golden("mel")[name], config)


@EVERY_RECIPE
def test_equals_the_reference_on_noise(name: str) -> None:
    config = MelMatrixConfig(**RECIPES[name])
    samples = full_scale_noise(config.num_samples, seed=2)
    assert_equal(ours(samples, config), reference.mel_matrix(samples, config), config)


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize("sample_rate", [4096, 22050])
def test_filters_equal_librosa(mel_scale: Any, norm: Any, sample_rate: int) -> None:
    librosa = pytest.importorskip("librosa", reason="needs librosa: pip install librosa")
    config = replace(SHORT, mel_scale=mel_scale, norm=norm, sample_rate=sample_rate, n_fft=1024)
    expected = librosa.filters.mel(
        sr=sample_rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        htk=mel_scale == "htk",
        norm=None if norm == "none" else norm,
        dtype=np.float64,
    )
    assert np.abs(config.filters.weights() - expected).max() < 1e-12


@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
def test_real_speech_equals_librosa(
    mel_scale: Any, sample_waveform: npt.NDArray[np.float32]
) -> None:
    librosa = pytest.importorskip("librosa", reason="needs librosa: pip install librosa")
    config = replace(SHORT, sample_rate=16000, n_fft=512, hop_length=160, mel_scale=mel_scale)
    samples = sample_waveform[80000 : 80000 + config.num_samples]
    points = config.short_segment_points
    by_long = samples.reshape(config.long_segments, config.long_segment_points)
    segments = by_long[:, : config.short_segments * points].reshape(
        config.long_segments, config.short_segments, points
    )
    expected = librosa.feature.melspectrogram(
        y=segments,
        sr=config.sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        htk=mel_scale == "htk",
    )
    assert_equal(ours(samples, config), expected, config)
    decibels = replace(config, scale="db", ref="max")
    assert_equal(
        ours(samples, decibels),
        np.array([[librosa.power_to_db(each, ref=np.max) for each in row] for row in expected]),
        decibels,
    )


def test_a_segment_sees_no_other() -> None:
    samples = speechlike(SHORT.num_samples, seed=3)
    alone = samples.copy()
    alone[:512] = 0
    alone[1024:] = 0
    whole, single = ours(samples, SHORT), ours(alone, SHORT)
    assert np.array_equal(whole[0, 1], single[0, 1])
    assert not single[0, 0].any()
    assert not single[1].any()


def test_what_fills_no_segment_is_in_none() -> None:
    name = "with_a_rest"
    config = MelMatrixConfig(**RECIPES[name])
    assert (config.long_segment_rest, config.shape) == (700, (2, 3, 40, 7))
    samples = waveform(name)
    other = samples.copy()
    other[3300:4000] = 1
    other[8000:] = 1
    assert np.array_equal(ours(samples, config), ours(other, config))


def test_rows_of_a_batch_are_independent() -> None:
    rows = np.stack([speechlike(2048, seed=6), full_scale_noise(2048, seed=7), silence(2048)])
    batch = np.asarray(MelMatrix(SHORT)(torch.from_numpy(rows)))
    for row, matrix in zip(rows, batch, strict=True):
        assert np.abs(matrix - ours(row, SHORT)).max() < 1e-5


@pytest.mark.parametrize(("ref", "expected"), [(1.0, -100.0), ("max", 0.0), (100.0, -120.0)])
def test_silence_in_decibels(ref: Any, expected: float) -> None:
    matrix = ours(silence(2048), replace(SHORT, scale="db", ref=ref))
    assert np.abs(matrix - expected).max() < 1e-4


def test_no_value_is_further_below_its_segment_than_top_db() -> None:
    config = replace(SHORT, scale="db", top_db=30.0)
    matrix = ours(speechlike(2048, seed=8), config)
    spread = matrix.max(axis=(-2, -1)) - matrix.min(axis=(-2, -1))
    assert spread == pytest.approx(30.0, abs=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sample_rate": 0}, "sample_rate must be 1 to"),
        ({"n_mels": 2**40}, "n_mels must be 1 to"),
        ({"sample_length": 0.0}, "sample_length must be above 0"),
        ({"amin": -1.0}, "amin must be above 0"),
        ({"fmax": 2049.0}, "must ascend between 0 and half"),
        ({"fmin": 500.0, "fmax": 400.0}, "must ascend between 0 and half"),
        ({"ref": 0.0}, "ref must be max or above 0"),
        ({"top_db": -1.0}, "top_db must be none or 0 or more"),
        ({"short_segment_points": 1025}, "is 1024 samples, fewer than short_segment_points"),
        ({"sample_length": 0.2}, "sample_length 0.2 s is less than long_segment_scale"),
        ({"center": False, "n_fft": 513}, "n_fft 513 is more than short_segment_points"),
        ({"pad_mode": "reflect", "n_fft": 1024}, "cannot be reflected by"),
        ({"n_fft": 2}, "no bin of n_fft 2"),
    ],
)
def test_configurations_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(MelMatrixConfig(), **wrong)
