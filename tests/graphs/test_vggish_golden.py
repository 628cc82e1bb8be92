"""VGGish in its full size against independent implementations, with the same seeded weights.

``golden/vggish.npz`` holds what torchvggish 0.2 computes (see ``golden/make_vggish.py``); where
the packages are installed, they are run as well.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from seeded import State, fingerprint
from seeded_networks import tensors
from seeded_vggish import GOLDEN, vggish_state
from signals import speechlike
from voxport.export import reference
from voxport.graphs import Vggish, VggishFrontendConfig
from voxport.graphs.vggish import VggishNetwork

Arrays = dict[str, npt.NDArray[Any]]
SEED, SAMPLES_SEED, NUM_SAMPLES = 11, 12, 3 * 16000
SAMPLES = speechlike(NUM_SAMPLES, SAMPLES_SEED)


@pytest.fixture(scope="module")
def theirs(golden: Callable[[str], Arrays]) -> Arrays:
    return golden("vggish")


@pytest.fixture(scope="module")
def state() -> State:
    return vggish_state(GOLDEN, SEED)


@pytest.fixture(scope="module")
def ours(state: State) -> list[npt.NDArray[np.float32]]:
    """Embeddings, whitened and quantised, each (3, 128)."""
    module = Vggish(GOLDEN).load_original(tensors(state))
    with torch.no_grad():
        outputs = module(torch.from_numpy(SAMPLES)[None, None])
    return [output[0].numpy() for output in outputs]


def _close(observed: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    """Measured: 4e-7 of the largest number, by rounding in another order."""
    assert np.abs(observed - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_weights_are_those_of_the_golden_arrays(state: State, theirs: Arrays) -> None:
    assert fingerprint(state) == pytest.approx(float(theirs["fingerprint"]), rel=1e-9)


def test_the_formulas_are_googles(theirs: Arrays) -> None:
    formulas = reference.vggish_examples(SAMPLES, VggishFrontendConfig())
    assert formulas.shape == (3, 96, 64)
    np.testing.assert_allclose(formulas, theirs["examples"], rtol=0, atol=1e-10)


def test_embeddings_are_those_of_torchvggish(
    ours: list[npt.NDArray[np.float32]], theirs: Arrays
) -> None:
    assert (theirs["embeddings"] > 0).mean() > 0.2
    _close(ours[0], theirs["embeddings"])


def test_bytes_are_those_of_torchvggish_rounded_down(
    ours: list[npt.NDArray[np.float32]], theirs: Arrays
) -> None:
    _, whitened, quantised = ours
    # torchvggish rounds to the nearest step and Google, whose arithmetic this is, down.
    steps = (whitened + 2) * 63.75
    assert np.abs(steps - theirs["rounded"]).max() < 0.501
    np.testing.assert_array_equal(quantised, np.floor(steps))


def test_torchvggish_itself(
    state: State, ours: list[npt.NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resampy", types.ModuleType("resampy"))
    reason = "needs torchvggish: pip install --no-deps torchvggish"
    frontend = pytest.importorskip("torchvggish.vggish_input", reason=reason)
    network = pytest.importorskip("torchvggish.torchvggish", reason=reason)
    examples = frontend.waveform_to_examples(SAMPLES, 16000, return_tensor=False)
    module = network._vgg(postprocess=False)
    module.load_state_dict(_without_pca(state))
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(examples[:, None]).float())
    _close(ours[0], expected.numpy())


def test_torch_vggish_yamnet_itself(
    state: State, theirs: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its frontend needs torchaudio, and centres frames as no other VGGish does: the network alone
    # is compared.
    transforms = types.ModuleType("torchaudio.transforms")
    transforms.MelSpectrogram = object  # type: ignore[attr-defined]
    torchaudio = types.ModuleType("torchaudio")
    torchaudio.transforms = transforms  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchaudio", torchaudio)
    monkeypatch.setitem(sys.modules, "torchaudio.transforms", transforms)
    reason = "needs torch-vggish-yamnet: pip install --no-deps torch-vggish-yamnet"
    pytest.importorskip("torch_vggish_yamnet", reason=reason)
    model = pytest.importorskip("torch_vggish_yamnet.vggish.model", reason=reason)
    module = model.VGGish()
    module.load_state_dict(_without_pca(state))
    examples = torch.from_numpy(theirs["examples"]).float()
    with torch.no_grad():
        expected = module.eval()(examples[:, None])
        observed = VggishNetwork(GOLDEN).load_original(tensors(state))(examples)
    _close(observed.numpy(), expected.numpy())


def _without_pca(state: State) -> dict[str, torch.Tensor]:
    return tensors({k: v for k, v in state.items() if not k.startswith("pproc.")})
