"""VGGish's frontend against Google's formulas, its network layer by layer, and its PCA."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from seeded_networks import tensors
from seeded_vggish import TINY, vggish_state
from signals import full_scale_noise, silence, speechlike
from voxport.export import reference
from voxport.graphs import (
    Vggish,
    VggishFrontend,
    VggishFrontendConfig,
    VggishNetwork,
    Whitening,
)

Samples = npt.NDArray[np.float32]
GOOGLE = VggishFrontendConfig()
TEN_SECONDS = 160000


def _examples(samples: Samples, config: VggishFrontendConfig = GOOGLE) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        return VggishFrontend(config)(torch.from_numpy(samples)[None, None])[0].numpy()


def _tone(frequency_hz: float) -> Samples:
    """Of full scale: what bands hold that hear nothing of it is rounding, in proportion to it."""
    times_s = np.arange(TEN_SECONDS) / 16000
    return np.sin(2 * np.pi * frequency_hz * times_s).astype(np.float32)


SIGNALS = {
    "speech": speechlike(TEN_SECONDS, 1),
    "noise": full_scale_noise(TEN_SECONDS, 2),
    "silence": silence(TEN_SECONDS),
    "offset": np.ones(TEN_SECONDS, np.float32),
    **{
        f"{frequency_hz} Hz": _tone(frequency_hz)
        for frequency_hz in (60, 440, 997, 3721, 7300, 7837)
    },
    "16-bit tone": (np.round(_tone(440.0) * 32767) / 32768).astype(np.float32),
    "clipped tone": np.clip(3 * _tone(440.0), -1, 1),
    "quiet": (1e-4 * speechlike(TEN_SECONDS, 3)).astype(np.float32),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_examples_are_those_of_the_formulas(name: str) -> None:
    expected = reference.vggish_examples(SIGNALS[name], GOOGLE)
    observed = _examples(SIGNALS[name])
    assert observed.shape == expected.shape == (10, 96, 64)
    # 1e-5 is measured; in one convolution tones would come to 2.7e-4.
    assert np.abs(observed - expected).max() < 3e-5


def test_silence_is_the_logarithm_of_the_offset() -> None:
    np.testing.assert_allclose(_examples(silence(15600)), np.log(0.01), rtol=1e-6)


def test_sizes_are_googles() -> None:
    assert (GOOGLE.num_fft, GOOGLE.example_samples, GOOGLE.example_hop_samples) == (
        512,
        15600,
        15360,
    )


@pytest.mark.parametrize(
    ("num_samples", "count"),
    [(15599, 0), (15600, 1), (30959, 1), (30960, 2), (160000, 10)],
)
def test_examples_are_whole(num_samples: int, count: int) -> None:
    assert GOOGLE.num_examples(num_samples) == count
    if count:
        assert len(_examples(speechlike(num_samples, 4))) == count


@pytest.mark.parametrize("hop", [1, 48, 95])
def test_examples_may_overlap(hop: int) -> None:
    config = VggishFrontendConfig(example_hop_frames=hop)
    samples = speechlike(40000, 5)
    expected = reference.vggish_examples(samples, config)
    observed = _examples(samples, config)
    assert len(expected) == config.num_examples(40000) > 1
    assert np.abs(observed - expected).max() < 1e-4


def test_an_example_needs_its_own_samples_only() -> None:
    samples = speechlike(TEN_SECONDS, 6)
    whole = _examples(samples)
    for index in (0, 4, 9):
        start = index * GOOGLE.example_hop_samples
        alone = _examples(samples[start : start + GOOGLE.example_samples])
        np.testing.assert_allclose(alone[0], whole[index], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"example_hop_frames": 0},
        {"example_hop_frames": 97},
        {"num_mel_bins": 0},
        {"low_frequency_hz": 7500.0},
        {"high_frequency_hz": 8001.0},
        {"log_offset": 0.0},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VggishFrontendConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("rectified", [True, False])
def test_the_network_is_the_original(rectified: bool) -> None:
    config = replace(TINY, rectified=rectified)
    state = tensors(vggish_state(config, 1))
    examples = torch.from_numpy(_examples(SIGNALS["speech"]))
    with torch.no_grad():
        observed = VggishNetwork(config).load_original(state)(examples)
    expected = reference.vggish_embeddings(state, examples.double(), rectified=rectified)
    assert observed.shape == (10, TINY.embedding_size)
    # Some values lie on either side of zero, so that the last ReLU shows.
    assert bool((observed < 0).any()) is not rectified
    np.testing.assert_allclose(observed, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_loading_leaves_the_state_as_it_was() -> None:
    state = tensors(vggish_state(TINY, 1))
    before = {name: value.clone() for name, value in state.items()}
    Vggish(TINY).load_original(state)
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_batches_are_embedded_row_by_row() -> None:
    module = Vggish(TINY).load_original(tensors(vggish_state(TINY, 2)))
    rows = np.stack([speechlike(50000, seed) for seed in (1, 2, 3)])[:, None]
    with torch.no_grad():
        (together,) = module(torch.from_numpy(rows))
        alone = [module(torch.from_numpy(row[None]))[0][0] for row in rows]
    assert together.shape == (3, 3, TINY.embedding_size)
    for row, observed in zip(together, alone, strict=True):
        np.testing.assert_allclose(row, observed, rtol=0, atol=1e-5)


def _whitening(size: int) -> tuple[Whitening, dict[str, torch.Tensor]]:
    rng = np.random.default_rng(0)
    state = {
        "pproc.pca_eigen_vectors": torch.from_numpy(rng.standard_normal((size, size))).float(),
        "pproc.pca_means": torch.from_numpy(rng.standard_normal((size, 1))).float(),
    }
    return Whitening(size).load_original(state), state


def test_whitening_is_the_original() -> None:
    module, state = _whitening(8)
    embeddings = np.random.default_rng(1).standard_normal((50, 8)).astype(np.float32)
    whitened, quantised = module(torch.from_numpy(embeddings))
    expected, expected_bytes = reference.vggish_whitened(state, embeddings.astype(np.float64))
    np.testing.assert_allclose(whitened, expected, rtol=0, atol=1e-5)
    # Clipped at both ends, and rounded down in between.
    assert {0.0, 255.0} <= set(quantised.unique().tolist())
    changed = quantised.numpy() != expected_bytes
    assert changed.mean() < 0.01
    assert np.abs(quantised.numpy() - expected_bytes).max() <= 1


def test_bytes_are_rounded_down() -> None:
    steps = torch.tensor([-2.0, -1.99, 0.0, 1.99, 2.0])
    assert Whitening.quantise(steps).tolist() == [0, 0, 127, 254, 255]
