"""Core ML packages on disk: what they say about themselves, and the same bytes every time.

coremltools gives every package random identifiers, today's date and maps in no fixed order. Here
the identifiers follow from the paths, the date goes, and protobuf is asked for a fixed order.
"""

from __future__ import annotations

import importlib
import json
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.errors import ArtifactError
from ...runtime.manifest import METADATA_KEY, Description, TensorSpec
from .shapes import MAIN, FunctionShapes
from .tools import import_coremltools, quiet

AUTHOR = "voxport"
CHECKPOINTS_KEY = f"{METADATA_KEY}.checkpoints"
# The licence of what has no weights: voxport's own.
_OWN_LICENCE = "MIT"
_DATA = "Data"
_ITEMS = "com.apple.CoreML"
_MODEL = f"{_ITEMS}/model.mlmodel"
_WEIGHTS = f"{_ITEMS}/weights"
_KEPT_METADATA = ("com.github.apple.coremltools.version", "com.github.apple.coremltools.source")

MEANINGS: Mapping[str, str] = {
    "waveform": "mono audio in [-1, 1]",
    "waveforms": "each window once per speaker",
    "log_probs": "natural-log probabilities of the powerset classes",
    "masks": "1 where a speaker is active, else 0",
    "clean_masks": "masks without the frames in which speakers overlap",
    "embedding_masks": "clean masks of each speaker, or the full ones where too little is clean",
    "features": "natural-log mel energies, Kaldi-exact, not mean-normalised",
    "embeddings": "speaker embeddings, not L2-normalised",
    "database": "embeddings of known speakers, at least one",
    "distances": "1 - cosine similarity, in [0, 2]",
    "segments": "1 where a speaker is active, else 0",
    "activity": "active frames of each speaker",
    "valid": "1 for speakers that are active long enough, else 0",
    "filtered_segments": "segments of valid speakers, without those that are too short",
    "rms": "root mean square of each frame",
    "chat": "chat messages in each frame, 0 where there is no chat",
    "z": "z-score of rms over the stream",
    "peak_mask": "1 where z is above its threshold, else 0",
    "chat_smoothed": "centred moving average of chat",
    "score": "weighted sum of the z-scores of rms and chat_smoothed",
    "highlight_mask": "1 where score is above its threshold, else 0",
    "matrix": "mel powers or decibels of short segments, as librosa has them",
    "examples": "natural-log mel magnitudes of VGGish, 0.96 s each",
    "vggish/embeddings": "an embedding for every example of 0.96 s, not L2-normalised",
    "whitened": "embeddings after AudioSet's PCA, in [-2, 2]",
    "quantised": "whitened embeddings as whole numbers in [0, 255]",
}


def model_path(package: Path) -> Path:
    """The protobuf of a package."""
    return package / _DATA / _MODEL


def weights_folder(package: Path) -> Path:
    """Where a package keeps its weights."""
    return package / _DATA / _WEIGHTS


def read_model(package: Path) -> Any:
    """The parsed protobuf of a package (``Model``).

    Raises:
        ArtifactError: there is none, or it is damaged.
    """
    decode_error = importlib.import_module("google.protobuf.message").DecodeError
    model = import_coremltools("proto.Model_pb2").Model()
    path = model_path(package)
    try:
        model.ParseFromString(path.read_bytes())
    except (OSError, decode_error) as error:
        raise ArtifactError(f"{package.name}: no readable Core ML package: {error}") from error
    return model


def function_descriptions(model: Any) -> dict[str, Any]:
    """What holds inputs and outputs, by function, the default one first.

    In a package of one function that is the model's description itself.
    """
    described = {function.name: function for function in model.description.functions}
    if not described:
        return {MAIN: model.description}
    default = model.description.defaultFunctionName
    return {default: described.pop(default), **described}


def joined(models: Mapping[str, Any], folder: Path) -> Path:
    """A package with every model as a function (the first one by default); weights are shared.

    A single model is already one; several are written into ``folder``.
    """
    if len(models) == 1:
        return Path(next(iter(models.values())).package_path)
    utils = import_coremltools("models.utils")
    plan = utils.MultiFunctionDescriptor()
    for name, model in models.items():
        plan.add_function(model.package_path, MAIN, name)
    plan.default_function_name = next(iter(models))
    path = folder / "functions.mlpackage"
    with quiet():
        utils.save_multifunction(plan, str(path))
    return path


def write_described(
    source: Path, description: Description, shapes: Sequence[FunctionShapes], path: Path
) -> None:
    """Copy a package to ``path``, which must not exist, with descriptions of all it holds."""
    model = read_model(source)
    _describe(model.description.metadata, description)
    functions = function_descriptions(model)
    for each in shapes:
        function = functions[each.function]
        _describe_features(function.input, description, description.inputs, each)
        _describe_features(function.output, description, description.outputs, each)
    path.mkdir(parents=True)
    model_path(path).parent.mkdir(parents=True)
    model_path(path).write_bytes(model.SerializeToString(deterministic=True))
    items = [(_MODEL, "CoreML Model Specification")]
    if weights_folder(source).is_dir():
        shutil.copytree(weights_folder(source), weights_folder(path))
        items.append((_WEIGHTS, "CoreML Model Weights"))
    (path / "Manifest.json").write_text(_manifest(items), encoding="utf-8")


def _describe(metadata: Any, description: Description) -> None:
    licences = sorted({checkpoint["licence"] for checkpoint in description.checkpoints})
    metadata.shortDescription = f"{description.name} ({description.precision})"
    metadata.author = AUTHOR
    metadata.license = " and ".join(licences) or _OWN_LICENCE
    metadata.versionString = description.voxport_version
    for key in [key for key in metadata.userDefined if key not in _KEPT_METADATA]:
        del metadata.userDefined[key]
    metadata.userDefined[METADATA_KEY] = description.to_json()
    metadata.userDefined[CHECKPOINTS_KEY] = "; ".join(
        "{network}: {name}, {origin}, sha256 {sha256}".format_map(checkpoint)
        for checkpoint in description.checkpoints
    )


def _describe_features(
    features: Iterable[Any],
    description: Description,
    tensors: Sequence[TensorSpec],
    shapes: FunctionShapes,
) -> None:
    for feature, tensor in zip(features, tensors, strict=True):
        axes = ", ".join(_axis(axis, shapes) for axis in tensor.axes)
        # One name may mean something else in another system.
        own = f"{description.name}/{tensor.name}"
        meaning = MEANINGS[own if own in MEANINGS else tensor.name]
        feature.shortDescription = f"{meaning}; {tensor.dtype} ({axes})"


def _axis(axis: str | int, shapes: FunctionShapes) -> str:
    if isinstance(axis, int):
        return str(axis)
    limits = shapes.ranges.get(axis)
    if limits is not None:
        return f"{axis} {limits.low} to {limits.high}"
    # Outputs have axes that no input has: their sizes are in the shapes themselves.
    return f"{axis} {shapes.sizes[axis]}" if axis in shapes.sizes else axis


def _manifest(items: Sequence[tuple[str, str]]) -> str:
    """``Manifest.json`` for items of (path, description), the first one being the model."""
    entries = {
        str(uuid.uuid5(uuid.NAMESPACE_URL, path)): {
            "author": _ITEMS,
            "description": text,
            "name": path.rpartition("/")[2],
            "path": path,
        }
        for path, text in items
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": next(iter(entries)),
    }
    return json.dumps(manifest, indent=4) + "\n"
