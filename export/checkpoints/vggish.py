"""VGGish checkpoints: the common PyTorch layout, and TensorFlow's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ...graphs import VggishConfig, VggishFrontendConfig
from ..errors import MissingTensorError, UnsupportedArchitectureError
from .content import Content
from .loading import Provenance, read_user_file, user_provenance
from .tensorflow import read_tensorflow, tensorflow_table
from .tensors import checked_state, dimensions

# Convolutions and fully connected layers: the PyTorch layout's names, and TensorFlow's.
_CONVOLUTIONS: Mapping[str, str] = {
    "features.0": "vggish/conv1",
    "features.3": "vggish/conv2",
    "features.6": "vggish/conv3/conv3_1",
    "features.8": "vggish/conv3/conv3_2",
    "features.11": "vggish/conv4/conv4_1",
    "features.13": "vggish/conv4/conv4_2",
}
_FULLY_CONNECTED: Mapping[str, str] = {
    "embeddings.0": "vggish/fc1/fc1_1",
    "embeddings.2": "vggish/fc1/fc1_2",
    "embeddings.4": "vggish/fc2",
}
_PCA = "pproc."
_PCA_NAMES = ("pca_eigen_vectors", "pca_means")
_TF_SCOPE = "vggish/"
_TF_SUFFIX = ":0"
_TF_VARIABLES = frozenset(
    f"{scope}/{kind}"
    for scope in (*_CONVOLUTIONS.values(), *_FULLY_CONNECTED.values())
    for kind in ("weights", "biases")
)


@dataclass(frozen=True)
class VggishCheckpoint:
    """A VGGish: ``state`` has the names and shapes that ``Vggish.load_original`` takes.

    ``pca`` is where the PCA of its post-processing came from; None if there is none.
    """

    provenance: Provenance
    config: VggishConfig
    state: dict[str, Tensor]
    path: Path
    pca: Provenance | None = None


def load_vggish(
    path: Path,
    pca_path: Path | None = None,
    *,
    rectified: bool | None = None,
    frontend: VggishFrontendConfig | None = None,
) -> VggishCheckpoint:
    """Load a VGGish from a user's file: none is fetched.

    ``path`` may be a state dict of the common PyTorch ports (``features.N.weight``,
    ``embeddings.N.weight``; ``torch.save`` or safetensors), a checkpoint of TensorFlow itself
    (version 1: ``vggish_model.ckpt``; version 2: its prefix or its ``.index``, beside its data
    files) or TensorFlow's variables by name (``vggish/conv1/weights`` and so on; ``.npz`` or
    safetensors). Variables of an optimiser or of another scope are left out. ``pca_path`` holds
    ``pca_eigen_vectors`` and ``pca_means`` (``.npz``, ``torch.save`` or safetensors), which the
    PyTorch layout may hold itself, as ``pproc.*``. ``rectified`` says whether the embedding layer
    ends in a ReLU; by default it does in the PyTorch layout and not in TensorFlow's, as in their
    implementations.

    The state's tensors are finite CPU float32. No code from the files is run.

    Raises UnsafeCheckpointError, CorruptCheckpointError, UnsupportedArchitectureError,
    MissingTensorError, UnexpectedTensorError, TensorShapeError and CheckpointNotFoundError.
    """
    content, provenance = _read(path)
    is_tensorflow = any(name.startswith(_TF_SCOPE) for name in content.state)
    if is_tensorflow:
        content = content.with_state(_from_tensorflow(content))
    pca = None
    if pca_path is not None:
        found, pca = read_user_file(pca_path)
        content = _with_pca(content, found)
    elif any(name.startswith(_PCA) for name in content.state):
        pca = provenance
    config = vggish_config(content, frontend or VggishFrontendConfig())
    config = replace(config, rectified=not is_tensorflow if rectified is None else rectified)
    state = checked_state(content.state, expected_vggish(config), content.where)
    return VggishCheckpoint(provenance, config, state, path, pca)


def _read(path: Path) -> tuple[Content, Provenance]:
    """A network's file or, where it is a checkpoint of TensorFlow, its files."""
    table = tensorflow_table(path)
    if table is None:
        return read_user_file(path)
    found = read_tensorflow(table, _TF_VARIABLES.__contains__)
    provenance = user_provenance(found.files, found.sha256, found.size_bytes)
    return Content(str(table), found.state), provenance


def vggish_config(content: Content, frontend: VggishFrontendConfig) -> VggishConfig:
    """Read the sizes from tensors in the PyTorch layout.

    Raises UnsupportedArchitectureError (no VGGish), and MissingTensorError or TensorShapeError for
    a tensor that the sizes are read from.
    """
    state, where = content.state, content.where
    if not any(name.startswith("features.") for name in state):
        raise UnsupportedArchitectureError(
            f"{where}: neither the PyTorch layout of VGGish (features.0.weight) nor TensorFlow's "
            "variables (vggish/conv1/weights)"
        )
    first, second, third, fourth, fifth, sixth = (
        dimensions(state, f"{name}.weight", 4, where)[0] for name in _CONVOLUTIONS
    )
    return VggishConfig(
        channels=(first, second, third, fourth, fifth, sixth),
        hidden_size=dimensions(state, "embeddings.0.weight", 2, where)[0],
        embedding_size=dimensions(state, "embeddings.4.weight", 2, where)[0],
        whitened=any(name.startswith(_PCA) for name in state),
        frontend=frontend,
    )


def expected_vggish(config: VggishConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in the PyTorch layout."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 1
    for name, outputs in zip(_CONVOLUTIONS, config.channels, strict=True):
        shapes |= {f"{name}.weight": (outputs, inputs, 3, 3), f"{name}.bias": (outputs,)}
        inputs = outputs
    frames, bins = config.pooled_shape
    sizes = (frames * bins * inputs, config.hidden_size, config.hidden_size, config.embedding_size)
    for name, before, after in zip(_FULLY_CONNECTED, sizes, sizes[1:], strict=False):
        shapes |= {f"{name}.weight": (after, before), f"{name}.bias": (after,)}
    if config.whitened:
        size = config.embedding_size
        shapes |= {f"{_PCA}pca_eigen_vectors": (size, size), f"{_PCA}pca_means": (size, 1)}
    return shapes


def _from_tensorflow(content: Content) -> dict[str, Tensor]:
    """The PyTorch layout of TensorFlow's variables: kernels are (height, width, in, out) there.

    Both flatten (frames, bins, channels), so that fully connected weights are only transposed.
    """
    variables = {name.removesuffix(_TF_SUFFIX): value for name, value in content.state.items()}
    state = {}
    for layers, rank, order in (
        (_CONVOLUTIONS, 4, (3, 2, 0, 1)),
        (_FULLY_CONNECTED, 2, (1, 0)),
    ):
        for name, scope in layers.items():
            dimensions(variables, f"{scope}/weights", rank, content.where)
            dimensions(variables, f"{scope}/biases", 1, content.where)
            state[f"{name}.weight"] = variables[f"{scope}/weights"].permute(order)
            state[f"{name}.bias"] = variables[f"{scope}/biases"]
    return state


def _with_pca(content: Content, found: Content) -> Content:
    """A network's tensors with those of a PCA; means of any shape become a column."""
    state = {name: value for name, value in content.state.items() if not name.startswith(_PCA)}
    for name in _PCA_NAMES:
        full = name if name in found.state else f"{_PCA}{name}"
        if full not in found.state:
            raise MissingTensorError(
                f"{found.where}: no {name}; a PCA holds {' and '.join(_PCA_NAMES)}"
            )
        value = found.state[full]
        state[f"{_PCA}{name}"] = value.reshape(-1, 1) if name == "pca_means" else value
    return content.with_state(state)
