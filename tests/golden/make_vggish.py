"""Make ``vggish.npz``: what the PyPI package torchvggish computes, with seeded weights.

Run it in an environment with torch and torchvggish 0.2 (``pip install --no-deps torchvggish``),
from this folder. The weights are drawn again from the seed wherever they are needed; only inputs'
answers are stored. Its frontend is Google's own ``mel_features.py``.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import torch

_TESTS = Path(__file__).resolve().parents[1]
SEED, SAMPLES_SEED, NUM_SAMPLES = 11, 12, 3 * 16000


def main() -> None:
    sys.path.insert(0, str(_TESTS))
    from seeded import fingerprint  # noqa: PLC0415
    from seeded_vggish import GOLDEN, vggish_state  # noqa: PLC0415
    from signals import speechlike  # noqa: PLC0415

    # Needed for other rates only, and by nothing that runs here.
    sys.modules.setdefault("resampy", types.ModuleType("resampy"))
    frontend = importlib.import_module("torchvggish.vggish_input")
    network = importlib.import_module("torchvggish.torchvggish")

    samples = speechlike(NUM_SAMPLES, SAMPLES_SEED)
    examples = frontend.waveform_to_examples(samples, 16000, return_tensor=False)
    state = vggish_state(GOLDEN, SEED)
    module = network._vgg(postprocess=False)
    own = {k: torch.from_numpy(v) for k, v in state.items() if not k.startswith("pproc.")}
    module.load_state_dict(own)
    pca = network.Postprocessor.__new__(network.Postprocessor)
    pca._pca_matrix = torch.from_numpy(state["pproc.pca_eigen_vectors"])
    pca._pca_means = torch.from_numpy(state["pproc.pca_means"])
    with torch.no_grad():
        embeddings = module.eval()(torch.from_numpy(examples[:, None]).float())
        quantised = pca.postprocess(embeddings)
    np.savez_compressed(
        Path(__file__).with_name("vggish.npz"),
        examples=examples.astype(np.float64),
        embeddings=embeddings.numpy(),
        # Rounded to the nearest step, where Google rounds down.
        rounded=quantised.numpy(),
        fingerprint=np.array(fingerprint(state)),
    )


if __name__ == "__main__":
    main()
