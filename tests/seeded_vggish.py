"""VGGish checkpoints of any size from a seed, in every layout that there is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from seeded import State, seeded_state
from voxport.export.checkpoints.vggish import expected_vggish
from voxport.graphs import VggishConfig

# Google's sizes, as in ``golden/vggish.npz``.
GOLDEN = VggishConfig(whitened=True)
TINY = VggishConfig(channels=(4, 6, 8, 8, 12, 16), hidden_size=24, embedding_size=10)
# The PyTorch layout's names, and TensorFlow's: written out here, not taken from the loader.
_NAMES = {
    "features.0": "vggish/conv1",
    "features.3": "vggish/conv2",
    "features.6": "vggish/conv3/conv3_1",
    "features.8": "vggish/conv3/conv3_2",
    "features.11": "vggish/conv4/conv4_1",
    "features.13": "vggish/conv4/conv4_2",
    "embeddings.0": "vggish/fc1/fc1_1",
    "embeddings.2": "vggish/fc1/fc1_2",
    "embeddings.4": "vggish/fc2",
}


def vggish_state(config: VggishConfig, seed: int) -> State:
    """The PyTorch layout; the PCA, where there is one, is seeded noise as well."""
    return seeded_state(expected_vggish(config), seed)


def tensorflow_variables(state: State) -> dict[str, npt.NDArray[np.generic]]:
    """The same weights as TensorFlow names and orders them: (height, width, in, out)."""
    variables = {}
    for name, scope in _NAMES.items():
        weight = state[f"{name}.weight"]
        order = (2, 3, 1, 0) if weight.ndim == 4 else (1, 0)
        variables[f"{scope}/weights"] = np.ascontiguousarray(weight.transpose(order))
        variables[f"{scope}/biases"] = state[f"{name}.bias"]
    return variables
