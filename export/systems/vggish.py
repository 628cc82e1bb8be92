"""VGGish's artifacts: the frontend, which needs no weights, and the network of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...graphs import Vggish, VggishConfig, VggishFrontend, VggishFrontendConfig, Whitening
from ...runtime.manifest import TensorSpec
from .. import reference
from ..configuration import Configurations, recorded
from ..errors import ExportError
from ..networks import Networks
from ..specs import WAVEFORM, ExportSpec, Int8, OutputKind
from ..verification.cases import Arrays, Case, FloatArray, Speech, full_scale_noise
from ..verification.references import Independent

FRONTEND, NETWORK = "vggish_frontend", "vggish"
_BATCH = 4


def frontend_recipe(config: VggishFrontendConfig) -> dict[str, Any]:
    """How a waveform becomes examples."""
    return {
        **recorded(config),
        "sample_rate_hz": config.sample_rate_hz,
        "num_fft": config.num_fft,
        "window_samples": config.example_samples,
        "step_samples": config.example_hop_samples,
        "window": "periodic hann",
        "spectrum": "magnitude",
        "centred": False,
    }


def network_recipe(config: VggishConfig) -> dict[str, Any]:
    """What the runtime needs to know of the network."""
    return {
        **frontend_recipe(config.frontend),
        "embedding_size": config.embedding_size,
        "rectified": config.rectified,
        "whitened": config.whitened,
    }


def frontend_spec(config: VggishFrontendConfig) -> ExportSpec:
    """Log-mel examples; FP32 only, as the features of speaker networks."""
    return ExportSpec(
        name=FRONTEND,
        build=lambda _: VggishFrontend(config),
        inputs=(WAVEFORM,),
        outputs=(
            TensorSpec(
                "examples",
                "float32",
                ("batch", "examples", config.example_frames, config.num_mel_bins),
            ),
        ),
        kinds={"examples": "log_mel"},
        traced={"batch": 2, "samples": config.example_samples},
        cases=lambda _, speech: cases(speech, config),
        reference=FrontendReference(config),
        recipe=lambda _: frontend_recipe(config),
        max_nodes=21,
        minimums={"samples": config.example_samples},
    )


def network_spec(networks: Networks, frontend: VggishFrontendConfig) -> ExportSpec:
    """From waveform to embeddings, and where the checkpoint has a PCA what AudioSet makes of it.

    Raises:
        ExportError: a frontend that the network was not trained on.
    """
    trained = VggishFrontendConfig(example_hop_frames=frontend.example_hop_frames)
    if frontend != trained:
        raise ExportError(
            f"{NETWORK} was trained on Google's features: only example_hop_frames can be chosen"
        )
    config = replace(networks.required_vggish().config, frontend=frontend)
    kinds: dict[str, OutputKind] = {"embeddings": "vectors"}
    if config.whitened:
        kinds |= {"whitened": "vectors", "quantised": "quantised"}
    return ExportSpec(
        name=NETWORK,
        build=lambda n: Vggish(config).load_original(n.required_vggish().state),
        inputs=(WAVEFORM,),
        outputs=tuple(
            TensorSpec(name, "float32", ("batch", "examples", config.embedding_size))
            for name in kinds
        ),
        kinds=kinds,
        traced={"batch": 2, "samples": frontend.example_samples},
        cases=lambda _, speech: cases(speech, frontend),
        reference=NetworkReference(config),
        recipe=lambda _: network_recipe(config),
        max_nodes=63,
        requires=("vggish", "vggish_pca") if config.whitened else ("vggish",),
        minimums={"samples": frontend.example_samples},
        half_scopes=("/network/",),
        int8=Int8(weight_scopes=("/network/",)),
    )


def vggish_specs(networks: Networks, configurations: Configurations) -> list[ExportSpec]:
    """The frontend, and the network where there is a checkpoint of it."""
    specs = [frontend_spec(configurations[FRONTEND])]
    if networks.vggish is not None:
        specs.append(network_spec(networks, configurations[NETWORK]))
    return specs


def cases(speech: Speech, config: VggishFrontendConfig) -> list[Case]:
    """Single examples, then several in a row, lengths around whole ones, silence and noise."""
    windows = speech.windows()
    length, hop = config.example_samples, config.example_hop_samples
    single = [
        Case(f"speech {start}-{start + len(part) - 1}", {"waveform": part})
        for start in range(0, len(windows), _BATCH)
        for part in [np.ascontiguousarray(windows[start : start + _BATCH, :, :length])]
    ]
    lengths = (length + hop - 1, length + hop, length + 2 * hop + 77)
    times_s = np.arange(length) / config.sample_rate_hz
    tone = np.sin(2 * np.pi * 440.0 * times_s)
    return [
        *single,
        *(_case(f"{n} samples", windows[i : i + 2, :, :n]) for i, n in enumerate(lengths)),
        _case("silence", np.zeros((1, 1, length))),
        _case("constant offset", np.full((1, 1, length), 0.5)),
        _case("full-scale noise", full_scale_noise(2, length)),
        _case("tone", tone[None, None]),
    ]


def _case(name: str, waveform: npt.NDArray[np.floating]) -> Case:
    samples: FloatArray = np.ascontiguousarray(waveform, np.float32)
    return Case(name, {"waveform": samples})


@dataclass(frozen=True)
class FrontendReference(Independent):
    """Google's formulas."""

    config: VggishFrontendConfig

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:  # noqa: ARG002
        return {"examples": _examples(inputs, self.config)}


def _examples(inputs: Arrays, config: VggishFrontendConfig) -> npt.NDArray[np.float64]:
    return np.stack([reference.vggish_examples(each[0], config) for each in inputs["waveform"]])


@dataclass(frozen=True)
class NetworkReference:
    """The original network on Google's features."""

    config: VggishConfig

    def __call__(self, networks: Networks, inputs: Arrays) -> Arrays:
        state, rectified = networks.required_vggish().state, self.config.rectified
        examples = _examples(inputs, self.config.frontend)
        flat = torch.from_numpy(examples).flatten(0, 1)
        vectors = reference.vggish_embeddings(state, flat, rectified=rectified).numpy()
        outputs: Arrays = {"embeddings": vectors}
        if self.config.whitened:
            whitened, quantised = reference.vggish_whitened(state, vectors)
            outputs |= {"whitened": whitened, "quantised": quantised}
        shape = examples.shape[:2]
        return {name: array.reshape(*shape, -1) for name, array in outputs.items()}

    def given(self, module: nn.Module, inputs: Arrays, observed: Arrays) -> Arrays:  # noqa: ARG002
        """The bytes of the whitened embeddings that are shown beside them."""
        if "whitened" not in observed:
            return {}
        whitened = torch.from_numpy(observed["whitened"])
        return {"quantised": Whitening.quantise(whitened).numpy()}
