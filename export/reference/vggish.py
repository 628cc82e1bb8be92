"""Google's VGGish, step by step, in float64: a real FFT per frame, NHWC as in TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.signal import get_window
from torch import Tensor
from torch.nn import functional

from ...graphs import VggishFrontendConfig

Array = npt.NDArray[np.float64]
# The convolutions in the PyTorch layout, and whether a pooling follows.
_CONVOLUTIONS = ((0, True), (3, True), (6, False), (8, True), (11, False), (13, True))


def vggish_examples(samples: npt.NDArray[np.floating], config: VggishFrontendConfig) -> Array:
    """(N,) samples in [-1, 1] -> (E, example_frames, num_mel_bins) log-mel examples."""
    frames = _cut(samples.astype(np.float64), config.frame_length_samples, config.hop_samples)
    window = get_window("hann", config.frame_length_samples, fftbins=True)
    magnitudes = np.abs(np.fft.rfft(frames * window, config.num_fft))
    log_mel = np.log(magnitudes @ _mel_weights(config) + config.log_offset)
    return _cut(log_mel, config.example_frames, config.example_hop_frames)


def _cut(rows: Array, length: int, hop: int) -> Array:
    """Every whole piece of ``length`` rows, ``hop`` rows apart."""
    starts = range(0, len(rows) - length + 1, hop)
    return np.stack([rows[start : start + length] for start in starts])


def _mel_weights(config: VggishFrontendConfig) -> Array:
    """(num_fft // 2 + 1, num_mel_bins), weight by weight."""

    def mel(frequency_hz: float) -> float:
        return float(1127.0 * np.log(1.0 + frequency_hz / 700.0))

    low, high = mel(config.low_frequency_hz), mel(config.high_frequency_hz)
    step = (high - low) / (config.num_mel_bins + 1)
    weights = np.zeros((config.num_fft // 2 + 1, config.num_mel_bins))
    for row in range(1, len(weights)):
        position = (mel(row * config.sample_rate_hz / config.num_fft) - low) / step
        for column in range(config.num_mel_bins):
            weights[row, column] = max(0.0, 1.0 - abs(position - column - 1))
    return weights


def vggish_embeddings(state: Mapping[str, Tensor], examples: Tensor, *, rectified: bool) -> Tensor:
    """(E, frames, bins) -> (E, embedding_size), with the weights of the PyTorch layout."""
    maps = examples.unsqueeze(1)
    for number, is_pooled in _CONVOLUTIONS:
        weight, bias = _layer(state, f"features.{number}")
        maps = functional.conv2d(maps, weight, bias, padding=1).relu()
        maps = functional.max_pool2d(maps, 2) if is_pooled else maps
    vectors = maps.permute(0, 2, 3, 1).flatten(1)
    for number in (0, 2, 4):
        weight, bias = _layer(state, f"embeddings.{number}")
        vectors = vectors @ weight.T + bias
        vectors = vectors.relu() if number < 4 or rectified else vectors
    return vectors


def _layer(state: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return state[f"{name}.weight"].double(), state[f"{name}.bias"].double()


def vggish_whitened(state: Mapping[str, Tensor], embeddings: Array) -> tuple[Array, Array]:
    """(E, D) -> whitened in [-2, 2], and the bytes 0 to 255 that AudioSet stores."""
    matrix = state["pproc.pca_eigen_vectors"].double().numpy()
    means = state["pproc.pca_means"].double().numpy().reshape(-1)
    rows = [np.clip(matrix @ (vector - means), -2.0, 2.0) for vector in embeddings]
    whitened = np.stack(rows)
    return whitened, ((whitened + 2.0) * (255.0 / 4.0)).astype(np.uint8).astype(np.float64)
