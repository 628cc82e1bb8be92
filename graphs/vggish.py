"""VGGish: log-mel examples to embeddings, and the PCA that AudioSet was published with.

Fully connected layers are convolutions of width 1 in which the examples lie along the length, so
that all examples share one multiplication, and 8-bit weights are stored as for any convolution.

Source of the numerics: ``vggish_slim.py`` and ``vggish_postprocess.py`` of Google's VGGish
(tensorflow/models, research/audioset/vggish).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from .vggish_frontend import VggishFrontend, VggishFrontendConfig

# What whitened embeddings are clipped to, and how many steps of 8 bits that range has.
QUANTISE_LIMIT = 2.0
QUANTISE_STEPS = 255.0
_POOLED_AFTER = (0, 1, 3, 5)


@dataclass(frozen=True)
class VggishConfig:
    """Sizes of the network; the defaults are Google's.

    ``rectified``: the embedding layer ends in a ReLU, as in the common PyTorch ports; Google's
    own ends without. ``whitened``: embeddings are whitened (PCA) and quantised as well.
    """

    channels: tuple[int, int, int, int, int, int] = (64, 128, 256, 256, 512, 512)
    hidden_size: int = 4096
    embedding_size: int = 128
    rectified: bool = True
    whitened: bool = False
    frontend: VggishFrontendConfig = field(default_factory=VggishFrontendConfig)

    @property
    def pooled_shape(self) -> tuple[int, int]:
        """(frames, mel bins) after four poolings: (6, 4)."""
        factor = 2 ** len(_POOLED_AFTER)
        return self.frontend.example_frames // factor, self.frontend.num_mel_bins // factor


class _ConvolutionStack(nn.Sequential):
    """3 x 3 convolutions with ReLU, pooled after the first, second, fourth and sixth."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for index, (inputs, outputs) in enumerate(zip((1, *channels), channels, strict=False)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            if index in _POOLED_AFTER:
                layers.append(nn.MaxPool2d(2))
        super().__init__(*layers)


class VggishNetwork(nn.Module):
    """Examples to embeddings.

    ``features.N`` and ``embeddings.N`` are numbered as in the common PyTorch ports.
    """

    def __init__(self, config: VggishConfig) -> None:
        super().__init__()
        frames, bins = config.pooled_shape
        hidden = config.hidden_size
        self.config = config
        self.features = _ConvolutionStack(config.channels)
        layers: list[nn.Module] = [
            nn.Conv1d(config.channels[-1] * frames * bins, hidden, 1),
            nn.ReLU(),
            nn.Conv1d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv1d(hidden, config.embedding_size, 1),
        ]
        self.embeddings = nn.Sequential(*layers, *([nn.ReLU()] if config.rectified else []))

    def load_original(self, state: Mapping[str, Tensor]) -> VggishNetwork:
        """Take the weights of the PyTorch layout; the caller's tensors stay as they are.

        Its first fully connected layer reads (frames, bins, channels); here channels come first,
        as convolutions give them, so that its weights are put into another order.
        """
        own = {name: value for name, value in state.items() if not name.startswith("pproc.")}
        frames, bins = self.config.pooled_shape
        first = own["embeddings.0.weight"].reshape(-1, frames, bins, self.config.channels[-1])
        own["embeddings.0.weight"] = first.permute(0, 3, 1, 2).flatten(1)
        for index in (0, 2, 4):
            name = f"embeddings.{index}.weight"
            own[name] = own[name].unsqueeze(-1)
        self.load_state_dict(own)
        return self

    def forward(self, examples: Tensor) -> Tensor:
        """(E, frames, bins) float32 -> (E, embedding_size) float32."""
        pooled = self.features(examples.unsqueeze(1)).flatten(1)
        vectors: Tensor = self.embeddings(pooled.transpose(0, 1).unsqueeze(0))
        return vectors.squeeze(0).transpose(0, 1)


class Whitening(nn.Module):
    """AudioSet's post-processing: PCA with whitening, clipped and quantised to 8 bits."""

    eigen_vectors: Tensor
    means: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("eigen_vectors", torch.eye(size))
        self.register_buffer("means", torch.zeros(size))

    def load_original(self, state: Mapping[str, Tensor]) -> Whitening:
        """Take ``pproc.pca_eigen_vectors`` (D, D) and ``pproc.pca_means`` (D, 1) or (D,)."""
        self.eigen_vectors.copy_(state["pproc.pca_eigen_vectors"])
        self.means.copy_(state["pproc.pca_means"].flatten())
        return self

    def forward(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) -> whitened, in [-2, 2], and quantised, whole numbers in [0, 255]; float32."""
        projected = torch.matmul(embeddings - self.means, self.eigen_vectors.transpose(0, 1))
        whitened = projected.clamp(-QUANTISE_LIMIT, QUANTISE_LIMIT)
        return whitened, self.quantise(whitened)

    @staticmethod
    def quantise(whitened: Tensor) -> Tensor:
        """[-2, 2] -> [0, 255], rounded down as by a cast to unsigned bytes."""
        scale = QUANTISE_STEPS / (2 * QUANTISE_LIMIT)
        return torch.floor((whitened + QUANTISE_LIMIT) * scale)


class Vggish(nn.Module):
    """From waveform to embeddings."""

    def __init__(self, config: VggishConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = VggishFrontend(config.frontend)
        self.network = VggishNetwork(config)
        self.whitening = Whitening(config.embedding_size) if config.whitened else None

    def load_original(self, state: Mapping[str, Tensor]) -> Vggish:
        """Take the weights of the PyTorch layout, with ``pproc.*`` where embeddings are whitened.

        The caller's tensors stay as they are.
        """
        self.network.load_original(state)
        if self.whitening is not None:
            self.whitening.load_original(state)
        return self

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        """(B, 1, N) float32 in [-1, 1] -> embeddings (B, E, D) float32.

        E as in ``VggishFrontend``. Where embeddings are whitened, the whitened and the quantised
        ones (B, E, D) follow.
        """
        examples = self.frontend(waveform)
        embeddings = self.network(examples.flatten(0, 1))
        embeddings = embeddings.unflatten(0, (waveform.shape[0], -1))
        if self.whitening is None:
            return (embeddings,)
        return embeddings, *self.whitening(embeddings)
